"""The parent of the workers: starts them, restarts one that crashed, counts the signals, and recovers its own dead.

Workers run in process groups of their own and take orders from this process alone, through a pipe (R16): one Ctrl-C
signals the whole foreground group, and would be counted twice. That pipe's end, should this process die, is an order to
stop in good order.
"""

import os
import select
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress

import msgspec

from queuectl.clock import monotonic
from queuectl.decisions import Stop
from queuectl.errors import QueueError, shown
from queuectl.host import subreaper
from queuectl.host.oom import PERHAPS, OomKills
from queuectl.queue import Queue
from queuectl.workers import worker_process
from queuectl.workers.chores.file_monitor import QueueFiles, WatchedFile
from queuectl.workers.inheritance import leave_job, make_room
from queuectl.workers.journal import opened
from queuectl.workers.recovery import attempt_table, worker_lock
from queuectl.workers.recovery.orphans import Orphans
from queuectl.workers.recovery.rescuer import RecoveryReport, Rescuer, take_lock, unreported_outcomes, write_report
from queuectl.workers.recovery.termination import GRACE
from queuectl.workers.recovery.worker_lock import NoLockFile
from queuectl.workers.start_options import SupervisorOptions, WorkerOptions
from queuectl.workers.stderr import is_watched, say
from queuectl.workers.worker import ORDER_KILL, ORDER_STOP
from queuectl.workers.worker_process import WorkerProcess, order, spawn_worker

TAKE_OVER = 2.0
"""Seconds after which a dead worker whose lock is not free is left to others."""
TRY_AGAIN = 0.005
"""Seconds between two tries at such a lock."""
RESTART = 1.0
"""Seconds between a worker's crash and its successor's start."""
LONG_RESTART = 5.0
"""The same where that one could not start, because the database or its folder could not be used just then."""
CANT_WRITE = 75
"""The exit code of a worker that could not start because of that (EX_TEMPFAIL of sysexits.h); within the family."""

