"""The judge of flow control: whether limits, rates, resources and pauses held, as an export and the jobs' stamps tell.

It imports nothing of the program. What must hold is computed here a second time, from the lines of
`queuectl export --what events --format ndjson` and from what each job has appended to a file of stamps by itself.
Moments of the log are µs UTC, those of stamps ns UTC; both are of the same clock.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any, NamedTuple

LATE = 0.2
"""Seconds that may pass from a claim, or from the return of `pause`, to the first line of a command."""
ROUNDED = 1000
"""µs by which the moment of an event may differ from the one by which it was decided."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ENDS = ("completed", "failed", "cancelled", "interrupted", "released")


class Rate(NamedTuple):
    """So many starts a second, and so many at once."""

    starts: int
    burst: int


class Law(NamedTuple):
    """What was asked of the program, by the names of queues and resources."""

    limits: dict[str, int]
    """How many jobs of a queue run at the same time."""
    rates: dict[str, Rate]
    pieces: dict[str, frozenset[int]]
    """The numbers of the pieces of a resource."""


class Pause(NamedTuple):
    """A pause: from the return of the command to the beginning of the one that ended it, ns UTC."""

    queue: str | None
    """None: of all queues."""
    began: int
    ended: int
    suspends: bool = False
    """Whether what ran was stopped as well."""


@dataclass
class Claim:
    """A claim of the log."""

    job: str
    number: int
    queue: str
    at: int
    pieces: dict[str, list[int]]
    counted: bool
    """Whether it was counted as a start of a rate."""
    outcome: str | None = None


@dataclass
class Run:
    """What a command has written of itself."""

    job: str
    number: int
    pieces: tuple[int, ...]
    marks: list[tuple[str, int]] = field(default_factory=list)

    @property
    def began(self) -> int:
        return self.marks[0][1]

    @property
    def last(self) -> int:
        """The last moment at which it is known to have run."""
        return max(at for _, at in self.marks)

    @property
    def shown(self) -> str:
        return "".join(kind for kind, _ in self.marks)


def judge(
    events: Iterable[bytes], stamps: bytes, pauses: Sequence[Pause], law: Law
) -> tuple[list[str], dict[str, int | float | str]]:
    """Every fault that is found, and figures that tell whether there was anything to find."""
    log = Log(law)
    for line in events:
        log.take(json.loads(line))
    runs, unreadable = read(stamps)
    faults = [*log.faults, *unreadable, *log.unfinished(), *log.too_many_starts()]
    faults += [*compared(log.claims, runs)]
    queues = {run.job: log.queues.get(run.job, "?") for run in runs}
    figures: dict[str, int | float | str] = {
        "jobs": len(log.queues),
        "claims": len(log.claims),
        "commands that ran": len(runs),
        "given back": sum(claim.outcome == "released" for claim in log.claims),
        "lost or interrupted": sum(claim.outcome in ("failed", "interrupted") for claim in log.claims),
    }
    for queue, limit in law.limits.items():
        found = most([run for run in runs if queues[run.job] == queue])
        figures |= {f"{queue}: most in the log": log.most[queue], f"{queue}: most by stamps": found}
        if found > limit:
            faults.append(f"queue {queue}: {found} commands ran at the same time, {limit} may")
    for queue, rate in law.rates.items():
        begun = sorted(run.began / 1e9 for run in runs if queues[run.job] == queue)
        found = excess(begun, rate.starts)
        figures[f"{queue}: starts by stamps"] = len(begun)
        figures[f"{queue}: most beyond the rate"] = round(found, 2)
        if found > rate.burst + 1 + rate.starts * LATE:
            faults.append(f"queue {queue}: {found:.1f} commands more than {rate.starts}/s began, {rate.burst} may")
    for resource, pieces in law.pieces.items():
        for piece in sorted(pieces):
            users = [run for run in runs if piece in run.pieces]
            figures[f"{resource} {piece}: commands"] = len(users)
            if most(users) > 1:
                faults.append(f"{resource} {piece}: {most(users)} commands had it at the same time")
    latest, stopped = 0.0, 0
    completed = {(claim.job, claim.number) for claim in log.claims if claim.outcome == "completed"}
    for pause, run in product(pauses, runs):
        if pause.queue not in (None, queues[run.job]):
            continue
        first = pause.began + round(LATE * 1e9)
        if pause.began < run.began < pause.ended:
            latest = max(latest, (run.began - pause.began) / 1e6)
        if first < run.began < pause.ended:
            faults.append(f"job {run.job} began {run.began - pause.began} ns after a pause had returned")
        # Of what its worker did not live to stop, recovery has made an end.
        if pause.suspends and (run.job, run.number) in completed:
            stopped += run.began < pause.began and run.last > pause.ended
            if any(first < at < pause.ended for _, at in run.marks):
                faults.append(f"job {run.job} ran on after a pause that suspends had returned")
    figures |= {"pauses": len(pauses), "latest start after a pause, ms": round(latest, 1)}
    figures["stopped by pauses"] = stopped
    return faults, figures


