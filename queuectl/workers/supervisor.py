"""The supervisor: spawns workers, replaces those that crash, counts signals, and recovers what its dead workers ran.

Workers run in process groups of their own and take orders from this process alone, through a pipe (R16): one Ctrl-C
signals the whole foreground group, and would be counted twice. The end of that pipe, should this process die, is an
order to stop as well.
"""

import os
import select
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from queuectl.clock import monotonic
from queuectl.decisions import Stop
from queuectl.errors import QueueError, shown
from queuectl.events import encode
from queuectl.host import subreaper
from queuectl.host.notify_socket import UNWATCHED, NotifySocket
from queuectl.host.oom import PERHAPS, OomKills
from queuectl.host_limits import HostLimits
from queuectl.queue import Queue
from queuectl.workers.announcements import Announcements
from queuectl.workers.chores.chore import NEVER
from queuectl.workers.chores.file_monitor import QueueFiles, WatchedFile
from queuectl.workers.detach import detached
from queuectl.workers.inheritance import leave_job, raise_file_limit
from queuectl.workers.parent_fence import ParentFence
from queuectl.workers.recovery import attempt_table, worker_lock
from queuectl.workers.recovery.orphans import Orphans
from queuectl.workers.recovery.rescuer import RecoveryReport, Rescuer, take_lock, unreported_outcomes, write_report
from queuectl.workers.recovery.worker_lock import NoLockFile
from queuectl.workers.start_options import WORKER_SETTINGS, SupervisorOptions, WorkerOptions
from queuectl.workers.stderr import say
from queuectl.workers.worker_process import (
    CANT_WRITE,
    ORDER_KILL,
    ORDER_STOP,
    ORDERS_FD,
    SIGNALS,
    WorkerProcess,
    spawn_worker,
    stop_signals,
)  # fmt: skip

TAKE_OVER = 2.0
"""Seconds for which a dead worker's lock is tried; then its recovery is left to others."""
TRY_AGAIN = 0.005
"""Seconds between two tries."""
RESTART = 1.0
"""Seconds between a worker's crash and the spawn of its successor."""
LONG_RESTART = 5.0
"""The same where a successor could not start, because the database or its folder could not be used just then."""

LONGEST = 2**31 - 1
"""Milliseconds that a poll can wait."""


class CrashedWorker(msgspec.Struct):
    """A worker that has died and whose recovery has not begun."""

    how: str
    """How it died, as the end of a sentence."""
    until: float
    """Until when to try its lock, which a command that it was just spawning may still hold."""


def start(url: str, *, logs: str | None = None, **options: Any) -> int:
    """Open the queue and `supervise` workers on it. `logs`: another folder for `worker.jsonl`.

    Raises Unusable where the database can't be used, Absent where there is none.
    """
    leave_job()
    with Queue(url, create=False, logs=logs) as queue:
        return supervise(queue, **options)


def supervise(
    queue: Queue,
    *,
    count: int = 1,
    slots: int = 1,
    queues: Sequence[str] = (),
    drain: bool = False,
    seconds: float | None = None,
    detach: bool = False,
    resources: Mapping[str, int | str] = {},
    max_load: float | None = None,
    min_free_memory: int | None = None,
    outboxes: Sequence[str] = (),
    stop_timeout: float | None = None,
    notify: NotifySocket = UNWATCHED,
) -> int:
    """Run `count` workers with `slots` commands each until they are stopped; returns the exit code.

    `queues`: the queues to serve; empty: all. `drain`: stop once nothing is left to do. `seconds`: stop after so many.
    `detach`: run in the background, out of reach of this terminal; returns at once. `resources`: what they offer of
    this host's: how much, or the numbers of the pieces. `max_load`, `min_free_memory`: the load average of this host
    from which on they claim nothing, and the bytes of free memory below which they claim nothing. `outboxes`: the URLs
    of those whose rows they move. `stop_timeout`: the seconds after the first signal to stop in which what runs may
    finish; then it is ended. `notify`: the manager of the service that this process is. Raises Unusable where the
    database can't be used, Invalid for more slots than the limit of open files allows, and for a URL that names no
    outbox.
    """
    raise_file_limit(slots)
    if outboxes:
        from queuectl.outbox.client import refuse_own  # loads what few need
        from queuectl.outbox.place import locate

        for url in outboxes:
            refuse_own(locate(url), queue.engine.owns)
    limits = HostLimits(max_load, min_free_memory)
    worker = WorkerOptions(
        queue.engine.access, "", slots, list(queues), drain, seconds, dict(resources), limits, outboxes=[*outboxes],
        logs=queue.logs,
    )  # fmt: skip
    options = SupervisorOptions(worker, count, stop_timeout=stop_timeout)
    return detached(options, queue.logs) if detach else Supervisor(options, queue, notify).run()


