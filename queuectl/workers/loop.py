"""The worker: one process, one thread, one loop that starts commands, hears of their end, and takes turns with the log.

A turn is one transaction: it reports what has ended and claims what comes next, while commands run. Short jobs must not
wait for a commit, so a worker holds a few claimed jobs more than it has slots (R10): as many as it will start within
about 20 ms by the run times it has just seen, and none when jobs are long.
"""

import os
import select
from collections import deque
from collections.abc import Iterable
from typing import Any

import msgspec

from queuectl import decisions, paths
from queuectl.clock import monotonic
from queuectl.decisions import Lease
from queuectl.errors import Outdated, QueueError
from queuectl.queue import Queue
from queuectl.units import span
from queuectl.workers import attempt as attempts
from queuectl.workers import processes
from queuectl.workers.attempt import Attempt
from queuectl.workers.journal import Journal
from queuectl.workers.ledger import Claim, Ledger, Report, Turn, tag
from queuectl.workers.recovery import Watch

AHEAD = 0.020
"""Seconds of work that may be claimed ahead."""
MOST_AHEAD = 64
"""Jobs that may be claimed ahead."""
GIVE_BACK = 0.100
"""Seconds after which a claimed job that could not be started is given back."""
REPORT = 0.010
"""Seconds that a report may wait for company while there are claimed jobs to start."""
HEARTBEAT = 5.0
"""Seconds between two heartbeats, while the worker holds anything."""
LOOK = 5.0
"""Seconds after which an idle worker looks for itself, should a bell not have been rung (its ringer was killed)."""
PAUSE = 1.0
"""Seconds to wait when the database or the output folder can't be written, before the next try."""
OUTPUT = 0.5
"""Seconds between two looks at the sizes of the output files."""

ORDER_STOP = b"s"
ORDER_KILL = b"k"


class Task(msgspec.Struct, frozen=True, tag="worker"):
    """What one worker process is for; its parent hands it over as JSON."""

    url: str
    worker: str
    slots: int = 1
    queues: list[str] = []
    drain: bool = False
    seconds: float | None = None
    only: str | None = None
    logs: str | None = None
    orders: int | None = None
    """The descriptor from which orders are read; its end is an order to stop as well."""


