"""The private worker of a command that waits: it runs what no other worker would.

`run` has one where no worker serves its job. Inside a job `run` and `wait` have one too, as in fork-join pools: it runs
what they wait for and no other worker has started within a second, because the slots of all may be taken by jobs that
wait in the same way.
"""

import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from projections.jobs import FINAL
from queuectl import clock, enclosing_jobs
from queuectl.admission import WAITING
from queuectl.events import encode
from queuectl.host import procfs
from queuectl.queue import Queue
from queuectl.workers import worker_process
from queuectl.workers.execution import traces
from queuectl.workers.start_options import SupervisorOptions, WorkerOptions
from queuectl.workers.worker_process import stop_signals

PATIENCE = 1.0
"""Seconds for other workers to start a job before it is run here; and between two looks."""

AT_ONCE = 1000
"""Jobs that one worker may be limited to: each of its turns looks at all of them."""

LEASH = 9
"""The descriptor whose end shows the supervisor that the command is gone."""


class PrivateWorker:
    """A context in which at most one worker runs, once it is needed; when it is left, the worker finishes and stops."""

    def __init__(self, queue: Queue, ids: Sequence[str] = (), *, alone: bool = False) -> None:
        """`ids` are the jobs to run; empty: whatever is left to do. `alone`: also where no worker serves their queues.

        Outside of a job, and without `alone`, no worker is ever started.
        """
        self._queue = queue
        self._ids = self._left = list(ids)
        self._alone = alone
        with queue.engine.snapshot() as view:
            self._inside = bool(enclosing_jobs.hosts(view, enclosing_jobs.inside(queue.engine)))
        self._began = queue.engine.now()
        self._next_look = clock.monotonic() + (PATIENCE if not alone else 0.0)
        self._slots = 1
        """How many slots a worker for these jobs needs."""
        self._pid: int | None = None
        self._leash = -1

    def __enter__(self) -> Self:
        self.start_if_needed()
        return self

    def start_if_needed(self) -> None:
        """Start the worker where it is needed by now; call it about once a second, or more often."""
        now = clock.monotonic()
        if now < self._next_look or not (self._inside or self._alone) or self._is_up():
            return
        self._next_look = now + PATIENCE
        if self._is_needed():
            self._start()

    def _is_needed(self) -> bool:
        if not self._ids:
            return True  # it also shows that this command waits for all, so that two don't wait for each other
        with self._queue.engine.snapshot() as view:
            known = [job for id in self._left if (job := view.job(id)) is not None and job.state not in FINAL]
        self._left = [job.id for job in known]
        jobs = [job for job in known if job.state in WAITING]
        self._slots = max((job.policy.slots for job in jobs), default=1)
        if self._alone:
            facts = self._queue.facts()
            if not all(facts.able(job) for job in jobs):
                return True
        late = self._queue.engine.now() - round(PATIENCE * clock.SECOND)
        return self._inside and any(max(job.run_at, self._began) <= late for job in jobs)

    def _is_up(self) -> bool:
        if self._pid is not None and os.waitpid(self._pid, os.WNOHANG)[0]:
            self._pid = None
            os.close(self._leash)
        return self._pid is not None

    def _start(self) -> None:
        """Spawn it in a process group of its own, without the traces of the enclosing job, which may end first."""
        only = self._left[:AT_ONCE]
        options = WorkerOptions(
            self._queue.engine.access, "", self._slots, only=only, helps=not self._ids, logs=self._queue.logs
        )
        hear, self._leash = os.pipe2(os.O_CLOEXEC)
        given = worker_process.options_file(encode(SupervisorOptions(options, 1, leash=LEASH)))
        env = dict(os.environ)
        inherited = [(os.POSIX_SPAWN_DUP2, hear, LEASH), (os.POSIX_SPAWN_DUP2, given, worker_process.ORDERS_FD)]
        nothing = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        if self._inside:
            env[traces.TAG] = traces.FREE
            inherited = [(os.POSIX_SPAWN_DUP2, nothing, fd) for fd in (0, 1, 2)] + inherited
            passed = (LEASH, worker_process.ORDERS_FD)
            inherited += [(os.POSIX_SPAWN_CLOSE, fd) for fd in _inheritable() if fd not in (0, 1, 2, *passed)]
        try:
            self._pid = os.posix_spawn(
                sys.executable,
                worker_process.command(worker_process.SUPERVISOR_ROLE, "--db", self._queue.url),
                env,
                file_actions=inherited,
                setpgroup=0,
                setsigmask=[], setsigdef={signal.SIGTERM, *stop_signals()},
            )  # fmt: skip
        except BaseException:
            os.close(self._leash)
            raise
        finally:
            for fd in (hear, nothing, given):
                os.close(fd)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_up():
            assert self._pid is not None, "it is up"
            os.kill(self._pid, signal.SIGTERM)  # not reaped yet, so the pid is still its own
            os.close(self._leash)
            if self._ids and kind is None:  # all have ended, and so does the worker
                os.waitpid(self._pid, 0)


def _inheritable() -> list[int]:
    """The descriptors that a spawned process would inherit."""
    found: list[int] = []
    for fd in procfs.open_descriptors():
        with suppress(OSError):  # the one by which they were listed
            if os.get_inheritable(fd):
                found.append(fd)
    return found
