"""What a job has waited ten minutes for is kept for it (R35)."""

from pathlib import Path

import pytest

from queuectl import Queue, Spec, clock
from queuectl.clock import SECOND
from queuectl.decisions import Outcome, Report
from queuectl.selection import keepers
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


def test_it_is_kept_for_a_forced_job(tmp_path: Path) -> None:
    """Which stands behind others of its lane, that a limit keeps."""
    with Queue(tmp_path / "q.db") as queue:
        queue.set_resource("gpu", 2)
        writer = TurnWriter(queue, "w1", (), queue.home.identity())
        writer.start(4)
        queue.enqueue("true", queue="few", needs={"gpu": 1})
        [holder] = writer.turn([], [], 1).claims
        queue.limit("few", concurrency=1)
        jobs = [Spec(command="true", queue="few", needs={"gpu": 2}, at=clock.now() - 11 * 60 * SECOND)] * 4
        forced = queue.enqueue_many(jobs)[-1]
        small = queue.enqueue("true", needs={"gpu": 1})
        queue.start(forced)

        [reason] = [each for each in queue.reasons(small) if each.kind != "priority"]
        assert (reason.kind, reason.behind) == ("reserved", (forced,))
        assert writer.turn([], [], 1, holding=[holder.lease]).claims == []


def test_nothing_is_kept_once_its_queue_is_full(tmp_path: Path) -> None:
    """By a job that the same turn has claimed: what would be kept may start in that turn, too."""
    with Queue(tmp_path / "q.db") as queue:
        queue.set_resource("gpu", 2)
        writer = TurnWriter(queue, "w1", (), queue.home.identity())
        writer.start(4)
        queue.enqueue("true", needs={"gpu": 1})
        [holder] = writer.turn([], [], 1).claims
        queue.limit("few", concurrency=1)
        queue.enqueue("true", id="first", queue="few", needs={"lock": 1}, priority=1)
        queue.enqueue("true", queue="few", needs={"gpu": 2}, at=clock.now() - 11 * 60 * SECOND)
        queue.enqueue("true", id="small", needs={"gpu": 1})

        claims = writer.turn([], [], 3, holding=[holder.lease]).claims
        assert [claim.job.id for claim in claims] == ["first", "small"]


def test_free_slots_are_kept_for_heavy_jobs(tmp_path: Path) -> None:
    with Queue(tmp_path / "q.db") as queue:
        writers = [TurnWriter(queue, name, (), queue.home.identity()) for name in ("w1", "w2")]
        for writer in writers:
            writer.start(3)
        queue.enqueue_many([Spec(command="true")] * 2)
        held = [writer.turn([], [], 1).claims[0].lease for writer in writers]
        queue.enqueue("true", id="heavy", slots=3, at=clock.now() - 11 * 60 * SECOND)
        queue.enqueue_many([Spec(command="true")] * 5)

        turn = writers[0].turn([], [], 9, free=2, holding=held[:1])
        assert turn.claims == []
        assert turn.due_in is None, "it does not look again and again"
        assert len(writers[1].turn([], [], 1, holding=held[1:]).claims) == 1, "one worker is enough for now"
        ended = Report(held[0], Outcome(exit_code=0))
        assert [claim.job.id for claim in writers[0].turn([ended], [], 3).claims] == ["heavy"]


def test_what_keeps_the_slots_is_told(tmp_path: Path) -> None:
    with Queue(tmp_path / "q.db") as queue:
        writer = TurnWriter(queue, "w1", (), queue.home.identity())
        writer.start(3)
        queue.enqueue("true")
        assert len(writer.turn([], [], 1).claims) == 1
        queue.enqueue("true", id="heavy", slots=3, at=clock.now() - 11 * 60 * SECOND)
        queue.enqueue("true", id="light")
        queue.enqueue("true", id="urgent", priority=1)

        [reason] = queue.reasons("light")
        assert (reason.kind, reason.frees) == ("busy", "queuectl worker start --queue default")
        assert reason.text.startswith("the free slots (2) are kept for job heavy, which needs 3 of one worker")
        assert queue.reasons("urgent") == []


@pytest.mark.parametrize("minutes, keep", [(9, 0), (11, 1), (21, 2), (31, 3), (300, 3)])
def test_workers_keep_slots_one_after_another(tmp_path: Path, minutes: int, keep: int) -> None:
    with Queue(tmp_path / "q.db") as queue:
        for name, slots in (("small", 2), ("w1", 3), ("w2", 4), ("w3", 3)):
            TurnWriter(queue, name, (), queue.home.identity()).start(slots)
        queue.enqueue("true", id="heavy", slots=3, at=clock.now() - minutes * 60 * SECOND)
        heavy = queue.job("heavy")
        with queue.engine.snapshot() as view:
            assert keepers(heavy, view.workers(), clock.now()) == ["w1", "w2", "w3"][:keep]
