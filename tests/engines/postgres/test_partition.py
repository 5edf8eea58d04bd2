"""A host is cut off from the database, and another one runs its jobs: never two at once (R48)."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from queuectl import Queue
from queuectl.clock import monotonic
from queuectl.events import encode
from queuectl.host import pidfd
from tests.support import short_lease
from tests.support.lab import gone
from tests.support.link import Link
from tests.support.postgres.database import Database

JOBS = 4
COMMAND = """
for pid in $(cat job-$QUEUECTL_JOB_ID 2>&-); do kill -0 $pid 2>&- && echo $pid >> overlaps; done
echo $$ >> job-$QUEUECTL_JOB_ID; echo $$ >> pids; trap '' TERM; while test ! -e end; do sleep 0.1; done
"""
"""Says whether an earlier attempt is still alive, and goes on until it is killed, or the test is over."""
START = """
import sys, json
from tests.support.short_lease import shorten
shorten()
from queuectl.workers.supervisor import start
sys.exit(start(sys.argv[1], **json.loads(sys.argv[2])))
"""


class Cluster:
    """A queue on PostgreSQL with two hosts: `a`, which can be cut off, and `b`."""

    def __init__(self, database: Database, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        self._stack = stack
        self.queue = stack.enter_context(Queue(database.url))
        self.link = stack.enter_context(Link(database.address.host, database.address.port))
        port = str(database.address.port)
        self._urls = {"a": database.url.replace(f":{port}/", f":{self.link.port}/"), "b": database.url}

        for _ in range(JOBS):
            self.queue.enqueue(COMMAND, cwd=str(folder), timeout=None, backoff_base=1)

    def start(self, host: str, **more: str) -> "subprocess.Popen[bytes]":
        """Start a worker there, with a slot for each job."""
        state = self.folder / f"state-{host}"
        env = short_lease.environment(SHORT_LEASE_HOST=host, XDG_STATE_HOME=str(state), **more)
        words = [sys.executable, "-c", START, self._urls[host], encode({"slots": JOBS}).decode()]
        process = subprocess.Popen(words, env=env, cwd=self.folder, start_new_session=True)
        self._stack.callback(self._end, process)
        return process

    def _end(self, process: "subprocess.Popen[bytes]") -> None:
        (self.folder / "end").touch()
        self.link.heal()
        process.terminate()
        process.wait(60)

    def lines(self, name: str) -> list[str]:
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    def running(self, count: int) -> list[int]:
        """Wait until so many commands have started; returns their pids."""
        self.until(lambda: len(self.lines("pids")) >= count)
        return [int(line) for line in self.lines("pids")]

    def until(self, condition: Callable[[], object]) -> None:
        deadline = monotonic() + 60
        while not condition():
            assert monotonic() < deadline, [record.type for record in self.queue.events()]
            pidfd.wait([], 0.05)


@pytest.fixture
def cluster(postgres: Database, tmp_path: Path) -> Iterator[Cluster]:
    with ExitStack() as stack:
        yield Cluster(postgres, tmp_path, stack)


def test_a_host_cut_off_makes_way(cluster: Cluster) -> None:
    parent = cluster.start("a")
    first = cluster.running(JOBS)
    cluster.start("b")
    cluster.until(lambda: len(cluster.queue.workers()) == 2)

    cluster.link.cut()
    cluster.until(lambda: all(map(gone, first)))
    assert len(cluster.lines("pids")) == JOBS, "and only then others begin"
    cluster.running(2 * JOBS)

    cluster.link.heal()
    cluster.until(lambda: [worker.host for worker in cluster.queue.workers()] == ["b", "a"])
    assert parent.poll() is None, "a new worker is in the place of the one that was declared lost"
    assert cluster.lines("overlaps") == []
    assert [job.attempt for job in cluster.queue.jobs()] == [2] * JOBS
    assert cluster.queue.check() == []


def test_a_hung_worker_cut_off_is_ended(cluster: Cluster) -> None:
    cluster.start("a")
    first = cluster.running(JOBS)
    cluster.start("b")
    cluster.until(lambda: len(cluster.queue.workers()) == 2)
    [worker] = [worker for worker in cluster.queue.workers() if worker.host == "a"]
    os.kill(worker.pid, signal.SIGSTOP)
    cluster.link.cut()
    cluster.until(lambda: all(map(gone, [*first, worker.pid])))
    assert len(cluster.lines("pids")) == JOBS, "its parent has ended it, and only then others begin"
    cluster.running(2 * JOBS)
    assert cluster.lines("overlaps") == []


def test_without_fencing_commands_overlap(cluster: Cluster) -> None:
    """The control: what the test above finds none of can be found."""
    cluster.start("a", SHORT_LEASE_UNFENCED="yes")
    cluster.running(JOBS)
    cluster.start("b")
    cluster.until(lambda: len(cluster.queue.workers()) == 2)
    cluster.link.cut()
    cluster.running(2 * JOBS)
    assert len(cluster.lines("overlaps")) >= JOBS


def test_a_short_cut_ends_nothing(cluster: Cluster) -> None:
    cluster.start("a")
    first = cluster.running(JOBS)
    cluster.start("b")
    cluster.until(lambda: len(cluster.queue.workers()) == 2)
    cluster.link.cut()
    end = monotonic() + short_lease.LEASE / 4
    cluster.until(lambda: monotonic() > end)
    cluster.link.heal()
    before = len(list(cluster.queue.events(type="heartbeat")))
    cluster.until(lambda: len(list(cluster.queue.events(type="heartbeat"))) > before + JOBS)
    (cluster.folder / "end").touch()
    cluster.until(lambda: {job.state for job in cluster.queue.jobs()} == {"completed"})
    assert [int(line) for line in cluster.lines("pids")] == first
    assert [worker.state for worker in cluster.queue.workers(all=True)] == ["running", "running"]
