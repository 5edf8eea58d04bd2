"""What another retry policy would have made of the failures that the log has recorded.

Every job that failed is followed through its own events, and for each failure the decision of a worker
(`queuectl.decisions.finish`) is taken anew under the other policy. What happened stands in the log; what would have
happened after the last recorded attempt does not, and is given as bounds and as an estimate (`ASSUMPTIONS`).
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from msgspec.structs import replace

from projections import evolve
from projections.jobs import Job
from queuectl.backoff import Backoff
from queuectl.clock import text
from queuectl.decisions import Outcome, Report, finish, judged, lease
from queuectl.events import Cancelled, Completed, Dead, Enqueued, Event, Failed, Recorded, Requeued, Retried
from queuectl.policy import changed
from queuectl.queries import Progress
from queuectl.queue import Queue

EVIDENCE = 10
"""How many attempts of one number must have been recorded before their rate of success counts."""

ASSUMPTIONS = (
    "Every recorded attempt would have ended as it did, whenever it had been made.",
    (
        "What further attempts would have brought nobody knows. The bounds are: none succeeds, and the first succeeds. "
        "The estimate: each succeeds as often as recorded ones of its number (within a retry budget) did, of the same "
        f"command, else of the queue, else of all; where there were not {EVIDENCE}, those of the numbers before count "
        "too. It is likely too high: what has failed more often is more likely to fail for ever."
    ),
    "Waiting is the delay before each retry, without the wait for a free worker and the run; jitter is 0.",
    "Retry budgets are judged one by one: what somebody sent back by hand would have been sent back all the same.",
    (
        "What was not given (delays, retries, exit codes) is as each job had it; on-lost decides as it did. What has "
        "completed stays so, whatever its exit code."
    ),
)
"""What the answer rests on, a sentence each; told with every answer."""

_PAGE = 500


class RetryPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """The other policy; what is None stays as each job has it. Durations are seconds."""

    backoff_base: float | None = None
    backoff_max: float | None = None
    backoff: tuple[float, ...] | None = None
    max_retries: int | None = None
    ok_codes: tuple[int, ...] | None = None
    no_retry_codes: tuple[int, ...] | None = None

    def applied_to(self, job: Job) -> Job:
        """The job as if it had been enqueued with this policy."""
        said = {name: value for name, value in msgspec.structs.asdict(self).items() if value is not None}
        policy = changed(job.policy, said)
        return replace(job, max_retries=policy.max_retries, policy=policy)


class Failure(msgspec.Struct):
    """A recorded failure, and what followed from it."""

    job: Job
    """As it was held when it failed."""
    outcome: Outcome
    at: int
    delay: float | None = None
    """Seconds to the retry; None where none came."""


class Budget(msgspec.Struct):
    """What became of one retry budget: from `enqueued` or `requeued` to its end."""

    failures: list[Failure] = []
    end: str | None = None
    """completed, dead or cancelled; None where it has not ended."""


class Bounds(msgspec.Struct, frozen=True):
    """A figure that the log can't tell."""

    least: float
    estimate: float
    most: float


class Simulation(msgspec.Struct, kw_only=True):
    """What would have changed. Durations are seconds; counts are of retry budgets, of which a job usually has one."""

    jobs: int = 0
    """Jobs with a recorded failure."""
    budgets: int = 0
    unchanged: int = 0
    """Those that would have ended as they did, after as many attempts."""
    retries: int = 0
    """Recorded."""
    retries_saved: int = 0
    """Recorded ones that would not have been made."""
    given_up_completed: int = 0
    """Given up before the attempt that succeeded: completed jobs that would be dead."""
    given_up_dead: int = 0
    """Given up earlier, and dead in any case."""
    given_up_other: int = 0
    """Given up earlier; recorded as cancelled, or not ended yet."""
    succeeded_completed: int = 0
    """Those with a recorded failure that would have been a success, by its exit code: recorded as completed later."""
    succeeded_dead: int = 0
    """Recorded as dead."""
    succeeded_other: int = 0
    """Recorded as cancelled, or not ended yet."""
    going_on: int = 0
    """Dead ones that would have been tried again."""
    rescued: Bounds = Bounds(0, 0, 0)
    """How many of those would have completed."""
    retries_added: Bounds = Bounds(0, 0, 0)
    without_estimate: int = 0
    """Of those that go on: no attempt like the next was ever recorded; they count as not rescued in the estimate."""
    waiting: float = 0.0
    """Delays before the recorded retries."""
    waiting_changed: float = 0.0
    """How much longer (shorter, where negative) the delays before those of them that remain would have been."""
    waiting_saved: float = 0.0
    """The recorded delays before the retries saved."""
    waiting_added: Bounds = Bounds(0, 0, 0)
    """Delays before further attempts."""


