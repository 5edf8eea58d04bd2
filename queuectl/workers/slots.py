"""What a worker runs: each claimed job in a slot, from its start to the report of how it ended.

Nothing here waits, and nothing is written to the log: what has become of the attempts waits in `PendingReports`
for the worker's next turn.
"""

import os
import select
from collections.abc import Callable, Collection, Mapping

import msgspec
from msgspec import structs

from projections.jobs import Job
from queuectl import decisions, inputs
from queuectl.clock import monotonic
from queuectl.decisions import Lease, Report
from queuectl.home import progress_of
from queuectl.host import signal_names
from queuectl.progress import JobProgress
from queuectl.queue import Queue
from queuectl.settings import Settings
from queuectl.workers.chores.chore import NEVER
from queuectl.workers.chores.memory_groups import MemoryGroups
from queuectl.workers.execution import attempt as attempts
from queuectl.workers.execution import traces
from queuectl.workers.execution.attempt import AttemptProcess
from queuectl.workers.execution.output import is_output_locked
from queuectl.workers.execution.plain_command import plain_command
from queuectl.workers.execution.progress import progress_by, with_progress
from queuectl.workers.execution.search import AttemptSearch
from queuectl.workers.execution.spawn import environment
from queuectl.workers.execution.suspension import Suspension
from queuectl.workers.explanations import Explanations
from queuectl.workers.pending_reports import PendingReports
from queuectl.workers.recovery.attempt_table import AttemptTable
from queuectl.workers.recovery.orphans import Orphans
from queuectl.workers.recovery.termination import Termination
from queuectl.workers.trigger import PREFIX, SCHEDULED_FOR
from queuectl.workers.turn import Claim, tag

OUTPUT = 0.5
"""Seconds between two looks at the sizes of the output files."""


