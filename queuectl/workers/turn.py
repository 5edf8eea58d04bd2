"""Turns: what a worker writes, one transaction each, which reports what has ended and claims what comes next."""

from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec

from projections.attempts import Attempt
from projections.environments import Environment
from projections.jobs import FINAL, Job
from projections.queues import ALL
from projections.workers import Worker
from queuectl import clock, decisions, disk, enclosing_jobs, on_empty
from queuectl.admission import NOTHING, WAITING, first, low_disk, order
from queuectl.decisions import Ending, JobEnd, Lease, Refusal, Release, Report, Stop
from queuectl.engines.view import Filter, Transaction, View, Write
from queuectl.errors import Busy, Conflict, Unusable
from queuectl.events import Heartbeat, StopRequested, WorkerStarted, WorkerStopped
from queuectl.host_limits import UNLIMITED, HostLimits
from queuectl.queue import Queue
from queuectl.rest import at_rest
from queuectl.selection import select
from queuectl.settings import Settings
from queuectl.workers.introduction import introduction
from queuectl.workers.trigger import trigger_variables

ENVIRONMENTS = 64
"""Environments that are cached, so that a claim need not read its own."""


class Claim(msgspec.Struct, frozen=True):
    """A job that this worker has claimed and may start."""

    job: Job
    lease: Lease
    secrets: dict[str, str]
    environment: Environment | None
    """What was kept of the enqueuer's environment; None: nothing."""
    granted: Mapping[str, int | tuple[int, ...]]
    """What it has of resources: how much, or the numbers of the pieces."""
    trigger: Mapping[str, str]
    """The variables that tell a callback of what ended."""
    earlier: list[tuple[str, str]]
    """Output file and tag of each earlier claim, of which nothing may live when this one starts."""


class Turn(msgspec.Struct):
    """What one transaction did, and what it found."""

    claims: list[Claim] = []
    fenced: list[Lease] = []
    """Leases of reports that were refused: these attempts were decided elsewhere."""
    failed: list[tuple[Lease, str]] = []
    """Leases of attempts that failed, with what became of the job."""
    cancel: dict[str, str] = {}
    """By id the jobs that this worker runs and that are to be cancelled, with the name of the signal for each."""
    jobs: Mapping[Lease, Job] | None = None
    """The jobs that this worker holds, as they are now; None where that was not looked at."""
    suspended: frozenset[Lease] | None = None
    """The leases of attempts of this worker that are suspended; None where that was not looked at."""
    proceed_in: float | None = None
    """Seconds until a pause ends that has suspended any of them; None: none ends by itself."""
    stop: bool = False
    """Whether this worker is to stop."""
    stop_now: bool = False
    """Whether it is to stop without waiting for what it runs."""
    stopped_by: Stop | None = None
    """Who asked for it, where that is known."""
    due_in: float | None = None
    """Seconds until the next waiting job is due, or a queue opens; None where none waits for that."""
    slots: int = 0
    """How many slots the selected jobs take."""
    closed: bool = False
    """Whether jobs were passed over: their queue is paused or at a limit, or what they need is taken."""
    demands: Collection[str] = ()
    """What those need whose resources, or slots, are taken."""
    slots_wanted: bool = False
    """Whether jobs were left because they are not claimed ahead: each needs a free slot."""
    cascading: bool = False
    """Whether a job has ended, and not all that depend on it were looked at."""
    slots_kept: bool = False
    """Whether its free slots are kept for a job that needs more of them than are free."""
    schedule_events: int | None = None
    """How many events the schedules have; None where that was not looked at."""
    drained: bool = False
    """Whether its queues hold nothing that will run by itself."""
    settings: Settings = Settings()
    """Those in force when they were last read."""
    hindrance: str | None = None
    """Why no job may be started just now."""
    lost: bool = False
    """Whether this worker was taken for dead, and what it held is others' by now."""
    confirmed: float | None = None
    """When it was sent (see `queuectl.clock.boottime`); None where other hosts do not see by it that the worker lives:
    they see heartbeats, and which claims it holds."""


