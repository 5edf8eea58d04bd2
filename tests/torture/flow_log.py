"""The judge of flow control in the log: whether limits, rates, pauses, holds and resources held at every claim.

It imports nothing of the program. The events are those of `queuectl export --what events --format ndjson`; what was
asked of the program follows from them, or is known beforehand.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

ROUNDED = 1000
"""µs by which the moment of an event may differ from the one by which it was decided."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ENDS = ("completed", "failed", "cancelled", "interrupted", "released")
WAITS = (
    "enqueued",
    "retried",
    "released",
    "interrupted",
    "requeued",
    "held",
    "unheld",
    "forced",
    "unblocked",
    "edited",
)
"""The types of events after which a job may be claimed."""


class Rate(NamedTuple):
    """So many starts in so many seconds, and so many at once."""

    starts: int
    burst: int
    seconds: float = 1.0

    @property
    def interval(self) -> int:
        """µs from one start to the next."""
        return round(self.seconds * 1_000_000 / self.starts)


@dataclass
class Law:
    """What was asked of the program, by the names of queues and resources."""

    limits: dict[str, int] = field(default_factory=dict)
    """How many jobs of a queue run at the same time."""
    rates: dict[str, Rate] = field(default_factory=dict)
    pieces: dict[str, frozenset[int]] = field(default_factory=dict)
    """The numbers of the pieces of a resource."""
    amounts: dict[str, int] = field(default_factory=dict)
    """How much there is of a resource whose pieces have no numbers."""


@dataclass
class Claim:
    """A claim of the log."""

    job: str
    number: int
    queue: str
    at: int
    granted: dict[str, int | list[int]]
    counted: bool
    """Whether it was counted as a start of a rate."""
    forced: bool
    outcome: str | None = None
    cause: str | None = None
    """Why it failed."""
    ended: int = 0
    arrival: int = 0
    """The theoretical arrival time that it has stated."""
    added: int = 0
    """By how much it has moved that."""

    @property
    def pieces(self) -> dict[str, list[int]]:
        return {name: given for name, given in self.granted.items() if isinstance(given, list)}


