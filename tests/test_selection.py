"""Which jobs a claim selects, in cases that the model of admission (tests/torture/machine.py) has found."""

from pathlib import Path

from queuectl import Queue
from queuectl.workers.turn import TurnWriter


def test_a_forced_job_hides_no_others(tmp_path: Path) -> None:
    """No slot is free for it, and jobs of queues with limits are not claimed ahead; those behind it are."""
    with Queue(tmp_path / "q.db") as queue:
        writer = TurnWriter(queue, "w1", (), queue.home.identity())
        writer.start(1)
        queue.limit("few", concurrency=1)
        first = queue.enqueue("true", queue="few")
        ahead = queue.enqueue("true")
        queue.start(first)

        turn = writer.turn([], [], 1, free=0)

        assert [claim.job.id for claim in turn.claims] == [ahead]
        assert turn.slots_wanted
        assert [claim.job.id for claim in writer.turn([], [], 1).claims] == [first]
