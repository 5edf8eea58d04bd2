"""What the doctor says of workers that died or are stopped, and of attempts that can't be ended (R18)."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import apsw
import pytest

from projections.jobs import Job
from queuectl import Queue, decisions, doctor
from queuectl.doctor import Finding, InspectedQueue
from queuectl.doctor.checks import workers
from queuectl.engines.view import Write
from queuectl.events import Event, WorkerLost, WorkerStarted, WorkerStopped, encode
from queuectl.host import processes, procfs
from queuectl.workers.execution import traces
from queuectl.workers.recovery import rescuer, worker_lock
from queuectl.workers.recovery.attempt_table import AttemptTable
from queuectl.workers.start_options import WorkerOptions
from queuectl.workers.turn import tag
from tests.support import ends
from tests.support.lab import Fifo, Lab, kill_all

POWERLESS = """
import os, signal, sys

def refuse(*_):
    raise PermissionError(1, "as if the processes were another user's")

os.killpg = signal.pidfd_send_signal = refuse
from queuectl.workers.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
FREEZER = "/sys/fs/cgroup/freezer"
STUBBORN = "trap '' TERM; echo $$ > {fifo}; while :; do sleep 0.1; done"


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "COURTESY", 0.3)


def look(lab: Lab) -> list[Finding]:
    """What the check of the workers finds."""
    with InspectedQueue(lab.database) as queue:
        return next(check.findings for check in doctor.examine(queue) if check.name == "workers")


def recover(lab: Lab) -> None:
    with Queue(lab.database) as queue:
        rescuer.recover(queue)


def powerless(lab: Lab) -> None:
    """Start a worker that may signal nothing of what it runs."""
    lab.python(POWERLESS, encode(WorkerOptions(lab.database, "alone")).decode())


def claimed(lab: Lab, id: str, pid: int = 1, pid_namespace: str | None = None) -> Job:
    """Write into the log that a worker `w1` started and claimed a job, as one that died right then would have."""
    event = WorkerStarted(
        host="here",
        pid=pid,
        slots=1,
        start_ticks=processes.start_time(pid) if pid == os.getpid() else 1 << 60,
        boot_id=procfs.boot_id(),
        pid_namespace=pid_namespace or procfs.pid_namespace(),
        machine_id=procfs.machine_id(),
        identity=lab.queue.home.identity(),
    )
    with lab.queue.engine.transaction() as tx:
        tx.append([Write("worker:w1", None, [event])], "test")
    return claim(lab, id)


def claim(lab: Lab, id: str) -> Job:
    """Claim a job for `w1`."""
    with lab.queue.engine.transaction() as tx:
        job = tx.job(id)
        assert job is not None
        return tx.append([Write(f"job:{id}", job, decisions.claim(job, "w1", tx.now))], "test")[-1].after


def test_workers_that_live_are_in_order(lab: Lab, fifo: Fifo) -> None:
    lab.queue.enqueue(f"echo > {fifo}; sleep 60", timeout=60)
    lab.start()
    fifo.line()
    assert [(found.severity, found.what) for found in look(lab)] == [("ok", "1 up, none dead or stuck")]


def test_dead_worker_is_named_with_job_and_processes(lab: Lab, fifo: Fifo) -> None:
    id = lab.queue.enqueue(f"echo $$ > {fifo}; sleep 60; true", timeout=None)
    lab.start()
    pid = int(fifo.line())
    worker = kill_all(lab).id

    [finding] = look(lab)

    assert finding.severity == "problem"
    assert finding.what.startswith(f"worker {worker} (process ")
    assert (
        f"is dead, and holds job {id} (attempt 1); what it ran is still alive: process {pid} (/bin/sh" in finding.what
    )
    assert "queuectl recover" in str(finding.do)
    assert pid in [process.pid for process in finding.facts["processes"]]
    rescuer.recover(lab.queue)
    assert look(lab)[0].severity == "ok"


