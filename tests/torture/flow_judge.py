"""The judge of flow control: whether limits, rates, resources and pauses held, as an export and the jobs' stamps tell.

It imports nothing of the program. What must hold is computed here a second time, from the lines of
`queuectl export --what events --format ndjson` and from what each job has appended to a file of stamps by itself.
Moments of the log are µs UTC, those of stamps ns UTC; both are of the same clock.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import NamedTuple

from tests.torture.flow_log import Claim, Law, Log, excess

LATE = 0.2
"""Seconds that may pass from a claim, or from the return of `pause`, to the first line of a command."""


class Pause(NamedTuple):
    """A pause: from the return of the command to the beginning of the one that ended it, ns UTC."""

    queue: str | None
    """None: of all queues."""
    began: int
    ended: int
    suspends: bool = False
    """Whether what ran was stopped as well."""


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
    events: Iterable[bytes], stamps: bytes, pauses: Sequence[Pause], law: Law, timeout: float | None = None
) -> tuple[list[str], dict[str, int | float | str]]:
    """Every fault that is found, and figures that tell whether there was anything to find.

    `timeout`: the seconds that each attempt may take.
    """
    log = Log(law)
    for line in events:
        log.take(json.loads(line))
    runs, unreadable = read(stamps)
    faults = [*log.faults, *unreadable, *log.unfinished(), *log.too_many_starts()]
    if log.law != law:
        faults.append(f"by the log other things were asked: {log.law}")
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
        found = excess(begun, rate.starts / rate.seconds)
        figures[f"{queue}: starts by stamps"] = len(begun)
        figures[f"{queue}: most beyond the rate"] = round(found, 2)
        if found > rate.burst + 1 + rate.starts / rate.seconds * LATE:
            faults.append(f"queue {queue}: {found:.1f} commands more than {rate.starts}/s began, {rate.burst} may")
    for resource, pieces in law.pieces.items():
        for piece in sorted(pieces):
            users = [run for run in runs if piece in run.pieces]
            figures[f"{resource} {piece}: commands"] = len(users)
            if most(users) > 1:
                faults.append(f"{resource} {piece}: {most(users)} commands had it at the same time")
    found_in_pauses, figures_of_pauses = during(pauses, runs, log)
    faults += found_in_pauses
    if timeout is not None:
        faults += too_soon(pauses, log, timeout)
        lasted = [run for run in runs if run.shown[-1] == "E" and run.last - run.began > timeout * 1e9]
        figures["completed after more than their timeout"] = len(lasted)
    return faults, figures | figures_of_pauses


def during(pauses: Sequence[Pause], runs: Sequence[Run], log: Log) -> tuple[list[str], dict[str, int | float]]:
    """What began in a pause, or went on in one that suspends, and figures."""
    faults: list[str] = []
    latest, stopped = 0.0, 0
    completed = {(claim.job, claim.number) for claim in log.claims if claim.outcome == "completed"}
    for pause, run in product(pauses, runs):
        if pause.queue not in (None, log.queues.get(run.job)):
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
    return faults, {
        "pauses": len(pauses),
        "latest start after a pause, ms": round(latest, 1),
        "stopped by pauses": stopped,
    }


def too_soon(pauses: Sequence[Pause], log: Log, timeout: float) -> Iterator[str]:
    """Attempts that ran into their timeout though they had not had that time: while one is stopped, none passes."""
    for claim in log.claims:
        if claim.cause != "timeout":
            continue
        had = (claim.ended - claim.at) / 1e6
        for pause in pauses:
            if pause.suspends and pause.queue in (None, claim.queue):
                began, ended = pause.began / 1e9 + LATE, pause.ended / 1e9
                had -= max(0.0, min(ended, claim.ended / 1e6) - max(began, claim.at / 1e6))
        if had < timeout:
            yield f"job {claim.job}, attempt {claim.number}: ran into its timeout after {had:.2f} s"


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
