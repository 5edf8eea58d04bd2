"""A job that may take long to end is not yet one that can't be ended."""

import pytest

from queuectl import doctor
from queuectl.doctor import Finding, InspectedQueue
from queuectl.doctor.checks import workers
from queuectl.host import procfs
from tests.support.lab import Fifo, Lab


def look(lab: Lab) -> list[Finding]:
    with InspectedQueue(lab.database) as queue:
        return next(check.findings for check in doctor.examine(queue) if check.name == "workers")


def test_job_within_a_long_grace_is_no_finding(lab: Lab, fifo: Fifo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "PATIENCE", 0.3)
    command = f"trap '' TERM; echo $$ > {fifo}; while :; do sleep 0.1; done"
    id = lab.queue.enqueue(command, timeout=None, grace=600.0)
    lab.start()
    pid = int(fifo.line())
    lab.queue.cancel(id)
    assert look(lab)[0].severity == "ok"
    monkeypatch.setattr(procfs, "is_kill_pending", {pid}.__contains__)  # as if it waited for a dead disk
    [finding] = look(lab)
    assert finding.what.startswith(f"job {id}, attempt 1: was cancelled, and its worker (process ")