def test_dead_worker_without_a_job_is_a_warning(lab: Lab) -> None:
    lab.start()
    kill_all(lab)
    [finding] = look(lab)
    assert finding.severity == "warning"
    assert finding.what.endswith("is dead, and holds no job")


@pytest.mark.parametrize(
    "last, fate", [(WorkerStopped(), "has stopped"), (WorkerLost(), "was declared lost"), (None, "is not in the log")]
)
def test_a_job_whose_worker_has_ended_is_named(lab: Lab, last: Event | None, fate: str) -> None:
    id = lab.queue.enqueue("true")
    claimed(lab, id)
    with lab.queue.engine.transaction() as tx:
        if last is not None:
            tx.append([Write("worker:w1", tx.worker("w1"), [last])], "test")
    if last is None:
        db = apsw.Connection(lab.database)
        db.execute("delete from workers")
        db.close()

    [finding] = look(lab)

    assert finding.what == f"job {id} (attempt 1) is processing, but its worker w1 {fate}"
    assert "queuectl recover" in str(finding.do)


def test_dead_worker_recovered_in_time_is_no_finding(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "COURTESY", 10.0)
    id = lab.queue.enqueue("true")
    claimed(lab, id)
    recoverer = threading.Timer(0.2, recover, [lab])
    recoverer.start()
    assert {found.severity for found in look(lab)} == {"ok"}
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
    monkeypatch.setattr(workers, "PATIENCE", 0.3)
    id = lab.queue.enqueue(STUBBORN.format(fifo=fifo), timeout=None)
    lab.start()
    pid = int(fifo.line())
    worker = kill_all(lab).id

    recoverer = threading.Thread(target=recover, args=[lab])
    recoverer.start()
    lab.until(lambda: worker_lock.held(lab.queue.home.workers, worker))

    [finding] = look(lab)

    assert finding.severity == "problem"
    assert finding.what.startswith(f"job {id}, attempt 1: its worker is dead, and process {os.getpid()} (")
    assert f"can't end what it ran: process {pid} (/bin/sh -c trap '' TERM" in finding.what
    assert f"kill -9 {pid}" in str(finding.do)
    assert (finding.facts["job"], finding.facts["worker"]) == (id, worker)
    os.kill(pid, signal.SIGKILL)
    recoverer.join(20)
    assert look(lab)[0].severity == "ok"


def test_output_locked_by_an_unseen_process_is_reported(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "PATIENCE", 0.0)
    id = lab.queue.enqueue("true")
    claimed(lab, id)
    home = lab.queue.home
    hold = "import fcntl, signal, sys; file = open(sys.argv[1], 'w'); fcntl.flock(file, 2); print(flush=True)"
    process = lab.python(f"{hold}; signal.pause()", home.output_of(home.identity(), id, 2))
    assert process.stdout is not None
    process.stdout.readline()
    with worker_lock.take(home.workers, "w1"):
        [finding] = look(lab)
    assert finding.what.endswith(": its output file is locked by a process that can't be seen from here")
    process.kill()


def test_cancelled_job_that_does_not_end_is_named(lab: Lab, fifo: Fifo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "PATIENCE", 0.3)
    id = lab.queue.enqueue(STUBBORN.format(fifo=fifo), timeout=None)
    lab.start()
    pid = int(fifo.line())
    [worker] = lab.queue.workers()
    lab.queue.cancel(id)

    [finding] = look(lab)

    told = f"job {id}, attempt 1: was cancelled, and its worker (process {worker.pid}) can't end it: process {pid} ("
    assert finding.what.startswith(told)
    assert pid in [process.pid for process in finding.facts["processes"]]


def test_cancelled_job_that_ends_in_time_is_unreported(lab: Lab, fifo: Fifo) -> None:
    id = lab.queue.enqueue(f"trap 'sleep 0.3; exit' TERM; echo > {fifo}; while :; do sleep 0.1; done", timeout=None)
    lab.start()
    fifo.line()
    lab.queue.cancel(id)
    assert [found.severity for found in look(lab)] == ["ok"]
    assert lab.queue.job(id).state == "cancelled"


