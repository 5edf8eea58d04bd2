"""What the doctor says of workers that died or are stopped, and of attempts that can't be ended (R18)."""

import os
import signal
import threading
from pathlib import Path

import pytest

from queuectl import Queue, decisions, doctor, paths
from queuectl.doctor import Finding, Patient, attempts
from queuectl.engines.base import Write
from queuectl.events import WorkerStarted
from queuectl.workers import lock, processes, recovery
from tests.workers.conftest import Fifo, Lab

STUBBORN = "trap '' TERM; echo $$ > {fifo}; while :; do sleep 0.1; done"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "COURTESY", 0.3)


def look(lab: Lab) -> list[Finding]:
    """What the check of the workers finds."""
    with Patient(lab.database) as patient:
        return next(check.findings for check in doctor.examine(patient) if check.name == "workers")


def kill_all(lab: Lab) -> str:
    """SIGKILL the parent and the only worker, so that nobody is left who would recover."""
    [worker] = lab.up()
    parent = int(Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(parent, signal.SIGSTOP)  # it must not see its worker end
    os.kill(worker.pid, signal.SIGKILL)
    os.kill(parent, signal.SIGKILL)
    lab.until(lambda: not lab.queue.alive(worker.id))
    return worker.id


def recover(lab: Lab) -> None:
    with Queue(lab.database) as queue:
        recovery.recover(queue)


def claimed(lab: Lab, id: str) -> None:
    """Write into the log that a worker `w1` started and claimed a job, as one that died right then would have."""
    event = WorkerStarted(
        host="here",
        pid=1,
        slots=1,
        boot_id=processes.boot_id(),
        pid_namespace=processes.pid_namespace(),
        machine_id=processes.machine_id(),
        identity=paths.identity(lab.queue.place),
    )
    with lab.queue.engine.transaction() as tx:
        tx.append([Write("worker:w1", None, [event])], "test")
        job = tx.job(id)
        assert job is not None
        tx.append([Write(f"job:{id}", job, decisions.claim(job, "w1", tx.now))], "test")


def test_workers_that_live_are_in_order(lab: Lab, fifo: Fifo) -> None:
    lab.queue.enqueue(f"echo > {fifo}; sleep 60", timeout=None)
    lab.start()
    fifo.line()
    assert [(found.severity, found.what) for found in look(lab)] == [("ok", "1 up, none dead or stuck")]


def test_a_dead_worker_is_named_with_its_job_and_what_lives_of_it(lab: Lab, fifo: Fifo) -> None:
    id = lab.queue.enqueue(f"echo $$ > {fifo}; sleep 60; true", timeout=None)
    lab.start()
    pid = int(fifo.line())
    worker = kill_all(lab)

    [finding] = look(lab)

    assert finding.severity == "problem"
    assert finding.what.startswith(f"worker {worker} (process ")
    assert (
        f"is dead, and holds job {id} (attempt 1); what it ran is still alive: process {pid} (/bin/sh" in finding.what
    )
    assert "queuectl recover" in str(finding.do)
    assert pid in [process.pid for process in finding.facts["processes"]]
    recovery.recover(lab.queue)
    assert look(lab)[0].severity == "ok"


def test_a_dead_worker_without_a_job_is_only_untidy(lab: Lab) -> None:
    lab.start()
    kill_all(lab)
    [finding] = look(lab)
    assert finding.severity == "warning"
    assert finding.what.endswith("is dead, and holds no job")


def test_a_dead_worker_that_somebody_recovers_in_time_is_no_finding(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "COURTESY", 10.0)
    id = lab.queue.enqueue("true")
    claimed(lab, id)
    recoverer = threading.Timer(0.2, recover, [lab])
    recoverer.start()
    assert [found.severity for found in look(lab)] == ["ok"]
    assert lab.records("released", id)
    recoverer.join()


def test_a_worker_that_is_stopped_is_named(lab: Lab, fifo: Fifo) -> None:
    id = lab.queue.enqueue(f"echo > {fifo}; sleep 60", timeout=None)
    lab.start()
    fifo.line()
    [worker] = lab.queue.workers()
    os.kill(worker.pid, signal.SIGSTOP)
    lab.until(lambda: processes.state(worker.pid) == "T")

    [finding] = look(lab)

    assert finding.what == f"worker {worker.id} (process {worker.pid}) is stopped, and holds job {id} (attempt 1)"
    assert f"kill -CONT {worker.pid}" in str(finding.do)
    os.kill(worker.pid, signal.SIGCONT)


def test_what_recovery_cannot_end_is_named(lab: Lab, fifo: Fifo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "PATIENCE", 0.3)
    id = lab.queue.enqueue(STUBBORN.format(fifo=fifo), timeout=None)
    lab.start()
    pid = int(fifo.line())
    worker = kill_all(lab)

    recoverer = threading.Thread(target=recover, args=[lab])
    recoverer.start()
    lab.until(lambda: lock.held(lab.queue.place.workers, worker))

    [finding] = look(lab)

    assert finding.severity == "problem"
    assert finding.what.startswith(f"job {id}, attempt 1: its worker is dead, and process {os.getpid()} (")
    assert f"can't end what it ran: process {pid} (/bin/sh -c trap '' TERM" in finding.what
    assert f"kill -9 {pid}" in str(finding.do)
    assert (finding.facts["job"], finding.facts["worker"]) == (id, worker)
    os.kill(pid, signal.SIGKILL)
    recoverer.join(20)
    assert look(lab)[0].severity == "ok"


def test_an_output_that_somebody_unseen_keeps_locked_is_told(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "PATIENCE", 0.0)
    id = lab.queue.enqueue("true")
    claimed(lab, id)
    place = lab.queue.place
    hold = "import fcntl, signal, sys; file = open(sys.argv[1], 'w'); fcntl.flock(file, 2); print(flush=True)"
    process = lab.python(f"{hold}; signal.pause()", place.output_of(paths.identity(place), id, 2))
    assert process.stdout is not None
    process.stdout.readline()
    with lock.take(place.workers, "w1"):
        [finding] = look(lab)
    assert finding.what.endswith(": its output file is locked by a process that can't be seen from here")
    process.kill()


def test_a_cancelled_job_that_does_not_end_is_named(lab: Lab, fifo: Fifo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "PATIENCE", 0.3)
    id = lab.queue.enqueue(STUBBORN.format(fifo=fifo), timeout=None)
    lab.start()
    pid = int(fifo.line())
    [worker] = lab.queue.workers()
    lab.queue.cancel(id)

    [finding] = look(lab)

    told = f"job {id}, attempt 1: was cancelled, and its worker (process {worker.pid}) can't end it: process {pid} ("
    assert finding.what.startswith(told)
    assert pid in [process.pid for process in finding.facts["processes"]]


def test_a_cancelled_job_that_ends_in_time_is_no_finding(lab: Lab, fifo: Fifo) -> None:
    id = lab.queue.enqueue(f"trap 'sleep 0.3; exit' TERM; echo > {fifo}; while :; do sleep 0.1; done", timeout=None)
    lab.start()
    fifo.line()
    lab.queue.cancel(id)
    assert [found.severity for found in look(lab)] == ["ok"]
    assert lab.queue.job(id).state == "cancelled"
