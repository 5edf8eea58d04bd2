"""What a job has waited ten minutes for is kept for it (R35)."""

from pathlib import Path

import pytest

from queuectl import Queue, clock
from queuectl.clock import SECOND
from queuectl.workers.turn import TurnWriter


@pytest.mark.parametrize("minutes, starts", [(9, True), (11, False)])
def test_small_jobs_leave_it_to_the_first(tmp_path: Path, minutes: int, starts: bool) -> None:
    with Queue(tmp_path / "q.db") as queue:
        queue.set_resource("gpu", 2)
        writer = TurnWriter(queue, "w1", (), queue.home.identity())
        writer.start(4)
        queue.enqueue("true", needs={"gpu": 1})
        assert len(writer.turn([], [], 1).claims) == 1
        queue.enqueue("true", id="big", needs={"gpu": 2}, at=clock.now() - minutes * 60 * SECOND)
        queue.enqueue("true", id="small", needs={"gpu": 1})
        other = queue.enqueue("true", needs={"lock": 1})
        kinds = [reason.kind for reason in queue.reasons("small") if reason.kind in ("resource", "reserved")]
        assert kinds == ([] if starts else ["reserved"])
        claimed = {claim.job.id for claim in writer.turn([], [], 3).claims}
        assert claimed == ({"small", other} if starts else {other})
        if not starts:
            queue.set_resource("gpu", 4)
            assert {claim.job.id for claim in writer.turn([], [], 3).claims} == {"big", "small"}