# -- what a living worker can't end ----------------------------------------------------------------------------------


def test_a_job_that_outlives_its_timeout_is_named(lab: Lab, fifo: Fifo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "PATIENCE", 0.3)
    id = lab.queue.enqueue(f"echo $$ > {fifo}; exec env -i sleep 60", timeout=0.2)
    powerless(lab)
    pid = int(fifo.line())
    lab.until(lambda: processes.state(pid) == "S")
    [worker] = lab.queue.workers()

    def told() -> bool:
        return look(lab)[0].what.startswith(
            f"job {id}, attempt 1: is past its timeout of 200ms, and its worker (process {worker.pid}) can't end it:"
            f" process {pid} (sleep 60)"
        )

    lab.until(told)
    os.kill(pid, signal.SIGKILL)
    lab.until(lambda: look(lab)[0].severity == "ok")


def test_job_ended_by_its_timeout_is_no_finding(lab: Lab, fifo: Fifo) -> None:
    command = f"trap 'sleep 0.3; exit' TERM; echo $$ > {fifo}; while :; do sleep 0.1; done"
    id = lab.queue.enqueue(command, timeout=0.1, max_retries=0)
    lab.start()
    fifo.line()
    assert [found.severity for found in look(lab)] == ["ok"]
    lab.until(lambda: lab.queue.job(id).state == "dead")


def test_leftovers_the_worker_cannot_end_are_named(lab: Lab, fifo: Fifo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "PATIENCE", 0.3)
    id = lab.queue.enqueue(f"sleep 60 & echo $$ $! > {fifo}", timeout=None)
    powerless(lab)
    main, left = map(int, fifo.line().split())
    lab.until(lambda: processes.state(main) is None)
    [finding] = look(lab)
    assert finding.what.startswith(f"job {id}, attempt 1: its command has ended, and its worker (process ")
    assert finding.what.endswith(f"can't end what that left: process {left} (sleep 60)")


def test_attempt_waiting_for_earlier_leftovers_is_named(lab: Lab, fifo: Fifo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "PATIENCE", 0.3)
    command = f"setsid sleep 60 & echo $! > {fifo}; sleep 0.1; exit 1"
    id = lab.queue.enqueue(command, timeout=None, backoff_max=0.1)
    powerless(lab)
    left = int(fifo.line())
    lab.until(lambda: lab.queue.job(id).attempt == 2)
    [finding] = look(lab)
    assert finding.what.startswith(f"job {id}, attempt 2: waits, for its worker (process ")
    assert finding.what.endswith(f"can't end what is left of attempt 1: process {left} (sleep 60)")
    assert f"kill -9 {left}" in str(finding.do)
    os.kill(left, signal.SIGKILL)
    fifo.line()
    assert lab.queue.job(id).attempt == 2


@pytest.mark.parametrize("keep", [False, True])
def test_kept_children_are_no_finding(lab: Lab, keep: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "PATIENCE", 0.0)
    home = lab.queue.home
    id = lab.queue.enqueue("true", keep_children=keep, backoff_max=0)
    job = claimed(lab, id, os.getpid())
    lease = decisions.lease(job)
    with lab.queue.engine.transaction() as tx:
        failed = ends.report(job, lease, decisions.Outcome(cause="exit"), tx.now, 0.5)
        tx.append([Write(f"job:{id}", job, failed)], "test")
    job = claim(lab, id)
    with lab.queue.engine.transaction() as tx:
        released = ends.release(job, decisions.lease(job), "not started in time")
        tx.append([Write(f"job:{id}", job, released)], "test")
    claim(lab, id)
    env = {traces.TAG: tag(home.identity(), id, lease.version)}
    with worker_lock.take(home.workers, "w1"), subprocess.Popen(["/bin/sleep", "60"], env=env) as left:
        lab.until(lambda: traces.by_tag(env[traces.TAG]))
        [finding] = look(lab)
        assert finding.severity == ("ok" if keep else "problem")
        assert keep or [process.pid for process in finding.facts["processes"]] == [left.pid]
        left.kill()


