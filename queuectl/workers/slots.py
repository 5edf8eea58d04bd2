"""What a worker runs: each claimed job in a slot, from its start to the report of how it ended.

Nothing here waits, and nothing is written to the log: what has become of the attempts lies in `reports` and `releases`
until the worker's next turn takes it.
"""

import os
import select
import shlex
import signal
from collections.abc import Callable
from itertools import takewhile

import msgspec

from projections.jobs import Job
from queuectl import decisions
from queuectl.clock import monotonic
from queuectl.decisions import Lease
from queuectl.host import subreaper
from queuectl.host.flock import locked
from queuectl.host.oom import PERHAPS, OomKills
from queuectl.queue import Queue
from queuectl.settings import Settings
from queuectl.units import span
from queuectl.workers.execution import attempt as attempts
from queuectl.workers.execution import traces
from queuectl.workers.execution.attempt import AttemptProcess
from queuectl.workers.execution.spawn import environment
from queuectl.workers.recovery.attempt_table import AttemptTable
from queuectl.workers.recovery.orphans import Orphans
from queuectl.workers.recovery.termination import Termination
from queuectl.workers.turn import AttemptReport, Claim, Release, tag

REPORT = 0.025
"""Seconds that a report may wait for company while there are claimed jobs to start."""
OUTPUT = 0.5
"""Seconds between two looks at the sizes of the output files."""
DOUBT = 0.5
"""Seconds that a report waits which an order to stop would explain, and with it whatever is to start."""
COUNT = 1.0
"""Seconds after which the kernel's count of those killed for memory is read anew when a command starts."""
NEVER = float("inf")


class RunningAttempt(msgspec.Struct, frozen=True, gc=False):
    """A command that runs."""

    claim: Claim
    attempt: AttemptProcess
    place: int | None
    """In the attempt table."""
    blocked: float
    """What `Slots.blocked` was when it started."""
    killed: int | None
    """How many the kernel had killed for memory when it started."""