class Supervisor:
    """Runs in one thread, which waits for the ends of workers and for signals."""

    def __init__(self, options: SupervisorOptions, queue: Queue, notify: NotifySocket = UNWATCHED) -> None:
        """Raises what is wrong with settings that workers use: Invalid, Unusable."""
        self._options = options
        self._queue = queue
        with self._queue.engine.snapshot() as view:
            self._queue.settings(view).require(*WORKER_SETTINGS)
        self._files = QueueFiles(self._queue)
        self._workers: dict[int, WorkerProcess] = {}
        self._restarts: list[float] = []
        self._rescuers: list[Rescuer] = []
        self._dead: dict[str, CrashedWorker] = {}
        self._oom_kills = OomKills()
        self._orphans = Orphans()
        self._fence = ParentFence(queue, self._find_orphans)
        self._reaped: dict[int, int] = {}
        """Wait statuses of adopted children: commands of a worker that has just died may be among them."""
        self._reaped_last: dict[int, int] = {}
        self._until = monotonic() + options.worker.seconds if options.worker.seconds is not None else None
        self._signals = 0
        """How many signals to stop have come."""
        self._code = 0
        self._end_at = NEVER
        """When what runs is ended, after the first of these signals."""
        self._leash = options.leash
        self._notify = notify
        self._announcements = Announcements(options, notify)

    def run(self) -> int:
        """Run until all workers have ended; returns the exit code."""
        subreaper.become_subreaper()
        child = signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it would discard the workers' exit codes
        self._queue.engine.while_waiting(self._look_at_fence)  # a recovery may wait for the server
        wakeup, write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        old = {number: signal.signal(number, _ignore) for number in stop_signals()}
        old_wakeup = signal.set_wakeup_fd(write_end)
        try:
            for _ in range(self._options.count):
                self._spawn(successor=False)
            self._announcements.up()
            while self._workers or self._restarts or self._rescuers or self._dead:
                self._wait(wakeup)
                self._step(monotonic())
                if self._signals > 3 and not self._workers:
                    break
        finally:
            self._queue.engine.while_waiting(None)
            signal.set_wakeup_fd(old_wakeup)
            for number, handler in old.items():
                signal.signal(number, handler)
            signal.signal(signal.SIGCHLD, child)
            for worker in self._workers.values():
                os.close(worker.orders)  # an order to stop
            for each in self._rescuers:
                each.abandon()
            os.close(wakeup)
            os.close(write_end)
        return self._code

    def _spawn(self, *, successor: bool) -> None:
        database = self._files.database.opened if self._files.database is not None else None
        options = msgspec.structs.replace(self._options.worker, database=database)
        if self._until is not None:
            options = msgspec.structs.replace(options, seconds=max(0.0, self._until - monotonic()))
        try:
            worker = spawn_worker("--db", options.url)
        except OSError as error:
            if not successor:
                raise
            say(f"can't start another worker just now: {error.strerror}")
            self._restarts.append(monotonic() + LONG_RESTART)
            return
        worker.oom_kills, worker.successor = self._oom_kills.count(), successor
        self._workers[worker.pidfd] = worker
        worker.begin(encode(msgspec.structs.replace(options, worker=worker.id, orders=ORDERS_FD)))

    def _wait(self, wakeup: int) -> None:
        """Wait for the next event, and take it in."""
        poll = select.poll()
        poll.register(wakeup, select.POLLIN)
        for pidfd in self._workers:
            poll.register(pidfd, select.POLLIN)
        if self._leash is not None:
            poll.register(self._leash, select.POLLIN)
        times = [*self._restarts, *(each.next_tick for each in self._rescuers)]
        times += [self._fence.due, self._notify.due, self._end_at]
        if self._dead:
            times.append(monotonic() + TRY_AGAIN)
        timeout = min(max(0.0, (min(times) - monotonic()) * 1000), LONGEST) if min(times) != NEVER else None
        for fd, _ in poll.poll(timeout):
            if fd == wakeup:
                self._count_signals(os.read(wakeup, 64))
            elif fd == self._leash:
                self._leash = None
                if not self._signals:
                    self._count_signals(bytes([signal.SIGTERM]))
            else:
                self._reap(self._workers.pop(fd))

    def _step(self, now: float) -> None:
        """Do what is due: the fence, recoveries, restarts, the reaping of adopted children."""
        self._look_at_fence()
        if now >= self._end_at:
            self._count_signals(bytes([signal.SIGTERM]))
        self._begin_recoveries(now)
        for each in [each for each in self._rescuers if now >= each.next_tick]:
            if each.tick(now):
                self._rescuers.remove(each)
                self._write_report(each.report)
            elif each.failing and not self._workers and (self._signals or self._code):
                self._rescuers.remove(each)  # this process is to end: others recover once they can write again
                each.abandon()
        if self._rescuers:
            self._is_database_there(now)  # else they would be tried for ever
        due = [moment for moment in self._restarts if moment <= now]
        self._restarts = [moment for moment in self._restarts if moment > now] if not self._signals else []
        for _ in due if not self._signals else ():
            if self._is_database_there(now):
                self._spawn(successor=True)
            elif not self._code:
                self._restarts.append(now + RESTART)
        # Those of this step and of the one before: a worker's end may be noticed a moment after its orphans'.
        kept = self._reaped if self._dead else self._reaped_last
        self._reaped_last = dict(subreaper.reap(self._worker_pids()))
        self._reaped = {**kept, **self._reaped_last}

    def _look_at_fence(self) -> None:
        if (now := monotonic()) >= self._fence.due:
            self._fence.look(self._workers.values(), now)
        self._notify.keep_alive(now)

    def _worker_pids(self) -> set[int]:
        return {worker.pid for worker in self._workers.values()}

    def _count_signals(self, numbers: bytes) -> None:
        for number in numbers:
            if number not in SIGNALS or (number == signal.SIGHUP and self._signals):
                continue  # a terminal that is closed sends several
            self._signals += 1
            self._end_at = monotonic() + (self._options.stop_timeout or NEVER) if self._signals == 1 else NEVER
            stop = Stop(signal.Signals(number).name)
            for worker in self._workers.values():
                with suppress(OSError):  # disk full: recovery will only not know why
                    attempt_table.write_stop(f"{self._queue.home.workers}/{worker.id}", stop)
                if self._signals > 2:
                    signal.pidfd_send_signal(worker.pidfd, signal.SIGKILL)
                else:
                    worker.order(ORDER_STOP if self._signals == 1 else ORDER_KILL, number)
            self._announcements.stopping(self._signals)

    def _reap(self, worker: WorkerProcess) -> None:
        """Reap a worker that has ended: in order, for a reason that a successor would share, or by a crash."""
        _, status = os.waitpid(worker.pid, 0)
        os.close(worker.pidfd)
        os.close(worker.orders)
        code = os.waitstatus_to_exitcode(status)
        if code == 0:
            return
        if code == -signal.SIGKILL:
            how = f"was {PERHAPS}{self._oom_kills.since(worker.oom_kills)}"
        else:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        if code == 4 and not self._files.is_same_database():
            self._give_up()
            return
        self._dead[worker.id] = CrashedWorker(how, monotonic() + TAKE_OVER)
        if code == 4 and self._follow_folder(worker):
            return
        if code == 4 or (code == CANT_WRITE and not worker.successor):
            self._code = 4
        elif not self._signals:
            say(f"worker {worker.id} (process {worker.pid}) {how}; starting another")
            self._restarts.append(monotonic() + (LONG_RESTART if code == CANT_WRITE else RESTART))

    def _is_database_there(self, now: float) -> bool:
        """Whether the database is in its place just now, without which no worker is spawned.

        Where it is gone for good, the supervisor gives up.
        """
        self._files.look_at_database(now)
        if self._files.lost(now):
            self._give_up()
        if self._files.is_database_missing:
            return False
        if not self._queue.engine.is_current():
            with suppress(QueueError):  # tried again when it is needed
                self._queue.engine.reopen()
        return True

    def _give_up(self) -> None:
        """End without a restart or a recovery: the database is gone, or another one is in its place."""
        if not self._code:
            path = shown(self._queue.url)
            say(f"{path}: is gone, or another one: no worker is started again")
        self._code = 4
        self._restarts.clear()
        self._dead.clear()
        for each in self._rescuers:
            each.abandon()
        self._rescuers.clear()

    def _follow_folder(self, worker: WorkerProcess) -> bool:
        """Replace a worker that ended because the folder beside the database was replaced; returns whether it was."""
        if self._files.is_same_folder():
            return False
        try:
            self._queue.engine.reopen()
            self._files.folder = WatchedFile(self._queue.home.folder)
            asked = next((each.state == "stopping" for each in self._queue.workers() if each.id == worker.id), False)
        except QueueError as error:
            say(f"{error}")
            return False
        if not self._signals and not asked:
            say(f"worker {worker.id} has ended; starting another in the new folder")
            self._restarts.append(monotonic() + RESTART)
        return True

    def _begin_recoveries(self, now: float) -> None:
        """Begin to recover dead workers. A command that one was just spawning holds its lock too, until it has become a
        program of its own, so a lock that is not free is tried again."""
        for id, crashed in list(self._dead.items()):
            held = None
            try:
                held = worker_lock.try_lock(self._queue.home.workers, id)
            except NoLockFile:
                crashed.until = now
                with suppress(QueueError, OSError):  # then it is left to others
                    held = take_lock(self._queue, id)
            if held is not None:
                self._reaped.update(subreaper.reap(self._worker_pids()))
                known = unreported_outcomes(held.path, self._known_statuses(id))
                self._rescuers.append(
                    Rescuer(
                        self._queue,
                        held,
                        f"recovery:{id}",
                        patience=1.0,
                        known=known,
                        died=crashed.how,
                        orphans=self._find_orphans,
                        at_once=self._signals > 2,
                    )
                )
            if held is not None or now >= crashed.until:
                del self._dead[id]

    def _known_statuses(self, id: str) -> dict[int, int]:
        """By pid the wait statuses that tell how commands of this worker ended: not of those that the fence killed."""
        if id not in self._fence.ended:
            return self._reaped
        return {pid: status for pid, status in self._reaped.items() if status != signal.SIGKILL}

    def _find_orphans(self) -> list[int]:
        # Adopted children were a dead worker's, however long the other workers have been running.
        workers = self._worker_pids()
        return [pid for pid in self._orphans.find(()) if pid not in workers]

    def _write_report(self, report: RecoveryReport) -> None:
        try:
            if report.jobs:
                write_report(self._queue.logs, report)
        except (QueueError, OSError) as error:
            say(f"can't write the report of a recovery: {error}")


def _ignore(number: int, frame: object) -> None:
    """Do nothing: the number comes through the wakeup descriptor."""
