"""Retention as workers have it done: now and then a look, and a process where something is to be archived.

Every worker that is up to stay looks; a lock in the queue's folder lets one process of a host work at a time.
"""

import os
import signal
import sys

from queuectl import clock
from queuectl.audit.retention_rules import (
    LOCK,
    Rule,
    change_state,
    is_archivist,
    is_sweep_due,
    oldest_overdue,
    read_state,
    rules,
)
from queuectl.clock import monotonic
from queuectl.errors import Outdated, QueueError
from queuectl.events import encode
from queuectl.host import pidfd
from queuectl.host.flock import locked
from queuectl.queue import Queue
from queuectl.settings import Settings
from queuectl.workers import worker_process
from queuectl.workers.chores.chore import NEVER, ChoreHost
from queuectl.workers.recovery.orphans import Orphans
from queuectl.workers.start_options import RetentionOptions, WorkerOptions

LOOK = 60.0
"""Seconds between two looks at the oldest job, at most."""
REST = 600.0
"""Seconds after a failure, which will hardly mend itself."""
WATCH = 1.0
"""Seconds between two looks whether the process has ended."""


class RetentionChore:
    """Starts the process, and ends it with the worker."""

    def __init__(self, host: ChoreHost, queue: Queue, options: WorkerOptions, identity: str, orphans: Orphans) -> None:
        """`identity` is that of the home. The process is a child of the worker, and none of its `orphans`."""
        self.due = monotonic() + LOOK
        self._host = host
        self._queue = queue
        self._options = RetentionOptions(options.url, options.worker, options.logs)
        self._is_wanted_here = not (options.drain or options.is_private)
        """Whether the worker runs what comes, until it is stopped: others leave this to those that do."""
        self._identity = identity
        self._orphans = orphans
        self._rules: list[Rule] = []
        self._process: int | None = None
        """The pidfd of the process, while there is one."""

    def follow(self, settings: Settings) -> None:
        """Go by these settings from now on."""
        if self._is_wanted_here and (wanted := rules(settings)) != self._rules:
            self._rules = wanted
            self.due = monotonic()

    def run(self, now: float) -> None:
        """See `Chore`."""
        if self._process is not None:
            if not pidfd.wait([self._process], 0):
                self.due = now + WATCH
                return
            os.close(self._process)
            self._process = None
        if not self._is_wanted_here:
            self.due = NEVER
            return
        self.due = now + min([LOOK, *(max(rule.keep / 2, WATCH) for rule in self._rules)])
        try:
            if self._is_wanted():
                self._process = self._spawn()
                self.due = now + WATCH
        except Outdated:
            raise
        except (QueueError, OSError) as error:
            self.due = now + REST
            self._host.warn(f"can't look for what is to be archived or swept: {error}")

    def _is_wanted(self) -> bool:
        """Whether anything is to be archived or swept here and now, and no process is at it."""
        if locked(f"{self._queue.home.folder}/{LOCK}"):
            return False
        state = read_state(self._queue.home)
        if state.error is not None and 0 <= clock.now() - state.at < REST * clock.SECOND:
            return False
        if not state.swept:
            self._begin_day()
        if is_sweep_due(state):
            return True
        if not self._rules:
            return False
        with self._queue.engine.snapshot() as view:
            wanted = state.begun is not None or oldest_overdue(view, self._rules, self._queue.engine.now()) is not None
            return wanted and is_archivist(view, self._queue.home, self._identity)

    def _begin_day(self) -> None:
        """Count the day after which the folder is swept from now on."""
        if (lock := self._queue.engine.alone(LOCK)) is not None:
            try:
                change_state(self._queue.home, swept=clock.now())
            finally:
                lock.close()

    def _spawn(self) -> int:
        # A process group of its own: what a terminal sends is for the supervisor alone (R16).
        nothing = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        given = worker_process.options_file(encode(self._options))
        try:
            pid = os.posix_spawn(
                sys.executable,
                worker_process.command(worker_process.RETENTION_ROLE, "--db", self._queue.url),
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, nothing, 0),
                    (os.POSIX_SPAWN_DUP2, given, worker_process.ORDERS_FD),
                ],
                setpgroup=0,
                setsigmask=[],
                setsigdef=worker_process.SIGNALS,
            )
        finally:
            os.close(nothing)
            os.close(given)
        self._orphans.spare(pid)
        return os.pidfd_open(pid)

    def close(self) -> None:
        """End the process: what it has begun is finished by another."""
        if self._process is not None:
            signal.pidfd_send_signal(self._process, signal.SIGTERM)
            os.close(self._process)
            self._process = None
