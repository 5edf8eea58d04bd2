"""The ends of attempts and jobs: all of a transaction are decided together (R32)."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from projections.jobs import Job, evolve
from projections.queues import QueueGate, QueueState
from queuectl.clock import SECOND, text
from queuectl.decisions.lease import Lease, is_held, lease
from queuectl.decisions.outcome import Outcome, Stop
from queuectl.errors import Refused
from queuectl.events import (
    Cancelled,
    CancelRequested,
    Completed,
    Dead,
    Event,
    Failed,
    Interrupted,
    QueuePaused,
    Recorded,
    Released,
    Retried,
)
from queuectl.rate import Rate

_FINAL = (Completed, Dead, Cancelled)

POSTPONED = 10 * SECOND
"""For how long (µs) a job is postponed that could not be started; twice as long each further time in a row."""
LONGEST_POSTPONED = 60 * SECOND

INTERRUPTIONS = 10
"""Interruptions in a row, the last of which counts as a failure: the job itself may be what stops its workers (R40)."""


class Leased(msgspec.Struct, frozen=True, gc=False):
    """An ending of what is held by a lease."""

    lease: Lease

    @property
    def job(self) -> str:
        """The id of the job."""
        return self.lease.job


class Report(Leased, frozen=True, gc=False):
    """An attempt has ended."""

    outcome: Outcome


class Release(Leased, frozen=True, gc=False):
    """A claim is given back unstarted; where the cancel of the job was requested meanwhile, it is cancelled."""

    reason: str | None = None
    repeats: bool = False
    """Whether the next claim would most likely be given back for the same reason: the job is postponed."""


class Refusal(Leased, frozen=True, gc=False):
    """A claimed job can't be run: secret values, or its environment, are not in the database (R22).

    It is not retried: no later attempt would find them.
    """

    missing: Sequence[str]
    """The names of the secret values; none: it is the environment."""


class Cancel(msgspec.Struct, frozen=True, gc=False):
    """A waiting or dead job is cancelled; of a processing one the cancel is requested.

    Where it was requested already, it is so again only if another signal is asked for.
    """

    job: str
    """Its id."""
    reason: str | None = None
    signal: str | None = None
    """The name of the signal by which a processing one is asked to end; None: its own."""
    because: tuple[str, ...] = ()
    """The ids of jobs that have ended so that this one never starts."""
    cause: str = "user"
    """Why: see `Cancelled`."""


Ending = Report | Release | Refusal | Cancel
"""What ends an attempt or a job, or is to end it."""


class JobEnd(msgspec.Struct, gc=False):
    """What becomes of one job."""

    job: Job
    """As it was before."""
    events: list[Event]
    """To be appended to its stream; at least one."""

    @property
    def went_wrong(self) -> bool:
        """Whether it has ended without having completed."""
        return type(self.events[-1]) is not Completed

    @property
    def state(self) -> str:
        """The state that it has come to, where it has ended."""
        return self.events[-1].type

    def cascade_later(self) -> None:
        """Say in the event of its end that jobs that depend on it are looked at later, and its callbacks are added."""
        self.events[-1] = replace(self.events[-1], cascade=True)


class Ends(msgspec.Struct):
    """What becomes of all jobs that one transaction ends."""

    jobs: list[JobEnd]
    """Each job once, in the order of the endings; without those of which nothing new is asked."""
    fenced: list[Lease]
    """Leases that are no longer held: these attempts were decided elsewhere."""
    queues: list[tuple[QueueState, list[Event]]] = []
    """Queues as they were before, with what is to be appended to their streams."""
    frees: bool = False
    """Whether something may start now that could not: for the limit of a queue, or a resource that was granted."""

    @property
    def ended(self) -> list["JobEnd"]:
        """Those that have come to a final state."""
        return [end for end in self.jobs if type(end.events[-1]) in _FINAL]

    @property
    def failed(self) -> list[tuple[Lease, str]]:
        """The leases of attempts that failed, with what became of the job: retried or dead."""
        failed = [end for end in self.jobs if type(end.events[0]) is Failed]
        return [(lease(end.job), end.events[1].type) for end in failed]

    @property
    def forget(self) -> list[str]:
        """The ids of jobs whose secret values are not needed any more: those that have completed."""
        return [end.job.id for end in self.jobs if end.job.secrets and type(end.events[-1]) is Completed]


def finish(
    endings: Iterable[Ending],
    load: Callable[[str], Job | None],
    now: int,
    draw: Callable[[], float],
    gates: Mapping[str, QueueGate] = {},
    charge: Callable[[Lease, Rate], int] = lambda lease, rate: 0,
) -> Ends:
    """Decide all endings of a transaction, in their order.

    `load` gives a job by its id, as it is before all of them (None: it is gone), `draw` a random number in [0, 1) for
    each report. `gates` are those of the queues of which anything was said, by name; `charge` tells by how much (µs) a
    claim has moved the theoretical arrival time of its queue's rate. An ending under a lease that is not held is only
    listed. Raises Refused where a job that is to be cancelled has completed, is cancelled already, or is gone.

    What the ends do to jobs that depend on these is decided once they are in the tables, of all of them together: see
    `queuectl.engines.dependants`.
    """
    ends: dict[str, JobEnd] = {}
    fenced: list[Lease] = []
    found = dict(gates)
    for ending in endings:
        end = ends.get(ending.job)
        job = load(ending.job) if end is None else _after(end)
        if isinstance(ending, Cancel):
            events = _cancelled(job, ending)
        elif job is None or not is_held(job, ending.lease):
            fenced.append(ending.lease)
            continue
        elif isinstance(ending, Report):
            events = _reported(job, ending, now, draw())
        elif isinstance(ending, Release):
            events = _released(job, ending, found, charge, now)
        else:
            events = _refused(job, ending)
        if end is not None:
            end.events += events
        elif job is not None and events:
            ends[job.id] = JobEnd(job, events)
    jobs = [*ends.values()]
    queues = [*_pauses(jobs, gates)] if gates else []
    frees = any(
        end.job.state == "processing"
        and (bool(end.job.demand) or ((gate := gates.get(end.job.queue)) is not None and gate.state.is_limited))
        for end in jobs
    )
    return Ends(jobs, fenced, queues, frees)


def _after(end: JobEnd) -> Job | None:
    """The job after its events. They have no place in the log yet, and no moment: neither decides anything."""
    job: Job | None = end.job
    for version, event in enumerate(end.events, end.job.version + 1):
        job = evolve(job, Recorded(0, f"job:{end.job.id}", version, event.type, event.v, 0, "", ""), event)
    return job


def _reported(job: Job, report: Report, now: int, draw: float) -> list[Event]:
    """Completed; failed and retried; failed and dead; interrupted; or cancelled.

    A job whose cancel was requested is cancelled, unless its command succeeded before it was ended: then it has
    completed. Whether a retry is of use the exit code says only of a command that ended by itself. An interruption
    counts as a failure where the job itself asked for the stop, and after too many in a row.
    """
    outcome = report.outcome
    if outcome.cause is None:
        return [Completed(**_ended(report))]
    if job.cancel_requested:
        return [Cancelled(cause=job.cancel_cause, **_ended(report))]
    error = outcome.error
    if outcome.stop is not None:
        error = _why_it_counts(job, outcome.stop)
        if error is None:
            return [Interrupted(by=outcome.stop.by, reason=outcome.stop.reason, **_ended(report))]
    # An attempt is ended for a cancel only after the request is in the stream: see above.
    cause = "signal" if outcome.cause == "cancel" else outcome.cause
    failed = Failed(cause=cause, error=error, **_ended(report))
    failures = job.failures + 1
    if cause in ("exit", "spawn") and outcome.exit_code in job.policy.no_retry_codes:
        return [failed, Dead(reason=f"exit code {outcome.exit_code} is not retried (no-retry-codes)")]
    if cause == "lost" and job.policy.on_lost == "dead":
        return [failed, Dead(reason="its attempt was lost, and on-lost is dead")]
    if failures > job.max_retries:
        return [failed, Dead(reason=_spent(failures, job.max_retries))]
    delay = job.policy.delays.delay(failures, draw)
    return [failed, Retried(run_at=text(now + round(delay * SECOND)), delay=delay)]


def _pauses(ends: Sequence[JobEnd], gates: Mapping[str, QueueGate]) -> Iterator[tuple[QueueState, list[Event]]]:
    """The queues that are paused because one of their jobs has died, each once."""
    died: dict[str, str] = {}
    for end in ends:
        if any(type(event) is Dead for event in end.events):
            died.setdefault(end.job.queue, end.job.id)
    for queue, job in died.items():
        state = gates[queue].state if queue in gates else None
        if state is not None and state.pause_on_failure and not state.paused_for_good:
            yield state, [QueuePaused(cause="failure", job=job)]


def _released(
    job: Job, release: Release, gates: dict[str, QueueGate], charge: Callable[[Lease, Rate], int], now: int
) -> list[Event]:
    gate, rates = gates.get(job.queue), dict[str, str]()
    rate, claimed_at = gate.state.rate if gate is not None else None, job.claimed_at
    # Later, others may have started in its place: the queue had its whole burst anew, as if it had never been claimed.
    is_free = rate is not None and claimed_at is not None and now - claimed_at < rate.interval
    if gate is not None and rate is not None and is_free and (charged := charge(release.lease, rate)):
        gates[job.queue] = gate = gate.refunded(charged)
        rates = {job.queue: text(gate.arrival)} if gate.arrival is not None else {}
    # One that is forced would not wait for that moment: only its worker's pause after a vain start holds it up.
    postpones = release.repeats and not job.forced and not job.cancel_requested
    not_before = text(now + _postponed(job.postponed)) if postpones else None
    released = Released(attempt=release.lease.attempt, rates=rates, not_before=not_before, reason=release.reason)
    return [released, Cancelled(cause=job.cancel_cause)] if job.cancel_requested else [released]


def _postponed(times: int) -> int:
    """For how long (µs) a job is postponed that was so many times in a row before."""
    return min(POSTPONED << min(times, 8), LONGEST_POSTPONED)


def _refused(job: Job, refusal: Refusal) -> list[Event]:
    if refusal.missing:
        error, hint = f"the values of {', '.join(refusal.missing)} are not in this database", "retry it with --secret"
    else:
        error = f"the environment that it was enqueued with (env:{job.policy.environment}) is not in this database"
        hint = "enqueue it anew where it shall run"
    return [Failed(attempt=refusal.lease.attempt, cause="spawn", error=error), Dead(reason=f"{error}; {hint}")]


def _cancelled(job: Job | None, cancel: Cancel) -> list[Event]:
    if job is not None and job.state == "processing":
        if job.cancel_requested and cancel.signal in (None, job.stop_signal):
            return []
        return [CancelRequested(cause=cancel.cause, signal=cancel.signal, reason=cancel.reason)]
    if job is None or job.state in ("completed", "cancelled"):
        raise Refused(f"job {cancel.job} is {job.state if job is not None else 'gone'} already; nothing to cancel")
    return [Cancelled(cause=cancel.cause, because=cancel.because, reason=cancel.reason)]


def _why_it_counts(job: Job, stop: Stop) -> str | None:
    """Why an interruption counts as a failure of the job; None where it does not."""
    if stop.job == job.id:
        return "it had its own worker stopped"
    if job.interruptions + 1 >= INTERRUPTIONS:
        return f"interrupted {INTERRUPTIONS} times in a row, the last time by {stop.by}"
    return None


def _ended(report: Report) -> dict[str, Any]:
    """The fields that the events of all outcomes share."""
    fields = msgspec.structs.asdict(report.outcome)
    del fields["cause"], fields["error"], fields["stop"]
    fields["attempt"] = report.lease.attempt
    started_at = report.outcome.started_at
    fields["started_at"] = text(started_at) if started_at is not None else None
    return fields


def _spent(failures: int, max_retries: int) -> str:
    if max_retries == 0:
        return "failed, and no retries were allowed"
    return f"failed {failures} times; {max_retries} retr{'y' if max_retries == 1 else 'ies'} used up"
