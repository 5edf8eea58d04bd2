"""The worker: one process, one thread, one loop that starts commands, hears of their end, and takes turns with the log.

A turn is one transaction: it reports what has ended and claims what comes next, while commands run. Short jobs must not
wait for a commit, so a worker holds a few claimed jobs more than it has slots (R10): as many as it will start within
about 20 ms by the run times it has just seen, and none when jobs are long.
"""

import os
import select
import signal
from collections import deque

from queuectl.clock import monotonic
from queuectl.decisions import Stop
from queuectl.engines.base import Listener
from queuectl.errors import Outdated, QueueError
from queuectl.queue import Queue
from queuectl.workers.chores.file_monitor import FileMonitor, QueueGone
from queuectl.workers.chores.recovery_watch import RecoveryWatch
from queuectl.workers.chores.sealing import SealChore
from queuectl.workers.journal import Journal, turn_lines
from queuectl.workers.recovery.attempt_table import AttemptTable
from queuectl.workers.recovery.worker_lock import WorkerLock
from queuectl.workers.slots import NEVER, Slots
from queuectl.workers.start_options import WorkerOptions
from queuectl.workers.stderr import say
from queuectl.workers.turn import Claim, Turn, TurnWriter

AHEAD = 0.020
"""Seconds of work that may be claimed ahead."""
MOST_AHEAD = 64
"""Jobs that may be claimed ahead."""
GIVE_BACK = 0.100
"""Seconds after which a claimed job that could not be started is given back."""
HEARTBEAT = 5.0
"""Seconds between two heartbeats, while the worker holds anything."""
LOOK = 5.0
"""Seconds after which an idle worker looks for itself, should a bell not have been rung (its ringer was killed)."""
PAUSE = 1.0
"""Seconds to wait when the database or the output folder can't be written, before the next try."""
LONGEST_PAUSE = 30.0
"""Seconds that this pause grows to when again and again nothing can be started."""
IDLE = 1.0
"""Seconds without work after which a worker tidies up behind itself."""

HOLD = 0.05
"""Seconds after a look at its files before a worker writes again, where that look finds them in their places."""
DISPLACED = "its queue is gone"
"""Why a worker stops whose database or folder is another one, or missing."""

ORDER_STOP = b"s"
ORDER_KILL = b"k"