class Rates:
    """How often the n-th attempt of a budget succeeded (n from 2 on): by command, by queue, and of all."""

    def __init__(self) -> None:
        self._tried: Counter[tuple[str, str, int]] = Counter()
        self._succeeded: Counter[tuple[str, str, int]] = Counter()

    def count(self, budget: Budget) -> None:
        """Count the retries of a budget."""
        failed = len(budget.failures)
        for number in range(2, failed + (budget.end == "completed") + 1):
            job = budget.failures[0].job
            for kind, name in _groups(job.command, job.queue):
                self._tried[kind, name, number] += 1
                self._succeeded[kind, name, number] += number > failed

    def share(self, command: str, queue: str, number: int) -> float | None:
        """The share of n-th attempts that succeeded, see `ASSUMPTIONS`; None where there was no retry at all."""
        kinds = _groups(command, queue)
        tried, succeeded = [0] * len(kinds), [0] * len(kinds)
        for n in range(number, 1, -1):
            for place, (kind, name) in enumerate(kinds):
                tried[place] += self._tried[kind, name, n]
                succeeded[place] += self._succeeded[kind, name, n]
                if tried[place] >= EVIDENCE:
                    return succeeded[place] / tried[place]
        return succeeded[-1] / tried[-1] if tried[-1] else None


def _groups(command: str, queue: str) -> tuple[tuple[str, str], ...]:
    """Whose attempts are like those of a job, the likest first."""
    return ("command", command), ("queue", queue), ("all", "")


class Continuation(msgspec.Struct, frozen=True):
    """A dead job that would have gone on."""

    command: str
    queue: str
    failures: int
    max_retries: int
    backoff: Backoff


def simulate(
    queue: Queue,
    policy: RetryPolicy,
    *,
    since: int | None = None,
    queue_name: str | None = None,
    progress: Progress | None = None,
) -> Simulation:
    """Replay what became of the jobs enqueued at `since` (µs UTC) or later, of all queues or of one, under a policy.

    `progress` is called with (seq, last seq). Memory grows with the number of different commands that were retried, not
    with the log.
    """
    result, rates = Simulation(), Rates()
    continued: Counter[Continuation] = Counter()
    for histories in _pages(queue, since, queue_name, progress):
        result.jobs += len(histories)
        for budget in (each for records in histories for each in budgets(records) if each.failures):
            rates.count(recounted(budget, policy))
            compare(budget, policy, result, continued)
    estimate(result, continued, rates)
    return result


def _pages(
    queue: Queue, since: int | None, name: str | None, progress: Progress | None
) -> Iterator[list[list[Recorded]]]:
    """The whole histories of the jobs that failed, some hundred at a time."""
    with queue.engine.snapshot() as view:
        upto = view.head()[0]
        after = view.seq_at(since - 1) if since is not None else 0
    while True:
        with queue.engine.snapshot() as view:
            found = view.failed_jobs(after=after, upto=upto, queue=name, limit=_PAGE)
            records = [*view.history([stream for _, stream in found], upto + 1)] if found else []
        histories: dict[str, list[Recorded]] = {}
        for record in records:
            histories.setdefault(record.stream, []).append(record)
        if histories:
            yield list(histories.values())
        if len(found) < _PAGE:
            if progress is not None:
                progress(1, 1)
            return
        after = found[-1][0]
        if progress is not None:
            progress(after, upto + 1)