WORKER_SETTINGS = ("output_limit", "output_policy", "disk_floor", "synchronous", "seal_every")
"""What a worker goes by: it is not started where one of these can't be used."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

READY = b"ready\n"

ANSWER = 9
"""The descriptor on which a detached parent says that it is ready."""


class CrashedWorker(msgspec.Struct):
    """The end of a worker whose jobs must be recovered."""

    how: str
    until: float
    """How long to try for its lock, which what it was just starting may still hold."""


def start(
    url: str,
    *,
    count: int = 1,
    slots: int = 1,
    queues: Sequence[str] = (),
    drain: bool = False,
    seconds: float | None = None,
    detach: bool = False,
    logs: str | None = None,
) -> int:
    """Run `count` workers with `slots` commands each, until told to stop; returns the exit code.

    `queues` empty: all of them. `drain`: until nothing is left to do. `seconds`: so long. `detach`: in the background,
    out of reach of this terminal; returns at once. `logs`: another folder for `worker.jsonl`. Raises Unusable where the
    database can't be used, Absent where there is none.
    """
    leave_job()
    make_room(slots)
    options = SupervisorOptions(WorkerOptions(url, "", slots, list(queues), drain, seconds, logs=logs), count)
    return _detach(options) if detach else Supervisor(options).run()


class Supervisor:
    """The parent at work. One thread; it waits for its workers' ends and for signals."""

    def __init__(self, options: SupervisorOptions) -> None:
        """Opens the database, so that what is wrong with it is told before anything is started. Raises Unusable."""
        self._options = options
        self._queue = Queue(options.worker.url, create=False, logs=options.worker.logs)
        with self._queue.engine.snapshot() as view:
            self._queue.settings(view).require(*WORKER_SETTINGS)
        self._home = QueueFiles(self._queue)
        self._workers: dict[int, WorkerProcess] = {}
        self._restarts: list[float] = []
        self._rescuers: list[Rescuer] = []
        self._dead: dict[str, CrashedWorker] = {}
        """Workers that have died and are still to be recovered."""
        self._oom_kills = OomKills()
        self._orphans = Orphans()
        self._reaped: dict[int, int] = {}
        """Wait statuses of what fell to us: commands of a worker that has just died may be among them."""
        self._fresh: dict[int, int] = {}
        self._until = monotonic() + options.worker.seconds if options.worker.seconds is not None else None
        self._signals = 0
        self._code = 0
        self._leash = options.leash
        for fd in (options.ready, options.leash):
            if fd is not None:
                os.set_inheritable(fd, False)  # not for the workers: its end is waited for

    def run(self) -> int:
        """Until all workers have ended; returns the exit code."""
        subreaper.become_subreaper()
        child = signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # ignored, it would take our workers' exit codes away
        hear, tell = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        old = {number: signal.signal(number, _heard) for number in unignored()}
        woken = signal.set_wakeup_fd(tell)
        try:
            for _ in range(self._options.count):
                self._spawn(successor=False)
            self._say_ready()
            while self._workers or self._restarts or self._rescuers or self._dead:
                self._wait(hear)
                if self._signals > 3 and not self._workers:
                    break
        finally:
            signal.set_wakeup_fd(woken)
            for number, handler in old.items():
                signal.signal(number, handler)
            signal.signal(signal.SIGCHLD, child)
            for worker in self._workers.values():
                os.close(worker.orders)  # which is an order to stop
            for each in self._rescuers:
                each.abandon()
            self._queue.close()
            os.close(hear)
            os.close(tell)
        return self._code

    def _spawn(self, *, successor: bool) -> None:
        options = msgspec.structs.replace(self._options.worker, database=self._home.database.opened)
        if self._until is not None:
            options = msgspec.structs.replace(options, seconds=max(0.0, self._until - monotonic()))
        try:
            worker = spawn_worker(options, self._oom_kills.count(), successor)
        except OSError as error:
            if not successor:
                raise
            say(f"can't start another worker just now: {error.strerror}")
            self._restarts.append(monotonic() + LONG_RESTART)
            return
        self._workers[worker.pidfd] = worker

    def _say_ready(self) -> None:
        if self._options.ready is not None:
            with suppress(OSError):  # who started us may be gone
                os.write(self._options.ready, READY)
            os.close(self._options.ready)
        if is_watched() and not self._options.worker.is_private:
            many = f"{self._options.count} workers" if self._options.count != 1 else "1 worker"
            slots = f", {self._options.worker.slots} slots each" if self._options.worker.slots != 1 else ""
            say(f"{many} up{slots}; Ctrl-C finishes what runs and stops")

    def _wait(self, hear: int) -> None:
        poll = select.poll()
        poll.register(hear, select.POLLIN)
        for pidfd in self._workers:
            poll.register(pidfd, select.POLLIN)
        if self._leash is not None:
            poll.register(self._leash, select.POLLIN)
        times = [*self._restarts, *(each.next_tick for each in self._rescuers)]
        if self._dead:
            times.append(monotonic() + TRY_AGAIN)
        rest = (min(times) - monotonic()) * 1000 if times else None
        for fd, _ in poll.poll(max(0.0, rest) if rest is not None else None):
            if fd == hear:
                self._count(os.read(hear, 64))
            elif fd == self._leash:
                self._leash = None
                if not self._signals:
                    self._count(bytes([signal.SIGTERM]))
            else:
                self._reap(self._workers.pop(fd))
        now = monotonic()
        self._take_over(now)
        for each in [each for each in self._rescuers if now >= each.next_tick]:
            if each.tick(now):
                self._rescuers.remove(each)
                self._tell(each.report)
            elif each.failing and not self._workers and (self._signals or self._code):
                self._rescuers.remove(each)  # we are to end: whoever can write again recovers it
                each.abandon()
        if self._rescuers:
            self._is_at_home(now)  # else they would be tried for ever
        due = [moment for moment in self._restarts if moment <= now]
        self._restarts = [moment for moment in self._restarts if moment > now] if not self._signals else []
        for _ in due if not self._signals else ():
            if self._is_at_home(now):
                self._spawn(successor=True)
            elif not self._code:
                self._restarts.append(now + RESTART)
        # Those of this turn and of the one before: a worker's end may be heard of a moment after its orphans'.
        kept = self._reaped if self._dead else self._fresh
        self._reaped = {**kept, **(fresh := dict(subreaper.reap({worker.pid for worker in self._workers.values()})))}
        self._fresh = fresh

    def _count(self, numbers: bytes) -> None:
        for number in numbers:
            if number not in SIGNALS or (number == signal.SIGHUP and self._signals):
                continue  # a terminal that is closed sends more than one
            self._signals += 1
            stop = Stop(signal.Signals(number).name)
            for worker in self._workers.values():
                with suppress(OSError):  # a full disk saves nobody; recovery will only not know why
                    attempt_table.write_stop(f"{self._queue.home.workers}/{worker.id}", stop)
                if self._signals > 2:
                    signal.pidfd_send_signal(worker.pidfd, signal.SIGKILL)
                else:
                    order(worker, ORDER_STOP if self._signals == 1 else ORDER_KILL, number)
            if is_watched() and not self._options.worker.is_private:
                say(
                    "finishing what runs; once more ends it"
                    if self._signals == 1
                    else "ending what runs: it runs again"
                )

    def _reap(self, worker: WorkerProcess) -> None:
        """A worker has ended: in good order, for a reason that a successor would share, or by a crash."""
        _, status = os.waitpid(worker.pid, 0)
        os.close(worker.pidfd)
        os.close(worker.orders)
        code = os.waitstatus_to_exitcode(status)
        if code == 0:
            return
        if code == -signal.SIGKILL:
            how = f"was {PERHAPS}{self._oom_kills.since(worker.killings)}"
        else:
            how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        if code == 4 and not self._home.is_same_database():
            self._give_up()
            return
        self._dead[worker.id] = CrashedWorker(how, monotonic() + TAKE_OVER)
        if code == 4 and self._move_in(worker):
            return
        if code == 4 or (code == CANT_WRITE and not worker.successor):
            self._code = 4
        elif not self._signals:
            say(f"worker {worker.id} (process {worker.pid}) {how}; starting another")
            self._restarts.append(monotonic() + (LONG_RESTART if code == CANT_WRITE else RESTART))

    def _is_at_home(self, now: float) -> bool:
        """Whether the database is in its place just now. A worker starts only then; where it is gone for good, none."""
        self._home.database.look(now)
        if self._home.lost(now):
            self._give_up()
        if self._home.database.since is not None:
            return False
        if not self._queue.engine.is_current():
            with suppress(QueueError):  # as its workers have done; else it is tried again when it is needed
                self._queue.engine.reopen()
        return True

    def _give_up(self) -> None:
        """The database is another one, or gone: nothing is restarted, made or recovered in its place."""
        if not self._code:
            path = shown(self._queue.url)
            say(f"{path}: is gone, or another one: no worker is started again")
        self._code = 4
        self._restarts.clear()
        self._dead.clear()
        for each in self._rescuers:
            each.abandon()
        self._rescuers.clear()

    def _move_in(self, worker: WorkerProcess) -> bool:
        """Where a worker ended because the folder beside the database was replaced, start another in the new one."""
        if self._home.is_same_folder():
            return False
        try:
            self._queue.engine.reopen()
            self._home.folder = WatchedFile(self._queue.home.folder)
            asked = next((each.state == "stopping" for each in self._queue.workers() if each.id == worker.id), False)
        except QueueError as error:
            say(f"{error}")
            return False
        if not self._signals and not asked:
            say(f"worker {worker.id} has ended; starting another in the new folder")
            self._restarts.append(monotonic() + RESTART)
        return True

    def _take_over(self, now: float) -> None:
        """Begin to recover the dead. What a worker was just starting when it died holds the worker's lock too, until it
        has become a program of its own, so a lock that is not free is tried again."""
        for id, death in list(self._dead.items()):
            held = None
            try:
                held = worker_lock.try_lock(self._queue.home.workers, id)
            except NoLockFile:
                death.until = now
                with suppress(QueueError, OSError):  # where it can't be done just now it is left to others
                    held = take_lock(self._queue, id)
            if held is not None:
                self._reaped.update(subreaper.reap({worker.pid for worker in self._workers.values()}))
                known = unreported_outcomes(held.path, self._reaped)
                self._rescuers.append(
                    Rescuer(
                        self._queue,
                        held,
                        f"recovery:{id}",
                        patience=1.0,
                        known=known,
                        died=death.how,
                        orphans=self._find_orphans,
                        grace=GRACE if self._signals <= 2 else 0.0,
                    )
                )
            if held is not None or now >= death.until:
                del self._dead[id]

    def _find_orphans(self) -> list[int]:
        # What falls to us was a dead worker's, however long the others have been running.
        workers = {worker.pid for worker in self._workers.values()}
        return [pid for pid in self._orphans.find(()) if pid not in workers]

    def _tell(self, report: RecoveryReport) -> None:
        try:
            if report.jobs:
                write_report(self._queue.logs, report)
        except (QueueError, OSError) as error:
            say(f"can't write the report of a recovery: {error}")