@pytest.mark.parametrize(
    "case, severity",
    [("overdue", "problem"), ("elsewhere", "ok"), ("ended", "ok"), ("ended, left", "problem"), ("ended, kept", "ok")],
)
def test_attempt_table_is_judged_with_other_evidence(
    lab: Lab, case: str, severity: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "PATIENCE", 0.0)
    id = lab.queue.enqueue("true", timeout=0.001, keep_children="kept" in case)
    job = claimed(lab, id, os.getpid(), "pid:[1]" if case == "elsewhere" else None)
    assert job.lease is not None
    env = {traces.TAG: tag(lab.queue.home.identity(), id, job.lease)} if "," in case else {}
    with (
        worker_lock.take(lab.queue.home.workers, "w1") as held,
        subprocess.Popen(["/bin/sleep", "60"], env=env) as left,
    ):
        lab.until(lambda: not env or traces.by_tag(env[traces.TAG]))
        table = AttemptTable(held.path, 1)
        place = table.add(os.getpid(), job.seq, job.lease, 0)
        assert place is not None
        if "ended" in case:
            table.set_end(place, 1, 0)
        assert look(lab)[0].severity == severity
        left.kill()


def test_only_lasting_findings_are_reported(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "PATIENCE", 0.5)
    looks: list[workers.WorkerScan] = []

    def one_stays_and_others_come_and_go(_: InspectedQueue) -> workers.WorkerScan:
        passing = [(key, Finding("problem", key)) for key in ("stays", f"passes {len(looks)}")]
        looks.append(workers.WorkerScan(passing=passing, attended=True))
        return looks[-1]

    monkeypatch.setattr(workers, "_scan", one_stays_and_others_come_and_go)
    assert [finding.what for finding in look(lab)] == ["stays"]
    assert len(looks) > 1


@pytest.fixture
def freeze() -> Iterator[Callable[[int], None]]:
    """Stops a process so that not even a KILL ends it, until the test is over."""
    group = Path(FREEZER, f"test-{os.getpid()}")
    group.mkdir()

    def freeze(pid: int) -> None:
        (group / "cgroup.procs").write_text(str(pid))
        (group / "freezer.state").write_text("FROZEN")

    yield freeze
    (group / "freezer.state").write_text("THAWED")
    while (group / "cgroup.procs").read_text():  # what is in it has been killed
        time.sleep(0.01)
    group.rmdir()


@pytest.mark.skipif(
    not os.access(f"{FREEZER}/cgroup.procs", os.W_OK), reason="what can be frozen otherwise can be killed"
)
def test_killed_process_that_does_not_end_is_named(
    lab: Lab, fifo: Fifo, freeze: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "PATIENCE", 0.3)
    id = lab.queue.enqueue(f"echo $$ > {fifo}; exec sleep 60", timeout=None)
    lab.start()
    pid = int(fifo.line())
    freeze(pid)
    assert look(lab)[0].severity == "ok", "it may be thawed again"
    os.kill(pid, signal.SIGKILL)
    [finding] = look(lab)
    assert finding.what.startswith(f"job {id}, attempt 1: was killed, and its worker (process ")
    assert finding.what.endswith(f"can't end it: process {pid} (sleep 60, waiting for a device, or frozen)")
    assert "when it is thawed" in str(finding.do)


def test_pending_kill_of_a_process_is_seen() -> None:
    with subprocess.Popen(["sleep", "60"]) as process:
        assert not procfs.is_kill_pending(process.pid)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert procfs.is_kill_pending(process.pid), "the kernel notes it until it is reaped"
    assert not procfs.is_kill_pending(process.pid)
