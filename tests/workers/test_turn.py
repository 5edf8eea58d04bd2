"""Turns of a worker, taken one by one."""

from pathlib import Path

from freezegun import freeze_time

from queuectl import Queue
from queuectl.engines.view import Write
from queuectl.events import WorkerLost
from queuectl.workers.chores.heartbeat import heartbeat_of
from queuectl.workers.turn import TurnWriter


def test_a_lost_worker_writes_no_heartbeat(tmp_path: Path) -> None:
    with Queue(tmp_path / "q.db") as queue:
        writer = TurnWriter(queue, "w", (), queue.home.identity())
        writer.start(1)
        queue.enqueue("true")
        [claim] = writer.turn([], [], 1).claims
        holding = [claim.lease]
        assert not writer.turn([], [], 0, holding=holding, heartbeat=heartbeat_of(holding)).stop
        with queue.engine.transaction() as tx:
            tx.append([Write("worker:w", tx.worker("w"), [WorkerLost()])], "recovery:w")

        turn = writer.turn([], [], 0, holding=holding, heartbeat=heartbeat_of(holding))

        assert turn.stop
        types = [record.type for record in queue.events() if record.stream == "worker:w"]
        assert types == ["worker_started", "heartbeat", "worker_lost"]


def test_kept_slots_leave_later_jobs_their_moment(tmp_path: Path) -> None:
    """A job that comes first once it is due does not wait until the worker looks for work anyway."""
    with Queue(tmp_path / "q.db") as queue, freeze_time("2027-01-15T08:00:00Z") as time:
        writer = TurnWriter(queue, "w", (), queue.home.identity())
        writer.start(2)
        queue.enqueue("true", slots=2)
        queue.enqueue("true")
        time.tick(601)
        queue.enqueue("true", id="first", priority=1, delay=3.0)

        turn = writer.turn([], [], 1, free=1)
        assert (turn.claims, turn.slots_kept, turn.due_in) == ([], True, 3.0)

        time.tick(3)
        assert [claim.job.id for claim in writer.turn([], [], 1, free=1).claims] == ["first"]