class Slots:
    """The commands of one worker. All times are monotonic seconds."""

    def __init__(
        self,
        queue: Queue,
        identity: str,
        count: int,
        table: AttemptTable,
        poll: select.poll,
        complain: Callable[[str, float], None],
    ) -> None:
        """The descriptors to wait for are registered with `poll`; `complain` is told why a job could not be started."""
        self.count = count
        self.settings = Settings()
        """Those in force: how much output is kept of an attempt, and what becomes of one that writes more."""
        self.reports: list[AttemptReport] = []
        """Attempts that have ended, for the next turn."""
        self._unreported: list[int | None] = []
        """The places of these in the attempt table."""
        self.releases: list[Release] = []
        """Claims that were not started, for the next turn."""
        self.due = NEVER
        """When these should be written at the latest."""
        self.blocked = 0.0
        """How long the worker has been deaf to ends in all, because it was writing."""
        self.stop: decisions.Stop | None = None
        """What the worker was told to stop by."""
        self._doubtful_until = 0.0
        self.run_time = NEVER
        """How long commands take, as seen of late."""
        self._start_time = 0.0
        self._queue = queue
        self._identity = identity
        self._table = table
        self._poll = poll
        self._complain = complain
        self._env = {name: value for name, value in os.environ.items() if name != traces.TAG}
        self._running: dict[int, RunningAttempt] = {}
        self._terminations: list[tuple[Claim, Termination]] = []
        self._next_output = 0.0
        self._orphans = Orphans()
        self._oom_kills = OomKills()
        self._next_count = 0.0
        self._killed: int | None = None

    def __len__(self) -> int:
        """How many are taken."""
        return len(self._running) + len(self._terminations)

    def __contains__(self, fd: int) -> bool:
        """Whether this descriptor is to be given to `collect` when it is readable."""
        return fd in self._running

    @property
    def free(self) -> int:
        """How many are not taken."""
        return self.count - len(self)

    @property
    def pace(self) -> float:
        """Seconds from one start to the next while there are claims, by what commands and their starts took of late."""
        return max(self.run_time / max(self.count, 1), self._start_time, 1e-5)

    @property
    def leases(self) -> list[Lease]:
        """Of all that is in a slot."""
        return [*(run.claim.lease for run in self._running.values()), *(claim.lease for claim, _ in self._terminations)]

    @property
    def doubtful_until(self) -> float:
        """Until when an order to stop may come that explains an end: what started before that would be ended too."""
        return self._doubtful_until if self.stop is None else 0.0

    def settled(self, now: float) -> list[AttemptReport]:
        """The reports, oldest first, up to one that an order to stop may still explain."""
        doubtful = now < self.doubtful_until
        return [*takewhile(lambda each: not (doubtful and decisions.is_from_outside(each.outcome)), self.reports)]

    @property
    def stuck(self) -> int:
        """How many hold what can't be ended."""
        running = sum(bool(run.attempt.stuck) for run in self._running.values())
        return running + sum(termination.stuck for _, termination in self._terminations)

    @property
    def next_wake(self) -> float:
        """When `mind` wants to be called."""
        times = [termination.next_tick for _, termination in self._terminations]
        for run in self._running.values():
            deadline = run.attempt.next_deadline
            if deadline is not None:
                times.append(deadline)
        if self._running:
            times.append(self._next_output)
        return min(times, default=NEVER)

    def start(self, claim: Claim, now: float) -> None:
        """Start a claimed job, as soon as nothing of its attempt before is left: never two of a job at a time."""
        if claim.earlier and (left := self._left_of(claim)) is not None:
            self._terminations.append((claim, Termination(*left, orphans=self._find_orphans)))
        else:
            self._launch(claim, now)

    def mind(self, now: float) -> None:
        """Do what is due."""
        for fd, run in list(self._running.items()):
            deadline = run.attempt.next_deadline
            if deadline is not None and deadline <= now:
                run.attempt.tick(now)
                self._follow(fd, now)
        if self._running and now >= self._next_output:
            self._next_output = now + OUTPUT
            for fd, run in list(self._running.items()):
                self._check_output(run, now)
                self._follow(fd, now)
        for claim, termination in list(self._terminations):
            if now >= termination.next_tick and termination.tick(now):
                self._call_off(claim, termination)
                self.start(claim, now)

    def collect(self, fd: int, now: float) -> None:
        """A descriptor is readable: a process has ended."""
        run = self._running[fd]
        self._check_output(run, now)
        run.attempt.collect(now)
        self._follow(fd, now)

    def give_back(self, lease: Lease, now: float, reason: str) -> None:
        """Have the next turn release a claim, at once: others may be waiting for it."""
        self.releases.append(Release(lease, reason))
        self.due = now

    def taken(self, reports: int, releases: int) -> None:
        """So many of the reports and releases, the oldest, are written."""
        for place in self._unreported[:reports]:
            if place is not None:
                self._table.remove(place)
        del self.reports[:reports], self._unreported[:reports], self.releases[:releases]
        if not self.reports and not self.releases:
            self.due = NEVER

    def cancel(self, id: str, now: float) -> None:
        """End what runs of this job."""
        for fd, run in list(self._running.items()):
            if run.claim.job.id == id:
                run.attempt.end("cancel", now)
                self._follow(fd, now)
        self._stop_terminations(now, id)

    def quit(self, now: float, stop: decisions.Stop | None, *, kill: bool) -> None:
        """Start nothing more that still waits for its predecessor's end; `kill` what runs, after its grace period.

        `stop` is who asked for it; None where nobody did.
        """
        self.stop = stop or self.stop
        for at, each in enumerate(self.reports):
            self.reports[at] = msgspec.structs.replace(each, outcome=decisions.explained(each.outcome, self.stop))
        self._stop_terminations(now)
        if kill:
            self.end(now)

    def end(self, now: float) -> None:
        """End all that runs: a TERM, the grace of each, a KILL."""
        for fd, run in list(self._running.items()):
            run.attempt.end("interrupted", now)
            self._follow(fd, now)

    def reap(self) -> None:
        """Reap what our commands have left behind and has ended: orphans fall to us."""
        subreaper.reap(self._mains())

    def _stop_terminations(self, now: float, id: str | None = None) -> None:
        for claim, termination in list(self._terminations):
            if id is None or claim.job.id == id:
                self._call_off(claim, termination)
                self.give_back(claim.lease, now, "called off while its attempt before was being ended")

    def _call_off(self, claim: Claim, termination: Termination) -> None:
        termination.close()
        self._terminations.remove((claim, termination))

    def _launch(self, claim: Claim, now: float) -> None:
        began = monotonic()
        job, lease, spec = claim.job, claim.lease, claim.job.spec
        mark = tag(self._identity, job.id, lease.version)
        start = attempts.Start(
            output=self._queue.home.output_of(self._identity, job.id, lease.version),
            env=environment(
                self._env,
                claim.environment,
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
            stdin=f"{self._queue.home.stdin}/{spec.stdin}" if spec.stdin is not None else None,
            timeout=job.timeout,
            shell=spec.shell,
            umask=claim.environment.umask if claim.environment is not None else None,
            keep_children=spec.keep_children,
            job=job.id,
            attempt=lease.attempt,
            lease=lease.version,
            tag=mark,
        )
        killed = self._count_killings(now)
        try:
            attempt = attempts.launch(start, self._find_orphans)
        except attempts.AlreadyStarted:
            # Recovery took us for dead and decided about this attempt; under our lease this is refused where it did.
            self.give_back(lease, now, "its output file exists already")
            return
        except OSError as error:
            why = f"can't start job {job.id}: {error.strerror or error}"
            self.give_back(lease, now, why)
            self._complain(why, now)
            return
        if not self._running:
            self._next_output = now + OUTPUT
        # The system takes most of this: to make a process is much work when the machine is busy.
        self._start_time += 0.2 * (monotonic() - began - self._start_time)
        place = None
        if attempt.outcome is None:
            place = self._table.add(attempt.pid, job.seq, lease.version, attempt.started_at)
        self._watch(RunningAttempt(claim, attempt, place, self.blocked, killed), now)

    def _left_of(self, claim: Claim) -> tuple[str, str] | None:
        """Output file and tag of an earlier claim of which something lives; None where nothing does."""
        self._orphans.release(claim.job.id)
        for path, mark in claim.earlier:
            if locked(path):
                return path, mark
        # What has left its group and closed all files has but the tag. Twice: it may fork while we look.
        for _ in range(2):
            if (found := traces.any_tagged([mark for _, mark in claim.earlier])) is not None:
                return next(each for each in claim.earlier if each[1] == found)
            if self._find_orphans():
                return claim.earlier[-1]
        return None

    def _find_orphans(self) -> list[int]:
        return self._orphans.find(self._mains())

    def _mains(self) -> set[int]:
        return {run.attempt.pid for run in self._running.values()}

    def _check_output(self, run: RunningAttempt, now: float) -> None:
        kill = self.settings.output_policy == "kill"
        run.attempt.check_output(self.settings.output_limit, now, kill=kill)

    def _count_killings(self, now: float) -> int | None:
        if now >= self._next_count:
            self._next_count = now + COUNT
            self._killed = self._oom_kills.count()
        return self._killed

    def _suspicion(self, run: RunningAttempt, outcome: attempts.CommandOutcome) -> str | None:
        """What to say of a SIGKILL that nobody here sent, to the command or, as a shell tells it, to one within it."""
        within = outcome.cause == "exit" and outcome.exit_code == 128 + signal.SIGKILL
        if not within and (outcome.cause, outcome.signal) != ("signal", signal.SIGKILL):
            return None
        self._next_count = 0.0  # what starts now has not lived through it
        told = self._oom_kills.since(run.killed)
        if not within:
            return f"{PERHAPS}: queuectl did not send this SIGKILL{told}"
        if run.killed is not None and run.killed != self._oom_kills.count():
            return f"perhaps a process of it was killed for memory{told}"
        return None

    def _watch(self, run: RunningAttempt, now: float) -> None:
        if run.attempt.outcome is not None:
            self._ended(run, run.attempt.outcome, now)
        else:
            self._running[run.attempt.fileno()] = run
            self._poll.register(run.attempt.fileno(), select.POLLIN)

    def _follow(self, fd: int, now: float) -> None:
        """Whatever was done to the attempt behind `fd`: it may have ended, or wait for another descriptor now."""
        run = self._running[fd]
        if run.place is not None and (end := run.attempt.own_end) is not None:
            self._table.set_end(run.place, *end)  # what it has left may take longer to end than this worker has to live
        if run.attempt.outcome is not None or run.attempt.fileno() != fd:
            del self._running[fd]
            self._poll.unregister(fd)
            self._watch(run, now)

    def _ended(self, run: RunningAttempt, outcome: attempts.CommandOutcome, now: float) -> None:
        reported = decisions.explained(_reported(run.claim, outcome, self.stop), self.stop)
        if self.stop is None and decisions.is_from_outside(reported) and now >= self._doubtful_until:
            self._doubtful_until = now + DOUBT  # not later for each further one: reports must not wait for ever
        if reported.cause is None or run.attempt.start.keep_children:
            self._orphans.keep(self._mains(), run.claim.job.id)
        if reported.stop is None and (error := self._suspicion(run, outcome)) is not None:
            reported = msgspec.structs.replace(reported, error=error)
        self.reports.append(AttemptReport(run.claim.job, run.claim.lease, reported))
        self._unreported.append(run.place)
        self.due = min(self.due, now + REPORT)
        # While the worker writes it sees no ends, so that a slow disk would make short commands look long.
        seen = max(0.0, outcome.run_seconds - (self.blocked - run.blocked))
        self.run_time = seen if self.run_time == NEVER else self.run_time + 0.2 * (seen - self.run_time)


def _reported(claim: Claim, outcome: attempts.CommandOutcome, stop: decisions.Stop | None) -> decisions.Outcome:
    cause = None if outcome.cause == "exit" and outcome.exit_code == 0 else outcome.cause
    if cause == "interrupted" and stop is None:
        cause = "lost"  # with the files of its queue: nobody asked for it
    error = outcome.error
    if cause == "timeout" and claim.job.timeout is not None:
        error = _ran_out(claim.job, claim.job.timeout)
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
        kept=outcome.kept,
        error=error,
        stop=stop if outcome.cause == "interrupted" else None,
    )


def _ran_out(job: Job, timeout: float) -> str:
    """What to say of a timeout: how to run the job without it, and those to come."""
    id = shlex.quote(job.id)
    first = f"queuectl cancel {id}; " if job.failures < job.max_retries else ""  # else it would be tried again first
    return (
        f"ran into its timeout of {span(timeout)}: `{first}queuectl retry {id} --timeout none` runs it without one, "
        "`queuectl config set timeout none` does so for all jobs to come"
    )