class Loop:
    """A worker at work, until it is told to stop or nothing is left to do."""

    def __init__(self, queue: Queue, task: Task, journal: Journal) -> None:
        self._queue = queue
        self._task = task
        self._journal = journal
        self._identity = paths.identity(queue.place)
        self._ledger = Ledger(queue, task.worker, task.queues, self._identity, task.only)
        self._bell = queue.engine.listen("work")
        self._log_bell: Any = None
        self._watch = Watch(queue, task.worker, journal)
        self._poll = select.poll()
        self._poll.register(self._bell.fileno(), select.POLLIN)
        if task.orders is not None:
            self._poll.register(task.orders, select.POLLIN)
        self._env = {name: value for name, value in os.environ.items() if name != processes.TAG}
        self._limit = self._output_limit()

        self._claims: deque[tuple[Claim, float]] = deque()
        self._hunts: list[tuple[Claim, processes.Hunt]] = []
        self._running: dict[int, tuple[Claim, Attempt]] = {}
        self._reports: list[Report] = []
        self._releases: list[Lease] = []

        now = monotonic()
        self._until = now + task.seconds if task.seconds is not None else None
        self._hungry = True
        self._rung = True
        self._oldest_report = 0.0
        self._next_claim: float | None = now
        self._next_beat = now + HEARTBEAT
        self._next_output = now + OUTPUT
        self._paused_until = 0.0
        self._run_time = AHEAD
        self._may_claim_ahead = True
        self._stopping: str | None = None
        self._idle_since: float | None = None
        self._dirty = True

    def run(self) -> None:
        """Work. Raises Outdated where a newer queuectl has been at the database."""
        self._ledger.start(self._task.slots)
        self._journal.write([{"event": "started", "pid": os.getpid(), "slots": self._task.slots}])
        while not self._over():
            self._wait()
            now = monotonic()
            self._mind_time(now)
            self._start(now)
            if self._turn_is_due(now):
                self._turn(now)
                self._start(monotonic())
        reason = self._stopping or "drained"
        self._ledger.stop(reason)
        self._journal.write([{"event": "stopped", "reason": reason}])
        self._hush()
        self._bell.close()

    # -- waiting -----------------------------------------------------------------------------------------------------

    def _wait(self) -> None:
        now = monotonic()
        wake = self._next_wake(now)
        timeout = max(0.0, wake - now)
        if timeout > 0 and not self._held() and self._idle_since is None:
            self._idle_since = now
        found = self._poll.poll(timeout * 1000)
        now = monotonic()
        for fd, _ in found:
            if fd in self._running:
                self._collect(fd, now)
            elif fd == self._task.orders:
                self._obey()
            else:
                self._rung = self._hungry = True
                self._bell.clear()
                if self._log_bell is not None:
                    self._log_bell.clear()

    def _next_wake(self, now: float) -> float:
        times = [now + LOOK, self._watch.next_tick]
        if self._reports or self._releases:
            times.append(max(self._oldest_report + REPORT, self._paused_until))
        if self._held():
            times += [self._next_beat, self._next_output]
        if self._until is not None and self._stopping is None:
            times.append(self._until)
        if self._stopping is None and self._next_claim is not None and self._wanted() > 0:
            times.append(max(self._next_claim, self._paused_until))
        if self._claims:
            times.append(self._claims[0][1] + GIVE_BACK)
        times += [hunt.next_tick for _, hunt in self._hunts]
        for _, attempt in self._running.values():
            deadline = attempt.next_deadline
            if deadline is not None:
                times.append(deadline)
        if self._rung or self._claims_now():
            times.append(max(now, self._paused_until))
        if self._dirty and self._idle_since is not None:
            times.append(self._idle_since + 1.0)
        return min(times)

    def _mind_time(self, now: float) -> None:
        """What is due by now, apart from turns."""
        for fd, (_, attempt) in list(self._running.items()):
            deadline = attempt.next_deadline
            if deadline is not None and deadline <= now:
                attempt.tick(now)
                if attempt.fileno() != fd:
                    self._follow(fd, now)
        if now >= self._next_output:
            self._next_output = now + OUTPUT
            for _, attempt in self._running.values():
                attempt.check_output(self._limit, now)
        if now >= self._watch.next_tick:
            self._watch.tick(now)
            processes.reap({attempt.pid for _, attempt in self._running.values()})
        if self._until is not None and now >= self._until:
            self._stop("time is up")
        while self._claims and now >= self._claims[0][1] + GIVE_BACK:
            self._give_back(self._claims.popleft()[0].lease, now)
            self._may_claim_ahead = False
        for claim, hunt in list(self._hunts):
            if hunt.tick(now):
                hunt.close()
                self._hunts.remove((claim, hunt))
                self._launch(claim, now)
        if self._next_claim is not None and now >= self._next_claim:
            self._hungry = True
        if self._dirty and self._idle_since is not None and now >= self._idle_since + 1.0:
            self._queue.engine.tidy()
            self._dirty = False

    # -- commands ----------------------------------------------------------------------------------------------------

    def _start(self, now: float) -> None:
        """Start what is claimed, as far as slots are free."""
        while self._claims and len(self._running) + len(self._hunts) < self._task.slots and self._stopping is None:
            claim, _ = self._claims.popleft()
            if claim.earlier is not None and not _is_over(claim.earlier[0]):
                # Something of the attempt before still lives: no two attempts of a job at the same time.
                self._hunts.append((claim, processes.Hunt(*claim.earlier)))
            else:
                self._launch(claim, now)

    def _launch(self, claim: Claim, now: float) -> None:
        job, lease, spec = claim.job, claim.lease, claim.job.spec
        mark = tag(self._identity, job.id, lease.version)
        start = attempts.Start(
            output=self._queue.place.output_of(self._identity, job.id, lease.version),
            env=attempts.environment(
                self._env,
                spec.env,
                claim.secrets,
                database=self._queue.url,
                job=job.id,
                attempt=lease.attempt,
                queue=job.queue,
                tag=mark,
                cwd=spec.cwd,
            ),
            command=spec.command,
            argv=tuple(spec.argv) if spec.argv is not None else None,
            cwd=spec.cwd,
            stdin=f"{self._queue.place.stdin}/{spec.stdin}" if spec.stdin is not None else None,
            timeout=job.timeout,
            keep_children=spec.keep_children,
            job=job.id,
            attempt=lease.attempt,
            lease=lease.version,
            tag=mark,
        )
        try:
            attempt = attempts.launch(start)
        except attempts.AlreadyStarted:
            # Recovery took us for dead and decided about this attempt; under our lease this is refused where it did.
            self._give_back(lease, now)
            return
        except OSError as error:
            self._give_back(lease, now)
            self._complain(f"can't make the output file of job {job.id}: {error.strerror}", now)
            return
        if attempt.outcome is not None:
            self._ended(claim, attempt.outcome, now)
        else:
            self._running[attempt.fileno()] = (claim, attempt)
            self._poll.register(attempt.fileno(), select.POLLIN)

    def _collect(self, fd: int, now: float) -> None:
        claim, attempt = self._running[fd]
        outcome = attempt.collect(now)
        if outcome is None:
            if attempt.fileno() != fd:
                self._follow(fd, now)
            return
        self._poll.unregister(fd)
        del self._running[fd]
        self._ended(claim, outcome, now)

    def _follow(self, fd: int, now: float) -> None:
        """The attempt waits for another descriptor now: what its main process left behind."""
        claim, attempt = self._running.pop(fd)
        self._poll.unregister(fd)
        if attempt.outcome is not None:
            self._ended(claim, attempt.outcome, now)
        else:
            self._running[attempt.fileno()] = (claim, attempt)
            self._poll.register(attempt.fileno(), select.POLLIN)

    def _ended(self, claim: Claim, outcome: attempts.Outcome, now: float) -> None:
        if not self._reports:
            self._oldest_report = now
        self._reports.append(Report(claim.lease, _reported(claim, outcome)))
        self._run_time += 0.2 * (outcome.run_seconds - self._run_time)
        self._may_claim_ahead = True

    def _give_back(self, lease: Lease, now: float) -> None:
        self._releases.append(lease)
        self._oldest_report = now - REPORT

    def _held(self) -> bool:
        return bool(self._running or self._claims or self._hunts)

    # -- turns -------------------------------------------------------------------------------------------------------

    def _wanted(self) -> int:
        """How many jobs to claim now: for every free slot, and ahead what will start within about 20 ms."""
        if self._stopping is not None or not self._task.slots:
            return 0
        free = self._task.slots - len(self._running) - len(self._hunts) - len(self._claims)
        if not self._may_claim_ahead or self._run_time >= AHEAD or self._task.only is not None:
            return max(0, free)
        return max(0, free + min(MOST_AHEAD, int(AHEAD * self._task.slots / max(self._run_time, 1e-4))))

    def _turn_is_due(self, now: float) -> bool:
        if now < self._paused_until:
            return False
        if self._rung or (self._held() and now >= self._next_beat):
            return True
        if self._claims_now():
            return True
        if not self._reports and not self._releases:
            return False
        # While there is enough to start, reports wait a little for company: one commit for many.
        return not self._claims or len(self._reports) >= MOST_AHEAD or now >= self._oldest_report + REPORT

    def _claims_now(self) -> bool:
        """Whether to ask for jobs: there may be some, and what is claimed would not keep the slots busy."""
        return self._hungry and len(self._claims) < self._task.slots and self._wanted() > 0

    def _turn(self, now: float) -> None:
        want = self._wanted() if self._hungry else 0
        reports, releases = self._reports, self._releases
        heartbeat = now >= self._next_beat and self._held()
        try:
            turn = self._ledger.turn(
                reports,
                releases,
                want,
                holding=self._leases(),
                heartbeat=heartbeat,
                look=self._rung or heartbeat,
                drain=self._task.drain or self._task.only is not None,
            )
        except Outdated:
            raise
        except QueueError as error:
            # Nothing was written, so nothing is lost: what runs goes on, and the same turn is taken again.
            self._complain(str(error), now)
            return
        self._reports, self._releases = [], []
        self._note(reports, turn)
        if self._rung:
            self._limit = self._output_limit()
        self._rung = False
        if heartbeat or not self._held():
            self._next_beat = now + HEARTBEAT
        self._dirty = self._dirty or bool(reports or releases or turn.claims)
        after = monotonic()
        self._claims.extend((claim, after) for claim in turn.claims)
        if turn.claims:
            self._idle_since = None
            self._hush()
        if turn.stop:
            self._stop("asked to", now=turn.stop_now)
        for id in turn.cancel:
            self._cancel(id, after)
        if want > 0:
            self._hungry = len(turn.claims) == want
            self._next_claim = after + (min(LOOK, turn.due_in) if turn.due_in is not None else LOOK)
        self._mind_drain(turn)

    def _mind_drain(self, turn: Turn) -> None:
        if not (self._task.drain or self._task.only is not None) or self._held() or self._reports or turn.claims:
            return
        if turn.drained:
            self._stop("drained")
        elif self._log_bell is None:
            # What others run may end, and with it the reason to wait.
            self._log_bell = self._queue.engine.listen("log")
            self._poll.register(self._log_bell.fileno(), select.POLLIN)
            self._hungry = self._rung = True

    def _hush(self) -> None:
        """Stop listening to what others report: there is work of our own."""
        if self._log_bell is not None:
            self._poll.unregister(self._log_bell.fileno())
            self._log_bell.close()
            self._log_bell = None

    def _note(self, reports: Iterable[Report], turn: Turn) -> None:
        fates = {lease: fate for lease, fate in turn.failed}
        refused = set(turn.fenced)
        lines: list[dict[str, Any]] = []
        for report in reports:
            lease, outcome = report.lease, report.outcome
            event = "fenced" if report.lease in refused else "completed" if outcome.cause is None else "failed"
            line: dict[str, Any] = {"event": event, "job": lease.job, "attempt": lease.attempt}
            for key in ("cause", "exit_code", "signal", "error", "run_seconds"):
                if getattr(outcome, key) is not None:
                    line[key] = getattr(outcome, key)
            if lease in fates:
                line["then"] = fates[lease]
            lines.append(line)
        self._journal.write(lines)

    def _leases(self) -> list[Lease]:
        return [
            *(claim.lease for claim, _ in self._running.values()),
            *(claim.lease for claim, _ in self._hunts),
            *(claim.lease for claim, _ in self._claims),
        ]

    def _output_limit(self) -> int:
        with self._queue.engine.snapshot() as view:
            return self._queue.settings(view).output_limit

    def _complain(self, what: str, now: float) -> None:
        self._paused_until = now + PAUSE
        self._journal.write([{"event": "error", "error": what}])

    # -- stopping ----------------------------------------------------------------------------------------------------

    def _obey(self) -> None:
        orders = self._task.orders
        assert orders is not None
        said = os.read(orders, 16)
        if not said:
            self._poll.unregister(orders)  # the parent is gone
        self._stop("parent gone" if not said else "signal", now=ORDER_KILL in said)

    def _stop(self, reason: str, *, now: bool = False) -> None:
        """Claim no more, give back what has not started; `now`: kill what runs."""
        at = monotonic()
        self._stopping = self._stopping or reason
        while self._claims:
            self._give_back(self._claims.popleft()[0].lease, at)
        for claim, hunt in self._hunts:
            hunt.close()
            self._give_back(claim.lease, at)
        self._hunts.clear()
        if now:
            for fd, (_, attempt) in list(self._running.items()):
                attempt.end("lost", at, grace=0)
                if attempt.fileno() != fd:
                    self._follow(fd, at)

    def _cancel(self, id: str, now: float) -> None:
        for fd, (claim, attempt) in list(self._running.items()):
            if claim.job.id == id:
                attempt.end("cancel", now)
                if attempt.fileno() != fd:
                    self._follow(fd, now)
        for item in [item for item in self._claims if item[0].job.id == id]:
            self._claims.remove(item)
            self._give_back(item[0].lease, now)
        for claim, hunt in [item for item in self._hunts if item[0].job.id == id]:
            hunt.close()
            self._hunts.remove((claim, hunt))
            self._give_back(claim.lease, now)

    def _over(self) -> bool:
        if self._stopping is None or self._reports or self._releases:
            return False
        return all(attempt.stuck for _, attempt in self._running.values())


def _is_over(path: str) -> bool:
    try:
        return processes.lock_free(path)
    except FileNotFoundError:
        return True


def _reported(claim: Claim, outcome: attempts.Outcome) -> decisions.Outcome:
    cause = None if outcome.cause == "exit" and outcome.exit_code == 0 else outcome.cause
    error = outcome.error
    if cause == "timeout" and claim.job.timeout is not None:
        error = f"ran into its timeout of {span(claim.job.timeout)} (set with --timeout, or config set timeout)"
    elif cause == "lost":
        error = "killed, because its worker was stopped without waiting"
    return decisions.Outcome(
        cause=cause,
        exit_code=outcome.exit_code,
        signal=outcome.signal,
        started_at=outcome.started_at,
        run_seconds=round(outcome.run_seconds, 6),
        cpu_seconds=round(outcome.cpu_seconds, 6),
        max_rss=outcome.max_rss,
        output_bytes=outcome.output_bytes,
        output_cut=outcome.output_cut or None,
        error=error,
    )