class WorkerLoop:
    """A worker at work, until it is told to stop or nothing is left to do."""

    def __init__(
        self, queue: Queue, options: WorkerOptions, journal: Journal, table: AttemptTable, held: WorkerLock
    ) -> None:
        self._queue = queue
        self._options = options
        self._journal = journal
        self._table = table
        identity = queue.home.identity()
        self._writer = TurnWriter(queue, options.worker, options.queues, identity, options.only)
        self._watch = RecoveryWatch(queue, self._writer, journal)
        self._sealer = SealChore(queue, options.worker, journal, self._tell)
        self._poll = select.poll()
        self._slots = Slots(queue, identity, options.slots, table, self._poll, self._stumble)
        self._bell = queue.engine.listen("work")
        self._log_bell: Listener | None = None
        self._poll.register(self._bell.fileno(), select.POLLIN)
        self._files = FileMonitor(queue, held, table, self._bell, self._listen_anew)
        if options.orders is not None:
            self._poll.register(options.orders, select.POLLIN)
        self._claims: deque[tuple[Claim, float]] = deque()
        """What is claimed and not started, and since when."""

        now = monotonic()
        self._until = now + options.seconds if options.seconds is not None else NEVER
        self._drains = options.drain or bool(options.only)
        self._rung = True
        self._next_claim = now
        """When there may be something to claim."""
        self._next_beat = now + HEARTBEAT
        self._paused_until = now
        self._next_try = now
        """When to claim again after nothing could be started."""
        self._pause = PAUSE / 2
        self._may_claim_ahead = True
        self._stopping: str | None = None
        self._killed = self._leaving = False
        self._told = ""
        self._idle_since: float | None = None
        self._dirty = True

    def run(self) -> bool:
        """Work. False where something could not be ended, or said, and is left to recovery.

        Raises Outdated where a newer queuectl has been at the database, QueueGone where the queue is gone.
        """
        self._writer.start(self._options.slots, drain=self._drains or self._options.helps)
        self._journal.write([{"event": "started", "pid": os.getpid(), "slots": self._options.slots}])
        while not self._over():
            self._wait()
            now = monotonic()
            self._mind_time(now)
            self._start(now)
            if self._next_turn(now) <= now:
                self._turn(now)
                self._start(monotonic())
                self._relieve(monotonic())
            if self._may_seal() and monotonic() >= self._sealer.next_tick:
                self._dirty = self._sealer.tick() or self._dirty
        self._sealer.close()
        self._hush()
        self._bell.close()
        if self._files.displaced is not None:
            raise QueueGone(
                f"{self._files.displaced}: what worker {self._options.worker} ran was ended; start workers anew"
            )
        if self._held() or self._slots.due < NEVER:
            self._journal.write([{"event": "error", "error": "stopped, though not all could be ended or reported"}])
            return False
        self._tidy(monotonic())  # so that the file alone is the whole queue, when nobody else is at work
        reason = self._stopping or "drained"
        self._journal.write([{"event": "stopped", "reason": reason}])
        return self._writer.stop(reason)

    # -- waiting -----------------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        now = monotonic()
        wake = self._next_wake(now)
        if wake > now and not self._held() and self._idle_since is None:
            self._idle_since = now
        self._hear(max(0.0, wake - now))

    def _hear(self, seconds: float) -> None:
        """What happens within so many seconds: ends of commands, orders, the doorbell."""
        found = self._poll.poll(seconds * 1000)
        now = monotonic()
        for fd, _ in found:
            if fd in self._slots:
                self._slots.collect(fd, now)
                self._may_claim_ahead = True
                self._pause = PAUSE / 2
            elif fd == self._options.orders:
                self._obey(fd)
            else:
                self._ring()

    def _listen(self) -> None:
        """While others write, which may take long: commands end and run into their timeouts, and orders come."""
        self._hear(0.0)
        self._slots.mind(monotonic())

    def _ring(self) -> None:
        self._rung = True
        self._bell.clear()
        if self._log_bell is not None:
            self._log_bell.clear()

    def _listen_anew(self) -> Listener:
        """Hang up another doorbell in the place of one that was removed."""
        self._hush()
        self._poll.unregister(self._bell.fileno())
        self._bell.close()
        self._bell = self._queue.engine.listen("work")
        self._poll.register(self._bell.fileno(), select.POLLIN)
        return self._bell

    def _next_wake(self, now: float) -> float:
        wake = min(
            now + LOOK, self._watch.next_tick, self._files.next_tick, self._slots.next_wake, self._next_turn(now)
        )
        if self._stopping is None:
            wake = min(wake, self._until)
        if self._may_seal():
            wake = min(wake, self._sealer.next_tick)
        if self._claims:
            wake = min(wake, self._claims[0][1] + GIVE_BACK)
        if self._dirty and self._idle_since is not None:
            wake = min(wake, self._idle_since + IDLE)
        return wake

    def _mind_time(self, now: float) -> None:
        """What is due by now, apart from turns."""
        self._slots.mind(now)
        if now >= self._files.next_tick:
            self._mind_files(now)
        if now >= self._watch.next_tick:
            self._watch.tick(now)
            self._slots.reap()
        if now >= self._until and self._stopping is None:
            self._stop("time is up")
        while self._claims and now >= self._claims[0][1] + GIVE_BACK:
            self._slots.give_back(self._claims.popleft()[0].lease, now, "not started in time")
            self._may_claim_ahead = False
        if self._dirty and self._idle_since is not None and now >= self._idle_since + IDLE:
            self._dirty = False
            self._tidy(now)

    def _mind_files(self, now: float) -> None:
        for what in self._files.tick(now):
            self._tell(what)
        if self._files.is_adrift:
            self._paused_until = self._files.next_tick + HOLD  # its reports wait until there is a log again
            self._leaving = self._killed and len(self._slots) == self._slots.stuck
        self._rung = self._rung or self._files.is_doubtful  # nobody can ring, perhaps
        if self._files.declared_lost and self._stopping is None:
            self._stop("declared lost")
        if self._files.displaced is not None and self._stopping != DISPLACED:
            self._stop(DISPLACED)
            self._stopping = DISPLACED
            self._slots.end(now)

    def _may_seal(self) -> bool:
        """Whether nothing is kept waiting by it."""
        return self._stopping is None and self._slots.due == NEVER and not self._files.is_doubtful

    def _relieve(self, now: float) -> None:
        try:
            self._queue.engine.checkpoint()
        except QueueError as error:
            self._complain(str(error), now)

    def _tidy(self, now: float) -> None:
        try:
            self._queue.engine.truncate_wal()
        except QueueError as error:
            self._complain(str(error), now)

    def _start(self, now: float) -> None:
        """Start what is claimed, as far as slots are free."""
        if now < self._slots.doubtful_until:
            return
        while self._claims and self._slots.free > 0 and not self._files.is_adrift:
            self._slots.start(self._claims.popleft()[0], now)

    def _held(self) -> bool:
        return bool(self._slots or self._claims)

    # -- turns -------------------------------------------------------------------------------------------------------

    def _next_turn(self, now: float) -> float:
        """When the next turn is due."""
        if self._rung:
            return max(now, self._paused_until)
        at = self._next_beat if self._held() else NEVER
        if len(self._claims) < self._options.slots and self._wanted() > 0:
            # What is claimed would not keep the slots busy.
            at = min(at, max(self._next_claim, self._next_try))
        if self._slots.due < NEVER:
            # While there is enough to start, reports wait a little for company: one commit for many.
            company = self._claims and len(self._slots.reports) < MOST_AHEAD
            at = min(at, max(self._slots.due if company else now, self._slots.doubtful_until))
        return max(at, self._paused_until)

    def _wanted(self) -> int:
        """How many jobs to claim: for every free slot, and ahead what will start within about 20 ms."""
        if self._stopping is not None or self._files.is_doubtful or monotonic() < self._slots.doubtful_until:
            return 0
        free = self._slots.free - len(self._claims)
        if self._may_claim_ahead and self._slots.run_time < AHEAD and not self._options.only:
            free += min(MOST_AHEAD, int(AHEAD / self._slots.pace))
        return max(0, free)

    def _turn(self, now: float) -> None:
        want = self._wanted() if (self._rung or now >= self._next_claim) and now >= self._next_try else 0
        reports, releases = self._slots.settled(now), self._slots.releases[:]
        heartbeat = now >= self._next_beat and self._held()
        rung, self._rung = self._rung, False  # it may ring again while we wait for others to write
        try:
            turn = self._writer.turn(
                reports,
                releases,
                want,
                holding=[*self._slots.leases, *(claim.lease for claim, _ in self._claims)],
                heartbeat=heartbeat,
                look=rung or heartbeat,
                drain=self._stuck() if self._drains else None,
                meanwhile=self._listen,
            )
        except Outdated:
            raise
        except QueueError as error:
            # Nothing was written, so nothing is lost: what runs goes on, and the same turn is taken again.
            self._rung = rung
            self._complain(str(error), now)
            return
        after = monotonic()
        self._slots.blocked += after - now
        self._slots.taken(len(reports), len(releases))
        self._claims.extend((claim, after) for claim in turn.claims)
        if heartbeat or not self._held():
            self._next_beat = after + HEARTBEAT
        if turn.claims:
            self._idle_since = None
            self._hush()
        self._dirty = self._dirty or bool(reports or releases or turn.claims)
        if want > 0:
            full = len(turn.claims) == want
            self._next_claim = after + (0.0 if full else min(LOOK, turn.due_in if turn.due_in is not None else LOOK))
        self._slots.settings = turn.settings
        self._sealer.mind(turn.settings.seal_every)
        if turn.hindrance is not None:
            self._stumble(turn.hindrance, after)
        for id in turn.cancel:
            self._cancel(id, after)
        if turn.stop:
            self._stop("asked to", turn.stopped_by, kill=turn.stop_now)
        self._journal.write(turn_lines(reports, turn))
        self._mind_drain(turn)
        if self._stopping is not None and self._claims:
            self._stop(self._stopping)  # told so while we waited for others to write

    def _stuck(self) -> int:
        """How many jobs can't be ended, as far as this worker has tried."""
        return self._slots.stuck + self._watch.stuck

    def _mind_drain(self, turn: Turn) -> None:
        if not self._drains or self._claims or len(self._slots) > self._slots.stuck or self._slots.due < NEVER:
            return
        if turn.drained:
            self._stop("drained")
        elif self._log_bell is None:
            # What others run may end, and with it the reason to wait.
            self._log_bell = self._queue.engine.listen("log")
            self._poll.register(self._log_bell.fileno(), select.POLLIN)
            self._rung = True

    def _hush(self) -> None:
        """Stop listening to what others report: there is work of our own."""
        if self._log_bell is not None:
            self._poll.unregister(self._log_bell.fileno())
            self._log_bell.close()
            self._log_bell = None

    def _stumble(self, what: str, now: float) -> None:
        """Nothing could be started, for want of disk, memory or descriptors: claim again, but ever more seldom."""
        self._tell(what)
        if now >= self._next_try:
            self._pause = min(2 * self._pause, LONGEST_PAUSE)
            self._next_try = now + self._pause

    def _complain(self, what: str, now: float) -> None:
        self._paused_until = now + PAUSE
        self._leaving = self._killed  # who was told twice to stop does not wait for a disk
        self._tell(what)

    def _tell(self, what: str) -> None:
        """Trouble stands in the journal each time, and is told to whoever watches when it is new."""
        self._journal.write([{"event": "error", "error": what}])
        if what != self._told:
            self._told = what
            say(f"worker {self._options.worker}: {what}")

    # -- stopping ----------------------------------------------------------------------------------------------------

    def _obey(self, orders: int) -> None:
        said = os.read(orders, 16)
        if not said:
            self._poll.unregister(orders)
            self._stop("parent gone")
        for order, number in zip(said[::2], said[1::2], strict=True):
            self._stop("signal", Stop(signal.Signals(number).name), kill=order == ORDER_KILL[0])

    def _stop(self, reason: str, by: Stop | None = None, *, kill: bool = False) -> None:
        """Claim no more, give back what has not started; `kill` what runs."""
        now = monotonic()
        self._stopping = self._stopping or reason
        if by is not None:
            self._table.set_stop(by)
        self._killed = self._killed or kill
        while self._claims:
            self._slots.give_back(self._claims.popleft()[0].lease, now, "its worker stops")
        self._slots.quit(now, by, kill=kill)

    def _cancel(self, id: str, now: float) -> None:
        self._slots.cancel(id, now)
        for item in [item for item in self._claims if item[0].job.id == id]:
            self._claims.remove(item)
            self._slots.give_back(item[0].lease, now, "cancelled before it started")

    def _over(self) -> bool:
        through = (self._slots.due == NEVER or self._files.displaced is not None) and self._slots.stuck == len(
            self._slots
        )
        return self._leaving or (self._stopping is not None and through)