class Log:
    """The events, one after another."""

    def __init__(self, law: Law) -> None:
        self.faults: list[str] = []
        self.queues: dict[str, str] = {}
        """The queue of each job."""
        self.claims: list[Claim] = []
        self.most: Counter[str] = Counter()
        """The most that were processing at any event, by queue."""
        self._law = law
        self._last: dict[str, str] = {}
        self._held: dict[str, Claim] = {}
        self._owners: dict[tuple[str, int], str] = {}
        self._arrivals: dict[str, int] = {}
        """The theoretical arrival times that were stated last."""

    def take(self, event: dict[str, Any]) -> None:
        """The next event."""
        kind, _, job = event["stream"].partition(":")
        if kind != "job":
            return
        type, at, data = event["type"], micros(event["at"]), event["data"]
        if type == "enqueued":
            self.queues[job] = data.get("queue", "default")
        elif type == "claimed":
            self._claimed(job, at, data)
        elif type in ENDS and job in self._held:
            self._ended(self._held.pop(job), type, at, data)
        self._last[job] = type

    def _claimed(self, job: str, at: int, data: dict[str, Any]) -> None:
        queue, rates = self.queues[job], data.get("rates", {})
        granted = {name: given for name, given in data.get("granted", {}).items() if isinstance(given, list)}
        if job in self._held:
            self.faults.append(f"job {job}: claimed while it is held")
        claim = Claim(job, data["attempt"], queue, at, granted, queue in rates)
        self._held[job] = claim
        self.claims.append(claim)
        running = sum(each.queue == queue for each in self._held.values())
        self.most[queue] = max(self.most[queue], running)
        if running > self._law.limits.get(queue, running):
            self.faults.append(f"queue {queue}: {running} are processing once {job} is claimed")
        for name, pieces in granted.items():
            for piece in pieces:
                owner = self._owners.setdefault((name, piece), job)
                if owner != job:
                    self.faults.append(f"{name} {piece}: is granted to {job} while {owner} has it")
                if piece not in self._law.pieces.get(name, ()):
                    self.faults.append(f"{name} {piece}: is granted to {job}, and there is no such piece")
        if queue in self._law.rates:
            self._started(claim, rates.get(queue))

    def _started(self, claim: Claim, stated: str | None) -> None:
        """A start counts for the rate of its queue, and says from when on the next one would be due."""
        queue, (starts, burst) = claim.queue, self._law.rates[claim.queue]
        interval = 1_000_000 // starts
        due = min(self._arrivals.get(queue, 0), claim.at + burst * interval)
        if due - (burst - 1) * interval > claim.at + ROUNDED:
            self.faults.append(f"queue {queue}: {claim.job} starts {due - claim.at} µs before it may")
        expected = max(claim.at, due) + interval
        if stated is None or abs(micros(stated) - expected) > ROUNDED:
            self.faults.append(f"queue {queue}: after {claim.job} the next is due at {stated}, and not at {expected}")
        self._arrivals[queue] = micros(stated) if stated is not None else expected

    def _ended(self, claim: Claim, type: str, at: int, data: dict[str, Any]) -> None:
        claim.outcome = type
        for name, pieces in claim.pieces.items():
            for piece in pieces:
                if self._owners.get((name, piece)) == claim.job:
                    del self._owners[name, piece]
        if type == "released" and claim.counted:
            interval = 1_000_000 // self._law.rates[claim.queue].starts
            age, stated = at - claim.at, data.get("rates", {}).get(claim.queue)
            expected = self._arrivals[claim.queue] - interval
            if stated is not None:
                self._arrivals[claim.queue] = micros(stated)
            if age < interval - ROUNDED and (stated is None or abs(micros(stated) - expected) > ROUNDED):
                self.faults.append(f"queue {claim.queue}: the start of {claim.job} was given back, and counts")
            if age > interval + ROUNDED and stated is not None:
                self.faults.append(f"queue {claim.queue}: the start of {claim.job} was given back too late to be free")

    def unfinished(self) -> Iterator[str]:
        """The jobs that have not completed."""
        for job in self.queues:
            if self._last[job] != "completed":
                yield f"job {job}: is left {self._last[job]}"

    def too_many_starts(self) -> Iterator[str]:
        """Spans of time in which more has started than a rate allows; what was given back has not."""
        for queue, rate in self._law.rates.items():
            starts = [each.at / 1e6 for each in self.claims if each.queue == queue and each.outcome != "released"]
            if (found := excess(starts, rate.starts)) > rate.burst + 1:
                yield f"queue {queue}: {found:.2f} starts more than {rate.starts}/s in the log, {rate.burst} may"


