"""Workers whose lease runs out, as real processes: what they run has ended before others may run it (R48).

The database is out of reach while a stranger keeps it locked.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from projections.workers import Worker
from queuectl.clock import monotonic
from queuectl.decisions import Lease, Outcome, Report
from queuectl.engines.view import Write
from queuectl.events import WorkerLost, encode
from queuectl.workers.start_options import WorkerOptions
from tests.support import short_lease
from tests.support.lab import Fifo, Lab, gone

PARENT = """
import sys, json
from tests.support.short_lease import shorten
shorten()
from queuectl.workers.supervisor import start
sys.exit(start(sys.argv[1], **json.loads(sys.argv[2])))
"""
ALONE = """
import sys
from tests.support.short_lease import shorten
shorten()
from queuectl.workers.__main__ import main
sys.exit(main(sys.argv[1:]))
"""
STRANGER = """
import apsw, sys, time
db = apsw.Connection(sys.argv[1])
db.execute("begin immediate")
print(flush=True)
sys.stdin.read()
"""
STUBBORN = 'trap "" TERM; echo $$ > {fifo}; while :; do sleep 0.1; done'
"""A command that only a KILL ends."""


class LockedDatabase:
    """A context in which a stranger keeps everybody from writing."""

    def __init__(self, lab: Lab) -> None:
        self._database = lab.database

    def __enter__(self) -> None:
        self._stranger = subprocess.Popen(
            [sys.executable, "-c", STRANGER, self._database], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._stranger.stdout is not None
        self._stranger.stdout.readline()

    def __exit__(self, *_: object) -> None:
        self._stranger.communicate()


def parent(lab: Lab, **options: object) -> "subprocess.Popen[str]":
    """`queuectl worker start`, with short leases."""
    return lab.python(PARENT, lab.database, encode(options).decode(), env=short_lease.environment())


def alone(lab: Lab) -> "subprocess.Popen[str]":
    """One worker with a short lease, and no parent."""
    return lab.python(ALONE, encode(WorkerOptions(lab.database, "alone")).decode(), env=short_lease.environment())


def ended(lab: Lab, id: str) -> str:
    """Wait until the first attempt of a job has ended; returns what is said of it."""
    lab.until(lambda: lab.records("failed", id))
    [attempt] = [each for each in lab.queue.attempts(id) if each.number == 1]
    assert attempt.cause == "lost"
    return attempt.error or ""


def test_a_worker_records_its_lease(lab: Lab) -> None:
    alone(lab)
    [worker] = lab.up()
    assert worker.lease == short_lease.LEASE
    assert worker.clock_ahead is not None
    assert abs(worker.clock_ahead) < 60


def test_only_engines_with_many_hosts_have_leases(lab: Lab) -> None:
    lab.worker()
    [worker] = lab.up()
    assert (worker.lease, worker.clock_ahead) == (None, None)


def test_a_worker_cut_off_ends_what_it_runs(lab: Lab, fifo: Fifo) -> None:
    id = lab.queue.enqueue(STUBBORN.format(fifo=fifo), backoff_base=1)
    worker = alone(lab)
    pid = int(fifo.line())
    with LockedDatabase(lab):
        lab.until(lambda: gone(pid))
        assert worker.poll() is None
        assert lab.queue.job(id).state == "processing", "it could not be reported"
    error = ended(lab, id)
    assert error.startswith("its worker could not reach the database for 4")
    assert error.endswith("s, and other hosts may run it")
    assert int(fifo.line()) != pid, "it goes on by itself"
    assert [each.number for each in lab.queue.attempts(id)] == [1, 2]


def test_a_short_fault_kills_nothing(lab: Lab, fifo: Fifo) -> None:
    id = lab.queue.enqueue(f"echo up > {fifo}; read line < {fifo}.go", timeout=None)
    os.mkfifo(f"{fifo}.go")
    alone(lab)
    fifo.line()
    beats = len(lab.records("heartbeat"))
    with LockedDatabase(lab):
        end = monotonic() + short_lease.LEASE / 4
        lab.until(lambda: monotonic() > end)
    lab.until(lambda: len(lab.records("heartbeat")) > beats + 1)
    Path(f"{fifo}.go").write_text("go\n")
    lab.until(lambda: lab.queue.job(id).state == "completed")
    assert lab.queue.job(id).attempt == 1


def test_reports_wait_for_the_database(lab: Lab, fifo: Fifo, tmp_path: Path) -> None:
    """What ended by itself while the worker was cut off keeps its outcome, and its worker lives."""
    id = lab.queue.enqueue(f"echo up > {fifo}; read line < {fifo}.go; exit 3", timeout=None, max_retries=0)
    os.mkfifo(f"{fifo}.go")
    worker = parent(lab)
    fifo.line()
    [before] = lab.up()
    with LockedDatabase(lab):
        Path(f"{fifo}.go").write_text("go\n")
        log = Path(lab.queue.logs) / "worker.jsonl"
        end = monotonic() + short_lease.LEASE
        lab.until(lambda: monotonic() > end)
        assert "hangs" not in log.read_text()
    lab.until(lambda: lab.queue.job(id).state == "dead")
    assert lab.queue.job(id).exit_code == 3
    assert [each.id for each in lab.queue.workers()] == [before.id]
    assert worker.poll() is None


@pytest.mark.parametrize("hides", [False, True], ids=["in the session", "in its own"])
def test_parents_end_hung_workers_and_their_commands(lab: Lab, fifo: Fifo, hides: bool) -> None:
    command = f"setsid sh -c '{STUBBORN.format(fifo=fifo)}' &" if hides else STUBBORN.format(fifo=fifo)
    id = lab.queue.enqueue(f"{command} sleep 600" if hides else command, backoff_base=1)
    parent(lab)
    pid = int(fifo.line())
    [worker] = lab.up()
    os.kill(worker.pid, signal.SIGSTOP)
    with LockedDatabase(lab):
        lab.until(lambda: gone(pid) and gone(worker.pid))
    error = ended(lab, id)
    assert error == "its worker was killed: it hung until its lease ran out; what it ran was found and ended"
    assert int(fifo.line()) != pid, "a successor runs it"


def test_hung_workers_without_commands_are_left_alone(lab: Lab) -> None:
    parent(lab)
    [worker] = lab.up()
    os.kill(worker.pid, signal.SIGSTOP)
    end = monotonic() + short_lease.LEASE + 1.0
    lab.until(lambda: monotonic() > end)
    assert not gone(worker.pid)
    os.kill(worker.pid, signal.SIGCONT)


def take_over(lab: Lab, id: str, worker: Worker | None = None) -> None:
    """Do what another host does that has not heard of the worker: take over a job, and declare the worker lost."""
    job = lab.queue.job(id)
    assert job.lease is not None
    with lab.queue.engine.transaction() as tx:
        lost = Report(Lease(job.id, job.attempt, job.lease), Outcome(cause="lost", error="not heard"))
        tx.end([lost], "recovery:o", {})
        if worker is not None:
            tx.append([Write(f"worker:{worker.id}", tx.worker(worker.id), [WorkerLost(reason="silent")])], "recovery:o")


def test_what_was_taken_over_is_ended_here(lab: Lab, fifo: Fifo) -> None:
    id = lab.queue.enqueue(STUBBORN.format(fifo=fifo), grace=0.1, max_retries=0)
    supervisor = parent(lab)
    pid = int(fifo.line())
    [worker] = lab.up()
    take_over(lab, id, worker)
    lab.until(lambda: gone(pid) and gone(worker.pid))
    [successor] = lab.until(lambda: lab.queue.workers())
    assert successor.id != worker.id
    assert supervisor.poll() is None
    assert [each.type for each in lab.queue.events(job=id)][-1] == "dead", "its late report was refused"


def test_one_lease_that_was_taken_is_ended(lab: Lab, tmp_path: Path) -> None:
    taken, own = (lab.queue.enqueue(STUBBORN.format(fifo=tmp_path / name), id=name, grace=0.1) for name in ("a", "b"))
    parent(lab, slots=2)
    files = [tmp_path / name for name in (taken, own)]
    ended, left = lab.until(lambda: all(each.exists() for each in files) and [each.read_text() for each in files])
    take_over(lab, taken)
    lab.until(lambda: gone(int(ended)))
    assert not gone(int(left))
    assert lab.queue.job(own).state == "processing"
