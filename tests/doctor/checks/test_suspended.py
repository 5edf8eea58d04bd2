"""What the check of the workers says of suspended jobs."""

import time

import pytest

from queuectl import doctor
from queuectl.doctor import InspectedQueue
from queuectl.doctor.checks import workers
from queuectl.host import processes
from tests.support.lab import Fifo, Lab


def test_suspended_job_past_its_timeout_is_unreported(lab: Lab, fifo: Fifo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "PATIENCE", 0.0)
    id = lab.queue.enqueue(f"echo $$ > {fifo}; while :; do sleep 0.1; done", timeout=1.0)
    lab.start()
    pid = int(fifo.line())
    lab.queue.suspend(id)
    lab.until(lambda: not processes.runs(pid))  # D, not T, where its child was stopped before it became `sleep`
    time.sleep(1.2)
    with InspectedQueue(lab.database) as queue:
        [check] = [check for check in doctor.examine(queue) if check.name == "workers"]
    assert [found.severity for found in check.findings] == ["ok"]