def unignored() -> list[signal.Signals]:
    """The signals that stop workers, but those that were ignored when this process began (nohup), which stay so."""
    return [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]


def _heard(number: int, frame: object) -> None:
    """Nothing: the number comes through the wakeup descriptor."""


def _detach(options: SupervisorOptions) -> int:
    """Start a parent in a session of its own, with its messages in `logs/worker.log`, and wait until it is up."""
    with Queue(options.worker.url, create=False, logs=options.worker.logs) as queue:
        logs, log = queue.logs, f"{queue.logs}/worker.log"
    out = opened(logs, "worker.log")
    hear, tell = os.pipe2(os.O_CLOEXEC)
    nothing = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    options = msgspec.structs.replace(options, ready=ANSWER)
    pid = os.posix_spawn(
        sys.executable,
        worker_process.command(options),
        # Inside of no job: whoever detaches workers does not wait for them.
        {name: value for name, value in os.environ.items() if name != "QUEUECTL_JOB_ID"},
        file_actions=[
            (os.POSIX_SPAWN_DUP2, nothing, 0),
            (os.POSIX_SPAWN_DUP2, out, 1),
            (os.POSIX_SPAWN_DUP2, out, 2),
            (os.POSIX_SPAWN_DUP2, tell, ANSWER),
        ],
        setsid=True,
        setsigmask=[],
        setsigdef=unignored(),
    )
    for fd in (tell, out, nothing):
        os.close(fd)
    with open(hear, "rb") as answer:
        said = answer.read()
    if said != READY:
        _, status = os.waitpid(pid, 0)
        problem = QueueError(f"the workers could not be started; see {shown(log)}")
        problem.exit_code = 4 if os.waitstatus_to_exitcode(status) == 4 else 1
        raise problem
    say(f"workers run in the background (process {pid}), log in {shown(log)}")
    return 0