def read(stamps: bytes) -> tuple[list[Run], list[str]]:
    """The commands by what they wrote, in the order in which they began, and a fault for each line that is none."""
    runs: dict[tuple[str, int], Run] = {}
    faults: list[str] = []
    for number, line in enumerate(stamps.decode(errors="replace").splitlines(), 1):
        match line.split(" "):
            case [("S" | "T" | "E") as kind, job, attempt, at, pieces] if attempt.isdigit() and at.isdigit():
                had = tuple(int(piece) for piece in pieces.split(",") if piece.isdigit())
                run = runs.setdefault((job, int(attempt)), Run(job, int(attempt), had))
                run.marks.append((kind, int(at)))
                if run.pieces != had:
                    faults.append(f"job {job}, attempt {attempt}: has pieces {had} after {run.pieces}")
            case _:
                faults.append(f"stamps, line {number}: can't be read: {line!r}")
    return sorted(runs.values(), key=lambda run: run.began), faults


def compared(claims: Sequence[Claim], runs: Sequence[Run]) -> Iterator[str]:
    """Where the commands contradict the claims."""
    numbered: dict[tuple[str, int], list[Claim]] = defaultdict(list)
    for claim in claims:
        numbered[claim.job, claim.number].append(claim)
    written = {(run.job, run.number): run for run in runs}
    for key, run in written.items():
        who = f"job {run.job}, attempt {run.number}"
        kept = [claim for claim in numbered[key] if claim.outcome != "released"]
        if run.shown.count("S") != 1 or run.shown.count("E") > 1 or run.shown[0] != "S":
            yield f"{who}: wrote {run.shown}"
        if not kept:
            yield f"{who}: ran without a claim that was kept"
            continue
        [claim] = kept  # its number is given to another only where it was given back
        if run.began < claim.at * 1000:
            yield f"{who}: began before its claim"
        if set(run.pieces) != {piece for pieces in claim.pieces.values() for piece in pieces}:
            yield f"{who}: has pieces {run.pieces}, and is granted {claim.pieces}"
    for claim in claims:
        run = written.get((claim.job, claim.number))
        if claim.outcome == "completed" and (run is None or run.shown[-1] != "E"):
            yield f"job {claim.job}, attempt {claim.number}: completed, and wrote {run.shown if run else 'nothing'}"


def most(runs: Iterable[Run]) -> int:
    """How many of these are known to have run at the same moment, at the most."""
    steps = [step for run in runs for step in ((run.began, 0), (run.last, 1))]
    found = now = 0
    for _, ends in sorted(steps):
        now += -1 if ends else 1
        found = max(found, now)
    return found


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
