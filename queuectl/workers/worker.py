"""The worker: one process, one thread, one loop that starts commands, notices their ends, and takes turns with the log.

A turn is one transaction: it reports what has ended and claims what comes next, while commands run. What recurs beside
that is done by chores.
"""

import os
import select
import signal

from queuectl.clock import boottime, monotonic
from queuectl.decisions import Report, Stop
from queuectl.errors import Outdated, QueueError
from queuectl.host import cgroup
from queuectl.host_lease import CLOCK_OFF, told_clock
from queuectl.queue import Queue
from queuectl.workers.chores.cascades import Cascades
from queuectl.workers.chores.checkpoint import Checkpoint
from queuectl.workers.chores.chore import NEVER, Chore, run_due
from queuectl.workers.chores.file_monitor import DeclaredLost, FileMonitor, QueueGone
from queuectl.workers.chores.file_sharing import FileSharing
from queuectl.workers.chores.heartbeat import HeartbeatChore, heartbeat_of
from queuectl.workers.chores.host_watch import HostWatch
from queuectl.workers.chores.memory_groups import MemoryGroups
from queuectl.workers.chores.reaping import Reaping
from queuectl.workers.chores.recovery_watch import RecoveryWatch
from queuectl.workers.chores.relays import Relays
from queuectl.workers.chores.retention import RetentionChore
from queuectl.workers.chores.schedules import ScheduleChore
from queuectl.workers.chores.sealing import SealChore
from queuectl.workers.chores.self_fencing import SelfFencing
from queuectl.workers.chores.suspensions import Suspensions
from queuectl.workers.chores.time_limit import TimeLimit
from queuectl.workers.claims import MOST_AHEAD, Claims
from queuectl.workers.doorbells import Doorbells
from queuectl.workers.execution import memory
from queuectl.workers.journal import Journal, turn_lines
from queuectl.workers.pending_reports import PendingReports
from queuectl.workers.recovery.attempt_table import AttemptTable
from queuectl.workers.recovery.worker_lock import WorkerLock
from queuectl.workers.slots import Slots
from queuectl.workers.start_options import WorkerOptions
from queuectl.workers.stderr import say
from queuectl.workers.turn import Turn, TurnWriter
from queuectl.workers.worker_process import ORDER_KILL

PAUSE = 1.0
"""Seconds to wait when the database can't be written, before the next try."""


