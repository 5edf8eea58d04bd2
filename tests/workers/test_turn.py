"""Turns of a worker, taken one by one."""

from pathlib import Path

from queuectl import Queue
from queuectl.engines.view import Write
from queuectl.events import WorkerLost
from queuectl.workers.turn import TurnWriter


def test_a_lost_worker_writes_no_heartbeat(tmp_path: Path) -> None:
    with Queue(tmp_path / "q.db") as queue:
        writer = TurnWriter(queue, "w", (), queue.home.identity())
        writer.start(1)
        queue.enqueue("true")
        [claim] = writer.turn([], [], 1).claims
        holding = [claim.lease]
        assert not writer.turn([], [], 0, holding=holding, heartbeat=True).stop
        with queue.engine.transaction() as tx:
            tx.append([Write("worker:w", tx.worker("w"), [WorkerLost()])], "recovery:w")

        turn = writer.turn([], [], 0, holding=holding, heartbeat=True)

        assert turn.stop
        types = [record.type for record in queue.events() if record.stream == "worker:w"]
        assert types == ["worker_started", "heartbeat", "worker_lost"]