class Slot(msgspec.Struct, frozen=True, gc=False):
    """A slot that is taken: a command that runs."""

    claim: Claim
    attempt: AttemptProcess
    row: int | None
    """Of the attempt table; None where it had no room."""
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
        pending: PendingReports,
        groups: MemoryGroups,
        poll: select.poll,
        not_started: Callable[[str, float], None],
    ) -> None:
        """The descriptors to wait for are registered with `poll`.

        `not_started` is called with the reason and the time where a job could not be started just now.
        """
        self.count = count
        self.settings = Settings()
        """Those in force: how much output is kept of an attempt, and what becomes of one that writes more."""
        self.blocked = 0.0
        """Seconds in all during which no end was noticed, because the worker was writing."""
        self.run_time = NEVER
        """How long commands take: a moving average."""
        self._start_time = 0.0
        self._queue = queue
        self._identity = identity
        self._table = table
        self._poll = poll
        self._pending = pending
        self._groups = groups
        self._not_started = not_started
        own = (traces.TAG, SCHEDULED_FOR, PREFIX)  # of the job inside which the worker was started
        self._env = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        self._running: dict[int, Slot] = {}
        self._ended: list[Slot] = []
        """What has succeeded and is not reported yet."""
        self._terminations: list[tuple[Claim, Termination]] = []
        self._suspended: Collection[Lease] = ()
        self._jobs: Mapping[Lease, Job] = {}
        """The jobs as they were when they were looked at last: they may have been edited since their claims."""
        self._taken = 0
        """The slots of all of these."""
        self._next_output = 0.0
        self.orphans = Orphans()
        """What commands have left behind among the children of the worker."""
        self._explanations = Explanations()

    def __len__(self) -> int:
        """How many jobs are in slots."""
        return len(self._running) + len(self._terminations)

    def __contains__(self, fd: int) -> bool:
        """Whether `collect` wants this descriptor when it is readable."""
        return fd in self._running

    @property
    def free(self) -> int:
        """How many slots are free: a job takes as many as it was enqueued with."""
        return self.count - self._taken

    @property
    def pace(self) -> float:
        """Seconds from one start to the next while there are claims, by what commands and their starts took of late."""
        return max(self.run_time / max(self.count, 1), self._start_time, 1e-5)

    @property
    def leases(self) -> list[Lease]:
        """The leases of all that is in a slot."""
        return [
            *(slot.claim.lease for slot in self._running.values()),
            *(claim.lease for claim, _ in self._terminations),
        ]

    @property
    def suspended(self) -> list[Lease]:
        """The leases of the attempts that are suspended."""
        return [slot.claim.lease for slot in self._running.values() if slot.attempt.is_suspended]

    @property
    def progress(self) -> dict[Lease, JobProgress]:
        """How far the commands say they are, by lease, of those that say anything."""
        said = ((slot.claim.lease, progress_by(slot.attempt.start.output)) for slot in self._running.values())
        return {lease: each for lease, each in said if each is not None}

    @property
    def stuck(self) -> int:
        """How many slots hold a process that can't be ended."""
        running = sum(bool(slot.attempt.stuck) for slot in self._running.values())
        return running + sum(termination.stuck for _, termination in self._terminations)

    @property
    def due(self) -> float:
        """See `Chore`."""
        times = [termination.next_tick for _, termination in self._terminations]
        for slot in self._running.values():
            deadline = slot.attempt.next_deadline
            if deadline is not None:
                times.append(deadline)
        if self._running:
            times.append(self._next_output)
        return min(times, default=NEVER)

    def start(self, claim: Claim, now: float, prepared: attempts.Start | None = None) -> None:
        """Start a claimed job, once nothing of its earlier attempts is left. `prepared`: what `prepare` made of it."""
        try:
            left = self._find_earlier(claim) if claim.earlier else None
        except OSError as error:  # no descriptor to look with
            self._give_back(claim, error, now)
            return
        if left is not None:
            self._taken += claim.job.policy.slots
            number, grace = signal_names.number(claim.job.stop_signal), claim.job.policy.grace
            termination = Termination(*left, grace=grace, number=number, orphans=self._find_orphans)
            self._terminations.append((claim, termination))
        else:
            self._launch(claim, now, prepared or self.prepare(claim))

    def run(self, now: float) -> None:
        """See `Chore`: timeouts and grace periods, the sizes of output files, the ends of earlier attempts."""
        for fd, slot in list(self._running.items()):
            deadline = slot.attempt.next_deadline
            if deadline is not None and deadline <= now:
                slot.attempt.tick(now)
                self._refresh(fd, now)
        if self._running and now >= self._next_output:
            self._next_output = now + OUTPUT
            for fd, slot in list(self._running.items()):
                self._check_output(slot, now)
                self._refresh(fd, now)
        for claim, termination in list(self._terminations):
            if now >= termination.next_tick and termination.tick(now):
                self._drop(claim, termination)
                self.start(claim, now)

    def collect(self, fd: int, now: float) -> None:
        """Take in that this descriptor is readable: a process has ended.

        Where its command has succeeded, the report is left to `report`, so that the slot can be filled before. What has
        failed is reported at once: nothing may start while an order to stop may come that explains it.
        """
        self._running[fd].attempt.collect(now)
        self._refresh(fd, now)

    def report(self, now: float) -> None:
        """Have the next turn report what has succeeded."""
        for slot in self._ended:
            self._report(slot, now)
        self._ended.clear()

    def cancel(self, id: str, signal_name: str, now: float) -> None:
        """End what runs of this job, by this signal, or give it back where it still waits."""
        for fd, slot in list(self._running.items()):
            if slot.claim.job.id == id:
                slot.attempt.end("cancel", now, number=signal_names.number(signal_name))
                self._refresh(fd, now)
        self.give_up_waiting(now, id)

    def update(self, jobs: Mapping[Lease, Job], now: float) -> None:
        """Take over what has been changed of these jobs: the timeout, which counts from the start of the attempt.

        They are all that this worker holds: what else runs was taken for lost, is run by others, and is ended.
        """
        self._jobs = jobs
        for fd, slot in list(self._running.items()):
            job = jobs.get(slot.claim.lease)
            if job is None:
                slot.attempt.end("lost", now, error="was taken for lost")
                self._refresh(fd, now)
            elif job.version != slot.claim.job.version:
                self._running[fd] = structs.replace(slot, claim=self._current(slot.claim))
                slot.attempt.timeout = job.timeout

    def _current(self, claim: Claim) -> Claim:
        """A claim with its job as it is now, as far as that is known."""
        job = self._jobs.get(claim.lease)
        return claim if job is None else structs.replace(claim, job=job)

    def suspend(self, leases: Collection[Lease], now: float) -> None:
        """Stop the attempts under these leases, and let all others go on."""
        self._suspended = leases
        for fd, slot in list(self._running.items()):
            if slot.claim.lease not in leases:
                slot.attempt.proceed(now)
            elif not slot.attempt.is_suspended:
                self._stop(slot, now)
            self._refresh(fd, now)

    def _stop(self, slot: Slot, now: float) -> None:
        mark = tag(self._identity, slot.claim.job.id, slot.claim.lease.version)
        own = slot.attempt.pid

        def orphans() -> list[int]:  # those that can't be of an attempt beside this one
            return self.orphans.find(self.main_pids() - {own})

        search = AttemptSearch(slot.attempt.start.output, mark, orphans=orphans, below=os.getpid())
        slot.attempt.suspend(Suspension(search, self._queue.engine.holders, now), now)

    def end(self, now: float, *, grace: float = NEVER, error: str | None = None) -> None:
        """End all that runs: the stop signal, the grace period of each, or this one where it is shorter, and KILL."""
        for fd, slot in list(self._running.items()):
            least = min(grace, slot.attempt.start.grace)
            slot.attempt.end("lost", now, grace=least, error=error)  # until an order to stop explains it
            self._refresh(fd, now)

    def give_up_waiting(self, now: float, id: str | None = None) -> None:
        """Give back the jobs, or this one, that still wait until an earlier attempt of theirs has been ended."""
        for claim, termination in list(self._terminations):
            if id is None or claim.job.id == id:
                self._drop(claim, termination)
                self._pending.release(claim.lease, "called off while its attempt before was being ended", now)

    def _drop(self, claim: Claim, termination: Termination) -> None:
        termination.close()
        self._terminations.remove((claim, termination))
        self._taken -= claim.job.policy.slots

    def _launch(self, claim: Claim, now: float, start: attempts.Start) -> None:
        began = monotonic()
        job, lease = claim.job, claim.lease
        killed = self._explanations.oom_kills(now)
        try:
            attempt = attempts.launch(start, self._find_orphans)
        except attempts.AlreadyStarted:
            # Recovery took this worker for dead; where it has decided about the attempt, the release is refused.
            self._pending.release(lease, "its output file exists already", now)
            return
        except OSError as error:
            self._give_back(claim, error, now)
            return
        if not self._running:
            self._next_output = now + OUTPUT
        # The system takes most of this: spawning is much work when the machine is busy.
        self._start_time += 0.2 * (monotonic() - began - self._start_time)
        row = None
        if not attempt.ended:
            row = self._table.add(attempt.pid, job.seq, lease.version, attempt.started_at)
        slot = Slot(self._current(claim), attempt, row, self.blocked, killed)
        attempt.timeout = slot.claim.job.timeout
        if lease in self._suspended:  # while its earlier attempt was being ended
            self._stop(slot, now)
        self._track(slot, now)

    def _give_back(self, claim: Claim, error: OSError, now: float) -> None:
        """Give back what can't be started just now: disk, memory, processes or descriptors are short."""
        why = f"can't be started: {error.strerror or error}"
        self._pending.release(claim.lease, why, now, repeats=True)
        self._not_started(f"job {claim.job.id} {why}", now)

    def prepare(self, claim: Claim) -> attempts.Start:
        """Work out all of a start that can be known before a slot is free."""
        job, lease, policy = claim.job, claim.lease, claim.job.policy
        output = self._queue.home.output_of(self._identity, job.id, lease.version)
        env = environment(
            self._env, claim.environment, policy.env, claim.secrets, database=self._queue.engine.access, job=job.id,
            attempt=lease.attempt, queue=job.queue, granted=claim.granted, trigger=claim.trigger,
            tag=tag(self._identity, job.id, lease.version), progress=progress_of(output), cwd=policy.cwd,
        )  # fmt: skip
        limit = policy.memory_limit
        direct = self.settings.plain_commands == "direct" and limit is None
        return attempts.Start(
            output=output,
            env=env,
            run=policy.runnable,
            cwd=policy.cwd,
            stdin=inputs.path_of(self._queue.home, policy.stdin) if policy.stdin is not None else None,
            timeout=job.timeout,
            grace=policy.grace,
            stop_signal=signal_names.number(policy.stop_signal),
            ok_codes=policy.ok_codes,
            nice=policy.nice,
            memory_limit=limit,
            memory_group=self._groups.path(output) if limit is not None else None,
            umask=claim.environment.umask if claim.environment is not None else None,
            plain=plain_command(policy.runnable, env, policy.cwd) if direct else None,
            split_output=policy.split_output,
            keep_children=policy.keep_children,
        )

    def _find_earlier(self, claim: Claim) -> tuple[str, str] | None:
        """Output file and tag of an earlier claim of which something lives; None where nothing does."""
        self.orphans.release(claim.job.id)
        for path, mark in claim.earlier:
            if is_output_locked(path):
                return path, mark
        # A process that has left its group and closed all files has only the tag. Twice: it may fork during the look.
        for _ in range(2):
            if (found := traces.any_tagged([mark for _, mark in claim.earlier])) is not None:
                return next(each for each in claim.earlier if each[1] == found)
            if self._find_orphans():
                return claim.earlier[-1]
        return None

    def _find_orphans(self) -> list[int]:
        return self.orphans.find(self.main_pids())

    def main_pids(self) -> set[int]:
        """The main processes of the attempts that run."""
        return {slot.attempt.pid for slot in self._running.values()}

    def _check_output(self, slot: Slot, now: float) -> None:
        slot.attempt.check_output(self.settings.output_limit, now, kill=self.settings.output_policy == "kill")

    def _track(self, slot: Slot, now: float) -> None:
        if not slot.attempt.ended:
            self._running[slot.attempt.fileno()] = slot
            self._taken += slot.claim.job.policy.slots
            self._poll.register(slot.attempt.fileno(), select.POLLIN)
            return
        if slot.attempt.succeeded or slot.attempt.start.keep_children:
            # Before the next command starts: of what is found later, it could not be said whose it is.
            self.orphans.keep(self.main_pids(), slot.claim.job.id)
        self._ended.append(slot)
        if not slot.attempt.succeeded:
            self.report(now)

    def _refresh(self, fd: int, now: float) -> None:
        """Look at the attempt behind `fd` anew: it may have ended, or wait for another descriptor now."""
        slot = self._running[fd]
        if slot.row is not None and (end := slot.attempt.own_end) is not None:
            self._table.set_end(slot.row, *end)  # what it has left may take longer to end than this worker has to live
        if slot.attempt.ended or slot.attempt.fileno() != fd:
            del self._running[fd]
            self._taken -= slot.claim.job.policy.slots
            self._poll.unregister(fd)
            self._track(slot, now)

    def _report(self, slot: Slot, now: float) -> None:
        self._check_output(slot, now)
        outcome = slot.attempt.outcome
        assert outcome is not None
        if slot.attempt.limit is not None:
            self._groups.ended(slot.attempt.limit, now)
        if (error := self._explanations.error(slot.claim.job, outcome, slot.killed)) is not None:
            outcome = msgspec.structs.replace(outcome, error=error)
        outcome = decisions.explained(with_progress(outcome, slot.attempt.start.output), self._pending.stop)
        self._pending.report(Report(slot.claim.lease, outcome), slot.row, now)
        # While the worker writes it notices no ends, so that a slow disk would make short commands look long.
        seen = max(0.0, (outcome.run_seconds or 0.0) - (self.blocked - slot.blocked))
        self.run_time = seen if self.run_time == NEVER else self.run_time + 0.2 * (seen - self.run_time)