def budgets(records: Iterable[Recorded]) -> Iterator[Budget]:
    """The retry budgets of one job, from its events in order."""
    job: Any = None
    budget = Budget()
    for record in records:
        event = record.event
        match event:
            case Enqueued() | Requeued():
                if budget.failures:
                    yield budget
                budget = Budget()
            case Failed():
                budget.failures.append(Failure(job, Outcome(cause=event.cause, exit_code=event.exit_code), record.at))
            case Retried():
                budget.failures[-1].delay = event.delay
            case Completed() | Dead() | Cancelled():
                budget.end = record.type
            case _:
                pass
        job = evolve(job, record, event)
    if budget.failures:
        yield budget


def recounted(budget: Budget, policy: RetryPolicy) -> Budget:
    """The budget up to the first recorded failure that the policy takes for a success."""
    for number, failure in enumerate(budget.failures):
        if isinstance(_decided(policy.applied_to(failure.job), failure), Completed):
            return Budget(budget.failures[:number], "completed")
    return budget


def compare(budget: Budget, policy: RetryPolicy, result: Simulation, continued: "Counter[Continuation]") -> None:
    """Add to the result what the policy would have changed in one budget; what would go on is added to `continued`."""
    delays = [failure.delay for failure in budget.failures if failure.delay is not None]
    result.budgets += 1
    result.retries += len(delays)
    result.waiting += sum(delays)
    for number, failure in enumerate(budget.failures):
        job = policy.applied_to(failure.job)
        decided = _decided(job, failure)
        if failure.delay is not None and isinstance(decided, Retried):
            result.waiting_changed += decided.delay - failure.delay
        elif failure.delay is not None or isinstance(decided, Completed):
            result.retries_saved += len(delays) - number
            result.waiting_saved += sum(delays[number:])
            what = "succeeded" if isinstance(decided, Completed) else "given_up"
            field = f"{what}_{budget.end if budget.end in ('completed', 'dead') else 'other'}"
            setattr(result, field, getattr(result, field) + 1)
            return
        elif isinstance(decided, Retried) and isinstance(_decided(failure.job, failure), Dead):  # as a policy had it
            result.going_on += 1
            continued[Continuation(job.command, job.queue, number + 1, job.max_retries, job.policy.delays)] += 1
            return
    result.unchanged += 1


def _decided(job: Job, failure: Failure) -> Event:
    """What a worker would decide on: Retried, Dead or Completed.

    The draw is the middle of the jitter, which is the delay without any.
    """
    report = Report(lease(job), judged(failure.outcome, job.policy.ok_codes))
    return finish([report], {job.id: job}.get, failure.at, lambda: 0.5).jobs[0].events[-1]


def estimate(result: Simulation, continued: "Counter[Continuation]", rates: Rates) -> None:
    """Add to the result what attempts that never happened may have brought."""
    rescued = attempts = waited = 0.0
    least, most, shortest, longest = 0, 0, 0.0, 0.0
    for each, count in continued.items():
        chances = [rates.share(each.command, each.queue, n + 1) for n in range(each.failures, each.max_retries + 1)]
        delays = [each.backoff.delay(n) for n in range(each.failures, each.max_retries + 1)]
        open_share = 1.0
        for chance, delay in zip(chances, delays, strict=True):
            attempts += count * open_share
            waited += count * open_share * delay
            rescued += count * open_share * (chance or 0.0)
            open_share *= 1.0 - (chance or 0.0)
        result.without_estimate += count if chances[0] is None else 0
        least += count
        most += count * len(delays)
        shortest += count * delays[0]
        longest += count * sum(delays)
    result.rescued = Bounds(0, round(rescued, 3), result.going_on)
    result.retries_added = Bounds(least, round(attempts, 3), most)
    result.waiting_added = Bounds(round(shortest, 6), round(waited, 6), round(longest, 6))
    for name in ("waiting", "waiting_changed", "waiting_saved"):
        setattr(result, name, round(getattr(result, name), 6))


def document(found: Simulation, policy: RetryPolicy, since: int | None, queue_name: str | None) -> dict[str, Any]:
    """The document of `simulate --json`."""
    return {
        "policy": {**msgspec.structs.asdict(policy), "jitter": 0},
        "since": text(since) if since is not None else None,
        "queue": queue_name,
        **msgspec.structs.asdict(found),
        "assumptions": ASSUMPTIONS,
    }