class TurnWriter:
    """Writes the events of one worker into the log."""

    def __init__(
        self, queue: Queue, worker: str, queues: Sequence[str], identity: str, only: Sequence[str] = ()
    ) -> None:
        """`queues` empty: all of them. `only`: the ids of the only jobs to claim; empty: any."""
        self.worker = worker
        self._queue = queue
        self._engine = queue.engine
        self._queues = queues
        self._identity = identity
        self._only = list(only)
        self._actor = f"worker:{worker}"
        self._stream = f"worker:{worker}"
        self._settings = Settings()
        self._environments: dict[str, Environment] = {}
        self._claimed: dict[str, Job] = {}
        """The jobs that it holds, as they were claimed: most often nothing has happened to them since."""
        self._sessions = self._engine.sessions
        """Those of the engine when they were claimed."""
        self._inside = enclosing_jobs.inside(queue.engine)

    def start(
        self,
        slots: int,
        *,
        drain: bool = False,
        resources: Mapping[str, int | str] = {},
        limits: HostLimits = UNLIMITED,
        cgroup: str | None = None,
    ) -> WorkerStarted:
        """Append `worker_started`, however long others keep the database; returns that event."""
        private = bool(self._only)
        while True:
            try:
                with self._engine.transaction(None) as tx:
                    event = introduction(
                        self._queue, tx, self._identity, self._queues, slots=slots, drain=drain, private=private,
                        resources=resources, limits=limits, cgroup=cgroup,
                    )  # fmt: skip
                    tx.append([Write(self._stream, None, [event])], self._actor)
                return event
            except Busy:
                continue

    def write_heartbeat(self, patience: float) -> None:
        """Append a heartbeat though nothing is held: an observer has to show that it can write.

        Raises Busy where others write for longer than `patience` seconds.
        """
        with self._engine.transaction(patience) as tx:
            me = tx.worker(self.worker)
            if me is not None and me.live:
                tx.append([Write(self._stream, me, [Heartbeat()])], self._actor)

    def stop(self, reason: str) -> bool:
        """Append `worker_stopped`; returns False where that could not be written, and is left to recovery.

        Harmless where recovery has already recorded that the worker was lost.
        """
        try:
            with self._engine.transaction() as tx, on_empty.coming_to_rest(tx, self._actor):
                me = tx.worker(self.worker)  # what it offered goes with it: what waits for that waits for a person now
                if me is not None and me.live:
                    tx.append([Write(self._stream, me, [WorkerStopped(reason=reason)])], self._actor)
        except Unusable:
            return False
        return True

    def turn(
        self,
        reports: Sequence[Report],
        releases: Sequence[Release],
        want: int,
        *,
        free: int | None = None,
        holding: Sequence[Lease] = (),
        ended: Sequence[Lease] = (),
        heartbeat: Heartbeat | None = None,
        look: bool = False,
        drain: int | None = None,
        meanwhile: Callable[[], None] | None = None,
    ) -> Turn:
        """Report, give back, write a `heartbeat` and claim at most `want` jobs, in one transaction.

        `free`: how many of them can start at once; all, where that is not said. `holding` are the leases that stay with
        this worker, `ended` those of attempts that it will report later. `look` also reads cancels, suspensions, stops
        and settings. `drain`: find out whether anything is left but so many jobs that can't be ended. `meanwhile` is
        called while others write. Raises Unusable where nothing could be written: the turn can be taken again.
        """
        known = self._claimed
        while True:
            turn = Turn(settings=self._settings)
            try:
                with self._engine.transaction(None, meanwhile) as tx:
                    sent = clock.boottime()
                    known = known if self._is_same_session() else {}
                    endings: list[Ending] = [*reports, *releases]
                    beat: list[Write] = []
                    if heartbeat is not None or look:
                        me = tx.worker(self.worker)
                        if heartbeat is not None and me is not None and me.live:
                            beat = [Write(self._stream, me, [heartbeat])]
                        self._look(tx, me, turn)
                        leases = {*holding, *ended, *(each.lease for each in (*reports, *releases))}
                        endings += self._unknown(tx, leases)
                    was_live = self._was_live(tx, endings)
                    ends = tx.end(endings, self._actor, known)
                    tx.append(beat, self._actor)
                    turn.fenced, turn.failed = ends.fenced, ends.failed
                    turn.cascading = turn.cascading or tx.has_left_dependants
                    if want > 0 and not turn.stop:
                        self._check_claims(tx, turn)
                    decided = ends.jobs
                    if want > 0 and not turn.stop and turn.hindrance is None:
                        decided = [*decided, *self._claim(tx, turn, want, want if free is None else free)]
                    if self._may_rest(turn, holding, decided, was_live):
                        on_empty.add_if_at_rest(tx, self._actor)
                    if turn.slots < want or (drain is not None and not turn.claims):
                        self._look_ahead(tx, turn, drain)
                for ending in endings:
                    self._claimed.pop(ending.job, None)
                self._claimed |= {claim.job.id: claim.job for claim in turn.claims}
                turn.confirmed = sent if beat or turn.claims else None
                return turn
            except Conflict:
                if not known:
                    raise
                known = {}  # a job was cancelled, or taken for lost, since it was claimed: each is read anew

    def _is_same_session(self) -> bool:
        """Whether the database is the one of the last turn for certain. Else what it holds is read anew: a standby may
        have been promoted without these claims, and others have gone on without them."""
        before, self._sessions = self._sessions, self._engine.sessions
        if before != self._sessions:
            self._claimed = {}
        return before == self._sessions

    def _was_live(self, tx: Transaction, endings: Sequence[Ending]) -> bool:
        """Whether anything was left to do before these endings; only looked at where they may be those of callbacks."""
        jobs = [self._claimed.get(ending.job) for ending in endings]
        return any(job is None or job.past_limits for job in jobs) and on_empty.is_live(tx)

    def _may_rest(self, turn: Turn, holding: Sequence[Lease], decided: Sequence[JobEnd], was_live: bool) -> bool:
        """Whether what was decided may have left nothing to do: something was, and this worker has but callbacks."""
        if not decided or not (was_live or any(not end.job.past_limits for end in decided)):
            return False
        held = [self._claimed.get(lease.job) for lease in holding]
        return all(job is None or job.past_limits for job in (*held, *(each.job for each in turn.claims)))

    def _unknown(self, tx: Transaction, known: Collection[Lease]) -> list[Release]:
        """Gives back what was claimed in a turn that raised though it was written: the disk, or a file, failed then."""
        leases = [decisions.lease(job) for job in tx.jobs_of(self.worker)]
        return [Release(lease, "its worker does not know of it") for lease in leases if lease not in known]

    def _look(self, tx: Transaction, me: Worker | None, turn: Turn) -> None:
        jobs = tx.jobs_of(self.worker)
        turn.jobs = {decisions.lease(job): job for job in jobs}
        turn.cancel = {job.id: job.stop_signal for job in jobs if job.cancel_requested}
        turn.suspended = frozenset(decisions.lease(job) for job in self._suspended(tx, jobs, turn))
        turn.cascading = tx.is_cascading()
        turn.schedule_events = tx.schedule_events()
        turn.lost = me is None or not me.live
        turn.stop = me is None or me.state != "running"
        turn.stop_now = me is None or me.stop_now
        if me is not None and me.state == "stopping":
            turn.stopped_by = requested_stop(tx, self.worker)
        settings = self._queue.settings(tx)
        if not settings.unusable:  # otherwise what was in force stays so
            turn.settings = self._settings = settings

    def _suspended(self, tx: Transaction, jobs: Sequence[Job], turn: Turn) -> list[Job]:
        """Those of these jobs that are suspended, after the ends of pauses that nobody had to end."""
        suspended = [job for job in jobs if job.suspended_at is not None]
        if any(job.suspended_by_pause for job in suspended):
            gates = tx.gates()
            pauses = {job.id: [gates[name].state for name in (job.queue, ALL) if name in gates] for job in suspended}
            ended = [(job, decisions.end_of_pause(job, pauses[job.id], tx.now)) for job in suspended]
            tx.append([Write(f"job:{job.id}", job, events) for job, events in ended if events], self._actor)
            suspended = [job for job, events in ended if not events]
            ends = [state.paused_until for job in suspended for state in pauses[job.id] if state.suspends(tx.now)]
            turn.proceed_in = min(((end - tx.now) / 1e6 for end in ends if end is not None), default=None)
        return suspended

    def _check_claims(self, tx: Transaction, turn: Turn) -> None:
        """Whether this worker may claim at all."""
        me = tx.worker(self.worker)
        # Not once it was taken for dead: what it claims now would never be recovered.
        turn.lost = turn.stop = me is None or not me.live
        if (space := disk.space(self._queue.home, self._settings)).low:
            turn.hindrance = low_disk(space).text

    def _claim(self, tx: Transaction, turn: Turn, want: int, free: int) -> list[JobEnd]:
        """Claim jobs; returns what was decided of those that can't be run."""
        among: list[Job] | None = None
        if self._only:
            waiting = [job for job in self._own_jobs(tx) if job.state in WAITING]
            among = sorted((job for job in waiting if first(job, NOTHING, tx.now) is None), key=order)
        selection = select(tx, self._queues, tx.now, want, {self.worker: free}, self._identity, among)
        turn.closed, turn.slots_wanted, turn.demands = selection.closed, selection.slots_wanted, selection.demands
        turn.slots, turn.slots_kept = selection.slots, bool(selection.kept)
        writes = [
            Write(
                f"job:{each.job.id}",
                each.job,
                decisions.claim(each.job, self.worker, tx.now, each.gate, each.granted, self._identity),
            )
            for each in selection.jobs
        ]
        changes = tx.append(writes, self._actor)
        refusals: list[Refusal] = []
        for change in changes:
            claimed: Job = change.after
            lease = decisions.lease(claimed)
            secrets = tx.secrets(claimed.id) if claimed.secrets else {}
            missing = [name for name in claimed.secrets if name not in secrets]
            environment = self._environment(tx, claimed.policy.environment)
            if missing or (environment is None and claimed.policy.environment is not None):
                refusals.append(Refusal(lease, missing))
            else:
                granted, told = change.event.granted, trigger_variables(tx, claimed, self._queue.home)
                earlier = self._earlier(tx, claimed)
                turn.claims.append(Claim(claimed, lease, secrets, environment, granted, told, earlier))
        return tx.end(refusals, self._actor, {change.after.id: change.after for change in changes}).jobs

    def _environment(self, tx: Transaction, name: str | None) -> Environment | None:
        if name is None:
            return None
        found = self._environments.get(name)
        if found is None and (found := tx.environment(name)) is not None:
            if len(self._environments) >= ENVIRONMENTS:
                self._environments.clear()
            self._environments[name] = found
        return found

    def _earlier(self, tx: Transaction, job: Job) -> list[tuple[str, str]]:
        if job.lease == 2:
            return []  # the first claim of all
        found: list[tuple[str, str]] = []
        for attempt in earlier_attempts(tx, job):
            worker = tx.worker(attempt.worker)
            identity = worker.identity if worker is not None else self._identity
            path = self._queue.home.output_of(identity, job.id, attempt.lease)
            found.append((path, tag(identity, job.id, attempt.lease)))
        return found

    def _look_ahead(self, tx: Transaction, turn: Turn, drain: int | None) -> None:
        # Whoever has left it may be dead, and rings no bell.
        turn.cascading = turn.cascading or tx.is_cascading()
        gates = tx.gates()
        if self._only:
            left = self._own_jobs(tx)
            turn.drained = not left
            waiting = [job for job in left if job.state in WAITING and not job.held]
            dues = [job.run_at for job in waiting if job.run_at > tx.now or job.demand not in turn.demands]
        else:
            closed = [name for name, gate in gates.items() if gate.is_closed(tx.now)]
            shut = [name for name, gate in gates.items() if gate.state.is_paused(tx.now, callbacks=True)]
            due = tx.next_due(self._queues, closed, turn.demands, shut) if ALL not in closed else None
            # What is due already waits for an end, where slots are kept; what becomes due may go first.
            next_due = tx.due_after(tx.now) if turn.slots_kept and due is not None and due <= tx.now else due
            dues = [next_due] if next_due is not None else []
            if drain is not None and (due is None or due > tx.now):
                hosts = enclosing_jobs.waiting_inside(tx, self._inside)
                turn.drained = at_rest(tx, self._queues, tx.now, drain, hosts)
        dues += [moment for gate in gates.values() if (moment := gate.reopens(tx.now)) is not None]
        turn.due_in = max(0.0, (min(dues) - tx.now) / 1e6) if dues else None

    def _own_jobs(self, tx: Transaction) -> list[Job]:
        """Of the jobs that this worker is for, those that have not ended."""
        jobs = [job for id in self._only if (job := tx.job(id)) is not None and job.state not in FINAL]
        self._only = [job.id for job in jobs] or self._only[:1]
        return jobs


def earlier_attempts(view: View, job: Job) -> list[Attempt]:
    """The attempts before the one by which a job is held, of which nothing may live when its command starts.

    Those that were given back are among them, since they may have been given back by mistake; those whose processes
    were meant to stay (`--keep-children`) are not.
    """
    claims = [attempt for attempt in view.attempts(job.id) if attempt.lease != job.lease]
    if not job.policy.keep_children:
        return claims
    return [each for each in claims if each.outcome in ("released", "interrupted") or each.cause == "lost"]


def requested_stop(view: View, worker: str) -> Stop | None:
    """The latest request that a worker stop; None where there is none."""
    where = Filter(streams=(f"worker:{worker}",), types=("stop_requested",))
    found: Stop | None = None
    for record in view.events(where=where):
        event = record.event
        if isinstance(event, StopRequested):
            found = Stop(record.actor, event.reason, event.inside)
    return found


def tag(identity: str, job: str, lease: int) -> str:
    """The tag that an attempt's processes have in their environment, by which they are found (R12)."""
    return f"{identity}:{job}:{lease}"
