"""What the doctor says of a worker that can't be seen from here and holds jobs: only its silence tells its end."""

import pytest

from queuectl.engines.view import Write
from queuectl.events import Event, WorkerStopped
from queuectl.workers.recovery import hang_detector
from tests.doctor.checks.test_workers import claimed, look
from tests.support.lab import Lab


@pytest.mark.parametrize("last", [None, WorkerStopped()], ids=["running", "stopped"])
def test_unseen_workers_that_hold_jobs_are_listed(lab: Lab, last: Event | None) -> None:
    id = lab.queue.enqueue("true")
    claimed(lab, id, pid_namespace="pid:[1]")
    if last is not None:
        with lab.queue.engine.transaction() as tx:
            tx.append([Write("worker:w1", tx.worker("w1"), [last])], "test")

    [finding] = look(lab)

    assert finding.severity == "warning"
    assert finding.what.startswith("worker w1 (on here) can't be seen from here, was last heard of ")
    assert finding.what.endswith(f" ago, and holds 1 job that stays processing: {id} (attempt 1)")
    assert "queuectl recover --hung" in str(finding.do)
    assert [worker.id for worker, _ in hang_detector.unseen_workers(lab.queue)] == ["w1"]