class WorkerLoop:
    """Runs a worker until it is stopped or nothing is left to do. Its chores see it as their `ChoreHost`."""

    def __init__(
        self, queue: Queue, options: WorkerOptions, journal: Journal, table: AttemptTable, held: WorkerLock
    ) -> None:
        """`table` is where the attempts that run are recorded, in the file behind the lock that is `held`."""
        self._options = options
        self._engine = queue.engine
        self._journal = journal
        self._table = table
        self._drains = options.drain or bool(options.only)
        identity = queue.home.identity()
        self._poll = select.poll()
        if options.orders is not None:
            self._poll.register(options.orders, select.POLLIN)
        self._bells = Doorbells(queue, self._poll)
        self._writer = TurnWriter(queue, options.worker, options.queues, identity, options.only)
        self._pending = PendingReports(table)
        self._groups = MemoryGroups(cgroup.delegated(memory.RESTING))
        self._slots = Slots(
            queue, identity, options.slots, table, self._pending, self._groups, self._poll, self._not_started
        )
        self._claims = Claims(self._slots, self._pending, ahead=not options.only)
        self._suspensions = Suspensions(self, self._slots, self._claims)
        self._files = FileMonitor(self, queue, held, table, self._bells)
        self._recovery = RecoveryWatch(queue, self._writer, journal)
        self._cascades = Cascades(self, queue, options.worker)
        self._schedules = ScheduleChore(self, queue, is_private=options.is_private)
        self._host = HostWatch(self, options.limits, journal)
        self._fencing = SelfFencing(self, self._slots, table)
        self._heartbeat = HeartbeatChore(self._holds)
        self._checkpoint = Checkpoint(self, queue.engine)
        self._sharing = FileSharing(self, queue, identity, self._pending)
        self._seals = SealChore(self, queue, options.worker, journal, self._checkpoint, self._is_undisturbed)
        self._retention = RetentionChore(self, queue, options, identity, self._slots.orphans)
        self._relays = Relays(self, queue, journal, options.outboxes)
        self._chores: list[Chore] = [
            self._fencing,
            self._slots,
            self._files,
            self._recovery,
            Reaping(self._slots.main_pids),
            TimeLimit(self, options.seconds),
            self._claims,
            self._suspensions,
            self._heartbeat,
            self._cascades,
            self._schedules,
            self._host,
            self._groups,
            self._sharing,
            self._relays,
        ]
        self._after_turns: list[Chore] = [self._checkpoint, self._seals, self._retention]
        """The chores for which no command waits."""
        self._paused_until = monotonic()
        self._stopping: str | None = None
        """Why the worker stops; None while it works."""
        self._killed = self._leaving = self._lost = False
        """Whether it was told to end what runs; whether it ends without having written all; whether it was taken for
        dead by others."""
        self._last_warning = ""

    def run(self) -> bool:
        """Work. False where something could not be ended, or written, and is left to recovery.

        Raises Outdated where a newer queuectl has been at the database, QueueGone where the queue is gone, DeclaredLost
        where others have taken this worker for dead.
        """
        sent = boottime()
        event = self._writer.start(
            self._options.slots,
            drain=self._drains or self._options.helps,
            resources=self._options.resources,
            limits=self._options.limits,
            cgroup=self._groups.base,
        )
        self._fencing.begin(event.lease, sent, monotonic())
        self._engine.while_waiting(self._meanwhile)
        self._heartbeat.begin(event.lease, monotonic())
        if event.clock_ahead is not None and abs(event.clock_ahead) > CLOCK_OFF:
            self.warn(f"the clock of this host {told_clock(event.clock_ahead)}: set it right")
        self._journal.write([{"event": "started", "pid": os.getpid(), "slots": self._options.slots}])
        try:
            while not self._is_over():
                self._step()
        except Outdated:
            self._end_outdated()
            raise
        return self._finish()

    def _step(self) -> None:
        self._wait()
        now = monotonic()
        run_due(self._chores, now)
        self._start(now)
        if self._next_turn(now) <= now:
            self._take_turn(now)
            self._start(monotonic())
            self._checkpoint.turn_taken()
        run_due(self._after_turns, monotonic())

    def _wait(self) -> None:
        now = monotonic()
        dues = [chore.due for chore in self._chores] + [chore.due for chore in self._after_turns]
        wake = min(self._next_turn(now), *dues)
        if wake > now and not self._holds():
            self._checkpoint.idle(now)
        self._claims.prepare()
        self._poll_events(max(0.0, wake - now))

    def _poll_events(self, seconds: float) -> None:
        """Take in what happens within so many seconds: ends of commands, orders, doorbells.

        A slot that becomes free is filled at once, and the end that made it so is reported while the next command runs.
        """
        found = self._poll.poll(seconds * 1000)
        now = monotonic()
        for fd, _ in found:
            if fd in self._slots:
                self._slots.collect(fd, now)
                self._claims.attempt_ended()
            elif fd == self._options.orders:
                self._read_orders(fd)
            else:
                self._bells.clear()
        self._claims.run(now)
        self._start(now)
        self._slots.report(now)

    def _meanwhile(self) -> None:
        """While others write, or the server does not answer, which may take long: commands start, end and run into
        their timeouts, and orders come."""
        self._poll_events(0.0)
        run_due([self._fencing, self._slots], monotonic())

    def _start(self, now: float) -> None:
        """Start what is claimed, as far as slots are free."""
        if now >= self._pending.doubtful_until and not self._files.writes_suspended and self._fencing.may_start():
            self._claims.start(now)

    def _holds(self) -> bool:
        """Whether the worker holds any job."""
        return bool(self._slots or self._claims)

    def _is_undisturbed(self) -> bool:
        """Whether nothing has to wait for a chore that takes a few milliseconds."""
        return self._stopping is None and self._pending.due == NEVER and not self._files.claims_suspended

    def _is_over(self) -> bool:
        if self._leaving or self._stopping is None:
            return self._leaving
        written = self._pending.due == NEVER or self._files.gone is not None
        return written and self._slots.stuck == len(self._slots)

    def _end_outdated(self) -> None:
        """Wait for the ends of what runs, which stay in the attempt table: the newer version's recovery reports them.

        Under a lease what runs is ended at once, as other hosts may run it soon.
        """
        self._table.set_outdated()
        leased = self._fencing.has_lease
        self.stop("upgraded", Stop("an upgrade") if leased else None, kill=leased)
        if self._slots:
            self.warn("the database was upgraded by a newer queuectl: claims no more, ends with what it runs")
        while len(self._slots) > self._slots.stuck:
            self._poll_events(max(0.0, min(self._slots.due, self._fencing.due) - monotonic()))
            run_due([self._fencing, self._slots], monotonic())

    def _finish(self) -> bool:
        self._engine.while_waiting(None)
        self._seals.close()
        self._retention.close()
        self._bells.close()
        self._groups.run(monotonic())
        if self._files.gone is not None:
            raise QueueGone(f"{self._files.gone}: what worker {self._options.worker} ran was ended; start workers anew")
        if self._holds() or self._pending.due < NEVER:
            self._journal.write([{"event": "error", "error": "stopped, though not all could be ended or reported"}])
            return False
        self._checkpoint.finish()
        reason = self._stopping or "drained"
        self._journal.write([{"event": "stopped", "reason": reason}])
        if self._lost:
            raise DeclaredLost(f"worker {self._options.worker} was taken for dead: what it ran is run by others")
        return self._writer.stop(reason)

    # -- turns -------------------------------------------------------------------------------------------------------

    def _next_turn(self, now: float) -> float:
        """When the next turn is due."""
        if self._bells.has_rung or self._heartbeat.is_due:
            return max(now, self._paused_until)
        at = NEVER
        if self._claims.ready < self._options.slots and self._wanted() > 0:
            # What is claimed would not keep the slots busy.
            at = self._claims.next_claim
        if self._pending.due < NEVER:
            # While there is enough to start, reports wait a little for others: one commit for many.
            may_wait = self._claims and len(self._pending.reports) < MOST_AHEAD
            at = min(at, max(self._pending.due if may_wait else now, self._pending.doubtful_until))
        return max(at, self._paused_until)

    def _wanted(self) -> int:
        """How many jobs to claim."""
        if self._stopping is not None or self._files.claims_suspended or self._host.holds_back:
            return 0
        if monotonic() < self._pending.doubtful_until:
            return 0
        return self._claims.wanted

    def _take_turn(self, now: float) -> None:
        want = self._wanted() if self._claims.may_claim(now, rung=self._bells.has_rung) else 0
        if want and not self._host.may_claim(now):
            want = 0
        reports, releases = self._pending.settled(now), self._pending.releases[:]
        holding = [*self._slots.leases, *self._claims.leases]
        heartbeat = None
        if self._heartbeat.is_wanted(now):
            heartbeat = heartbeat_of(holding, self._suspensions.leases, self._slots.progress)
        rung, self._bells.has_rung = self._bells.has_rung, False  # it may ring again while others write
        try:
            self._sharing.keep_ends(report.lease for report in reports)
            turn = self._writer.turn(
                reports,
                releases,
                want,
                free=self._claims.free,
                holding=holding,
                ended=self._pending.leases,
                heartbeat=heartbeat,
                look=rung or heartbeat is not None,
                drain=self._stuck() if self._drains else None,
                meanwhile=self._meanwhile,
            )
        except Outdated:
            raise
        except QueueError as error:
            # Nothing was written, so nothing is lost: what runs goes on, and the same turn is taken again.
            self._bells.has_rung = self._bells.has_rung or rung
            self.pause(str(error), now)
            return
        after = monotonic()
        self._slots.blocked += after - now
        self._fencing.confirm(turn.confirmed, after)
        self._pending.written(len(reports), len(releases))
        self._sharing.follow(turn, after)
        self._claims.claimed(turn, want, after)
        if heartbeat is not None or not self._holds():
            self._heartbeat.restart(after, written=heartbeat is not None)
        if turn.claims:
            self._checkpoint.busy()
            self._bells.ignore_log()
        if reports or releases or turn.claims:
            self._checkpoint.written()
        self._follow(turn, reports, after)

    def _follow(self, turn: Turn, reports: list[Report], now: float) -> None:
        """Do what a turn has found to be wanted."""
        self._slots.settings = turn.settings
        self._seals.set_interval(turn.settings.seal_every)
        self._retention.follow(turn.settings)
        if turn.hindrance is not None:
            self._not_started(turn.hindrance, now)
        if turn.jobs is not None:
            self._slots.update(turn.jobs, now)
        for id, signal_name in turn.cancel.items():
            self._slots.cancel(id, signal_name, now)
            self._claims.cancel(id, now)
        self._suspensions.follow(turn, now)
        if turn.cascading:
            self._cascades.begin(now)
        self._schedules.follow(turn.schedule_events)
        if turn.lost:
            self._lost = True
            self.abandon("declared lost")
        elif turn.stop:
            self.stop("asked to", turn.stopped_by, kill=turn.stop_now)
        self._journal.write(turn_lines(reports, turn))
        if self._drains and not self._claims and len(self._slots) <= self._slots.stuck and self._pending.due == NEVER:
            if turn.drained and self._relays.are_settled:
                self.stop("drained")
            else:
                self._bells.hear_log()  # what others run may end, and with it the reason to wait
        if self._stopping is not None and self._claims:
            self.stop(self._stopping)  # the order came while others wrote
        elif self._stopping is not None:
            self._suspensions.tell()

    def _stuck(self) -> int:
        """How many jobs can't be ended, as far as this worker has tried."""
        return self._slots.stuck + self._recovery.stuck

    def _not_started(self, message: str, now: float) -> None:
        self.warn(message)
        self._claims.back_off(now)

    # -- what chores ask for, and orders -----------------------------------------------------------------------------

    def warn(self, message: str) -> None:
        """See `ChoreHost`."""
        self._journal.write([{"event": "error", "error": message}])
        if message != self._last_warning:
            self._last_warning = message
            say(f"worker {self._options.worker}: {message}")

    def pause(self, message: str, now: float) -> None:
        """See `ChoreHost`."""
        self._paused_until = now + PAUSE
        self._leaving = self._killed  # a worker that was told twice to stop does not wait for a disk
        self.warn(message)

    def postpone_turns(self, until: float) -> None:
        """See `ChoreHost`."""
        self._paused_until = until
        self._leaving = self._killed and len(self._slots) == self._slots.stuck

    def request_turn(self) -> None:
        """See `ChoreHost`."""
        self._bells.has_rung = True

    def stop(self, reason: str, by: Stop | None = None, *, kill: bool = False) -> None:
        """See `ChoreHost`. `by` is recorded, where that is known; `kill` also ends what runs."""
        now, self._stopping = monotonic(), self._stopping or reason
        if by is not None:
            self._table.set_stop(by)
        self._killed = self._killed or kill
        self._schedules.stop()
        self._relays.stop()
        self._claims.give_back_all(now)
        self._pending.explain(by)
        self._slots.give_up_waiting(now)
        if kill:
            self._slots.end(now)
        else:
            self._suspensions.tell()

    def abandon(self, reason: str) -> None:
        """See `ChoreHost`."""
        self.stop(reason)
        self._slots.end(monotonic())

    def _read_orders(self, orders: int) -> None:
        said = os.read(orders, 16)
        if not said:
            self._poll.unregister(orders)
            self.stop("parent gone")
        for order, number in zip(said[::2], said[1::2], strict=True):
            self.stop("signal", Stop(signal.Signals(number).name), kill=order == ORDER_KILL[0])