class Log:
    """The events, one after another. All jobs start at one home."""

    def __init__(self, law: Law) -> None:
        self.faults: list[str] = []
        self.law = Law({**law.limits}, {**law.rates}, {**law.pieces}, {**law.amounts})
        """As it is after the events."""
        self.queues: dict[str, str] = {}
        """The queue of each job."""
        self.claims: list[Claim] = []
        self.most: Counter[str] = Counter()
        """The most that were processing at any event, by queue."""
        self.last: dict[str, str] = {}
        """The type of the latest event of each job."""
        self._needs: dict[str, dict[str, int]] = {}
        self._claimed: dict[str, Claim] = {}
        self._held: set[str] = set()
        self._forced: set[str] = set()
        self._pauses: dict[str, int | None] = {}
        """Until when queues are paused, None for good; under an empty name all of them."""
        self._offers: dict[str, dict[str, int | str]] = {}
        """What workers that are up have of resources."""
        self._arrivals: dict[str, list[tuple[str, int]]] = {}
        """By queue: who started, and the theoretical arrival time that was stated then."""
        self._spans: dict[str, list[tuple[Rate, list[Claim]]]] = {}
        """The starts of each queue, of each time in which its rate stayed the same and the clock went forward."""

    def take(self, event: dict[str, Any]) -> None:
        """The next event."""
        kind, _, subject = event["stream"].partition(":")
        type, at, data = event["type"], micros(event["at"]), event["data"]
        if kind in ("queue", "queues"):
            self._said_of_queue(subject, type, data)
        elif kind == "resource":
            self._said_of_resource(subject, data)
        elif kind == "worker":
            if type == "worker_started":
                self._offers[subject] = data.get("resources", {})
            elif type in ("worker_stopped", "worker_lost"):
                del self._offers[subject]
        elif kind == "job":
            self._of_job(subject, type, at, data)
            self.last[subject] = type

    # -- what is asked -----------------------------------------------------------------------------------------------

    def _said_of_queue(self, queue: str, type: str, data: dict[str, Any]) -> None:
        if type == "queue_paused":
            until = data.get("until")
            self._pauses[queue] = micros(until) if until is not None else None
        elif type == "queue_resumed":
            del self._pauses[queue]
        elif type == "queue_limited":
            self.law.limits.pop(queue, None)
            before = self.law.rates.pop(queue, None)
            if (limit := data.get("concurrency")) is not None:
                self.law.limits[queue] = limit
            if (rate := data.get("rate")) is not None:
                self.law.rates[queue] = Rate(rate["starts"], rate["burst"], rate["seconds"])
            if self.law.rates.get(queue) != before:
                self._spans.setdefault(queue, []).append((Rate(1, 0), []))

    def _said_of_resource(self, name: str, data: dict[str, Any]) -> None:
        self.law.pieces.pop(name, None)
        self.law.amounts.pop(name, None)
        if (indices := data.get("indices")) is not None:
            self.law.pieces[name] = spelled(indices)
        elif "capacity" in data:
            self.law.amounts[name] = data["capacity"]

    def _there(self, name: str) -> frozenset[int] | int:
        """The pieces that there are, or how much: what workers offer, else what was said, else one."""
        offered = [offer[name] for offer in self._offers.values() if name in offer]
        if pieces := [spelled(each) for each in offered if isinstance(each, str)]:
            return frozenset().union(*pieces)
        if offered:
            return max(each for each in offered if isinstance(each, int))
        return self.law.pieces.get(name) or self.law.amounts.get(name, 1)

    # -- what is done ------------------------------------------------------------------------------------------------

    def _of_job(self, job: str, type: str, at: int, data: dict[str, Any]) -> None:
        if type == "enqueued":
            self.queues[job] = data.get("queue", "default")
            self._needs[job] = data.get("needs", {})
        if type == "held" or data.get("held"):
            self._held.add(job)
            self._forced.discard(job)
        elif type in ("unheld", "claimed", "cancelled"):
            was_held = job in self._held
            self._held.discard(job)
            if type == "claimed":
                self._take_claim(job, at, data, was_held)
        if type == "forced":
            self._forced.add(job)
        elif type in ENDS and type != "released":
            self._forced.discard(job)
        if type in ENDS and job in self._claimed:
            self._end(self._claimed.pop(job), type, at, data)
        elif type == "archived":
            for queue, starts in self._arrivals.items():
                self._arrivals[queue] = [start for start in starts if start[0] != job]

    def _take_claim(self, job: str, at: int, data: dict[str, Any], held: bool) -> None:
        queue = self.queues[job]
        forced = data.get("forced", False)
        claim = Claim(job, data["attempt"], queue, at, data.get("granted", {}), queue in data.get("rates", {}), forced)
        if job in self._claimed:
            self.faults.append(f"job {job}: claimed while it is claimed")
        elif self.last.get(job) not in WAITS:
            self.faults.append(f"job {job}: claimed after {self.last.get(job)}")
        if forced != (job in self._forced):
            self.faults.append(f"job {job}: is claimed {'' if forced else 'not '}as one that was forced")
        if held and not forced:
            self.faults.append(f"job {job}: claimed while it is held back")
        for name in ("", queue):
            if name in self._pauses and (self._pauses[name] is None or at < (self._pauses[name] or 0)) and not forced:
                self.faults.append(f"job {job}: claimed while {name or 'everything'} is paused")
        self._claimed[job] = claim
        self.claims.append(claim)
        running = sum(each.queue == queue for each in self._claimed.values())
        self.most[queue] = max(self.most[queue], running)
        if running > self.law.limits.get(queue, running) and not forced:
            self.faults.append(f"queue {queue}: {running} are processing once {job} is claimed")
        self._check_grants(claim)
        if queue in self.law.rates:
            self._started(claim, data.get("rates", {}).get(queue))
        elif data.get("rates"):
            self.faults.append(f"job {job}: counts for a rate, and its queue has none")

    def _check_grants(self, claim: Claim) -> None:
        """It has what it needs, of what there is, and nobody else has any of it."""
        if (had := {name: amount(given) for name, given in claim.granted.items()}) != self._needs[claim.job]:
            self.faults.append(f"job {claim.job}: needs {self._needs[claim.job]}, and is granted {had}")
        others = [each for each in self._claimed.values() if each is not claim]
        for name, given in claim.granted.items():
            there = self._there(name)
            used = sum(amount(each.granted[name]) for each in self._claimed.values() if name in each.granted)
            if used > (there if isinstance(there, int) else len(there)):
                self.faults.append(f"{name}: {used} are granted once {claim.job} is claimed, and there is {there}")
            if isinstance(given, list) == isinstance(there, int):
                self.faults.append(f"{name}: {claim.job} is granted {given}, and there is {there}")
            for piece in given if isinstance(given, list) else ():
                for owner in (each.job for each in others if piece in each.pieces.get(name, ())):
                    self.faults.append(f"{name} {piece}: is granted to {claim.job} while {owner} has it")
                if not isinstance(there, int) and piece not in there:
                    self.faults.append(f"{name} {piece}: is granted to {claim.job}, and there is no such piece")

    def _started(self, claim: Claim, stated: str | None) -> None:
        """A start counts for the rate of its queue, and says from when on the next one would be due."""
        queue, rate = claim.queue, self.law.rates[claim.queue]
        due = min(self._arrival(queue), claim.at + rate.burst * rate.interval)
        if due - (rate.burst - 1) * rate.interval > claim.at + ROUNDED and not claim.forced:
            self.faults.append(f"queue {queue}: {claim.job} starts {due - claim.at} µs before it may")
        expected = max(claim.at, due) + rate.interval
        if stated is None or abs(micros(stated) - expected) > ROUNDED:
            self.faults.append(f"queue {queue}: after {claim.job} the next is due at {stated}, and not at {expected}")
        arrival = micros(stated) if stated is not None else expected
        # What was forced too early moves it by less.
        claim.added = min(rate.interval, max(0, arrival - self._arrival(queue)))
        claim.arrival = arrival
        self._arrivals.setdefault(queue, []).append((claim.job, arrival))
        spans = self._spans.setdefault(queue, [])
        if not spans or spans[-1][0] != rate or (spans[-1][1] and spans[-1][1][-1].at > claim.at):
            spans.append((rate, []))
        spans[-1][1].append(claim)

    def _arrival(self, queue: str) -> int:
        starts = self._arrivals.get(queue)
        return starts[-1][1] if starts else 0

    def _end(self, claim: Claim, type: str, at: int, data: dict[str, Any]) -> None:
        claim.outcome, claim.cause, claim.ended = type, data.get("cause"), at
        rate = self.law.rates.get(claim.queue)
        if type == "released" and claim.counted and rate is not None:
            age, stated = at - claim.at, data.get("rates", {}).get(claim.queue)
            expected = self._arrival(claim.queue) - claim.added
            if stated is not None:
                self._arrivals[claim.queue].append((claim.job, micros(stated)))
            if (
                claim.added
                and age < rate.interval - ROUNDED
                and (stated is None or abs(micros(stated) - expected) > ROUNDED)
            ):
                self.faults.append(f"queue {claim.queue}: the start of {claim.job} was given back, and counts")
            if age > rate.interval + ROUNDED and at > claim.arrival + ROUNDED and stated is not None:
                self.faults.append(f"queue {claim.queue}: the start of {claim.job} was given back too late to be free")

    def unfinished(self) -> Iterator[str]:
        """The jobs that have not completed."""
        for job in self.queues:
            if self.last[job] != "completed":
                yield f"job {job}: is left {self.last[job]}"

    def too_many_starts(self) -> Iterator[str]:
        """Spans of time in which more has started than a rate allows, but for what was forced, or given back."""
        for queue, spans in self._spans.items():
            for rate, claims in spans:
                starts = [each.at / 1e6 for each in claims if each.outcome != "released" and not each.forced]
                if (found := excess(starts, rate.starts / rate.seconds)) > rate.burst + 1:
                    shown = f"{rate.starts}/{rate.seconds:g}s"
                    yield f"queue {queue}: {found:.2f} starts more than {shown} in the log, {rate.burst} may"


def amount(given: int | list[int]) -> int:
    """How much was granted."""
    return given if isinstance(given, int) else len(given)


def spelled(text: str) -> frozenset[int]:
    """The numbers of `0-3,7`."""
    ranges = [[int(number) for number in part.split("-")] for part in text.split(",")]
    return frozenset(number for each in ranges for number in range(each[0], each[-1] + 1))


def excess(moments: Sequence[float], rate: float) -> float:
    """By how much any span of these moments (seconds, in order) has more of them than the rate a second gives it."""
    found, least = 0.0, float("inf")
    for place, moment in enumerate(moments):
        least = min(least, place - rate * moment)
        found = max(found, place + 1 - rate * moment - least)
    return found


def micros(text: str) -> int:
    """A moment of the log."""
    return (datetime.fromisoformat(text) - EPOCH) // timedelta(microseconds=1)
