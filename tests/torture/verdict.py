"""The comparison of the marks that jobs wrote with the log.

Every attempt appends marks to one file: `S` when it starts, `T` now and then while it works, `E` when it ends, each
with the job, the attempt's number and the moment. An attempt that was killed has no `E`; whatever it wrote must lie
between its claim and its outcome in the log, and before the first mark of the next attempt.
"""

import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from projections.jobs import FINAL
from queuectl import Queue
from queuectl.engines.sqlite.location import locate
from queuectl.events import (
    Cancelled,
    CancelRequested,
    Claimed,
    Completed,
    Dead,
    Enqueued,
    Failed,
    Interrupted,
    Recorded,
    Released,
    Retried,
)
from queuectl.host import processes, procfs
from queuectl.workers.execution import traces

Figure = int | float | str
Figures = dict[str, Figure]
Run = Callable[[int, bool], Figures]
"""`run(seed, full)`: does it, raises Breach, and returns what it measured."""


class Breach(AssertionError):
    """A promise was broken: a line for each time it was seen."""

    def __init__(self, faults: list[str], figures: Figures) -> None:
        shown = "\n  ".join(faults[:50])
        super().__init__(f"{len(faults)} faults (figures: {figures}):\n  {shown}")
        self.faults = faults


class Mark(NamedTuple):
    """A line that a job wrote."""

    kind: str
    job: str
    attempt: int
    at: int
    """Microseconds UTC, read just before it was written."""
    place: int
    """Its line in the file: what was written first stands first."""


class Attempt(NamedTuple):
    """What the log says of one attempt. Moments are microseconds UTC."""

    number: int
    claimed_at: int
    outcome: Recorded
    cause: str | None


Marks = dict[tuple[str, int], list[Mark]]


def read_marks(path: Path) -> tuple[Marks, list[str]]:
    """The marks of each attempt in the order of the file, and a fault for each line that can't be read."""
    marks: Marks = defaultdict(list)
    faults: list[str] = []
    text = path.read_bytes() if path.exists() else b""
    for place, line in enumerate(text.splitlines()):
        match line.split(b" "):
            case [kind, job, attempt, at] if kind in (b"S", b"T", b"E") and attempt.isdigit() and at.isdigit():
                mark = Mark(kind.decode(), job.decode(), int(attempt), int(at), place)
                marks[mark.job, mark.attempt].append(mark)
            case _:
                faults.append(f"marks, line {place + 1}: can't be read: {line!r}")
    return marks, faults


def judge(queue: Queue, path: Path, acknowledged: Iterable[str]) -> tuple[list[str], Figures]:
    """Every fault that log and marks show once nothing is left to do, and what was counted."""
    marks, faults = read_marks(path)
    streams: dict[str, list[Recorded]] = defaultdict(list)
    kinds: dict[str, int] = defaultdict(int)
    last = 0
    for record in queue.events():
        kinds[record.type] += 1
        if record.seq <= last:
            faults.append(f"seq {record.seq} comes after {last}")
        last = record.seq
        if record.stream.startswith("job:"):
            streams[record.subject].append(record)
    faults += [f"job {id}: acknowledged, but not in the log" for id in acknowledged if id not in streams]
    known: set[tuple[str, int]] = set()
    overlaps = lost = vain = 0
    for id, records in streams.items():
        attempts, broken = life(id, records)
        faults += broken
        known |= {(id, attempt.number) for attempt in attempts}
        ran = {attempt.number for attempt in attempts if attempt.outcome.type != "released"}
        for attempt in attempts:
            shared = attempt.outcome.type == "released" and attempt.number in ran  # the number was given back
            written = marks.get((id, attempt.number), []) if not shared else []
            faults += compare(id, attempt, written)
            if attempt.cause == "lost":
                lost += 1
                vain += any(mark.kind == "E" for mark in written)
        numbers = dict.fromkeys(attempt.number for attempt in attempts)
        found = [marks[id, number] for number in numbers if (id, number) in marks]
        for earlier, later in pairwise(found):
            if max(m.place for m in earlier) > later[0].place or max(m.at for m in earlier) > later[0].at:
                overlaps += 1
                faults.append(f"job {id}: attempts {earlier[0].attempt} and {later[0].attempt} ran at the same time")
    faults += [f"job {job}: attempt {number} ran, but was never claimed" for job, number in set(marks) - known]
    for job in queue.jobs():
        if job.state not in FINAL:
            faults.append(f"job {job.id}: is left {job.state}")
    faults += [f"check: {line}" for line in queue.check()]
    figures: Figures = {
        "jobs": len(streams),
        "events": sum(kinds.values()),
        "attempts": kinds["claimed"],
        "attempts that ran": len(marks),
        **{kind: kinds[kind] for kind in KINDS},
        "lost": lost,
        "lost, though they ran to their end": vain,
        "overlaps": overlaps,
    }
    return faults, figures


KINDS = ("completed", "failed", "released", "interrupted", "dead", "cancelled", "worker_lost")
"""The types of events that are counted."""


def life(id: str, records: list[Recorded]) -> tuple[list[Attempt], list[str]]:
    """The attempts of one job by its stream alone, and every fault of that stream."""
    faults: list[str] = []
    attempts: list[Attempt] = []
    open_claim: tuple[int, int] | None = None
    owed = False  # a failed must be followed by what becomes of the job
    number = failures = 0
    policy: Enqueued | None = None
    over = False

    def fault(what: str) -> None:
        faults.append(f"job {id}: {what}: {' '.join(f'{r.version}:{r.type}' for r in records)}")

    for version, record in enumerate(records, 1):
        if record.version != version:
            fault(f"version {record.version} stands where {version} should")
        event = record.event
        if over:
            fault(f"{record.type} after its end")
        if owed != isinstance(event, Retried | Dead):
            fault(f"{record.type} out of place")
        owed = False
        match event:
            case Enqueued():
                if policy is not None:
                    fault("enqueued twice")
                policy = event
            case Claimed():
                if open_claim is not None:
                    fault(f"attempt {event.attempt} is claimed while {open_claim[0]} is held")
                if event.attempt != number + 1:
                    fault(f"attempt {event.attempt} follows {number}")
                number = event.attempt
                open_claim = number, record.at
            case Completed() | Failed() | Released() | Interrupted() | Cancelled():
                if isinstance(event, Cancelled) and event.attempt is None and open_claim is None:
                    over = True
                elif isinstance(event, Cancelled) and event.attempt is None:
                    fault("cancelled while it is held, without the attempt")
                elif open_claim is None or open_claim[0] != event.attempt:
                    fault(f"outcome {record.type} of attempt {event.attempt}, which is not held")
                else:
                    cause = event.cause if isinstance(event, Failed) else None
                    attempts.append(Attempt(open_claim[0], open_claim[1], record, cause))
                    open_claim = None
                    over = isinstance(event, Completed | Cancelled)
                    owed = isinstance(event, Failed)
                    failures += owed
                    number -= isinstance(event, Released)  # which gives its number back
            case Dead():
                over = True
                lost = (
                    bool(attempts) and attempts[-1].cause == "lost" and policy is not None and policy.on_lost == "dead"
                )
                if policy is not None and failures <= policy.max_retries and not lost:
                    fault(f"dead after {failures} failures of {policy.max_retries + 1}")
            case Retried():
                if policy is not None and failures > policy.max_retries:
                    fault(f"retried after {failures} failures of {policy.max_retries + 1}")
            case CancelRequested():
                pass
            case _:
                fault(f"{record.type} was not expected here")
    if policy is None:
        fault("was never enqueued")
    if open_claim is not None:
        fault(f"attempt {open_claim[0]} has no outcome")
    return attempts, faults


def compare(id: str, attempt: Attempt, marks: list[Mark]) -> Iterator[str]:
    """What the marks of one attempt say against the log."""
    outcome = attempt.outcome
    who = f"job {id}, attempt {attempt.number} ({outcome.type}{f', {attempt.cause}' if attempt.cause else ''})"
    kinds = [mark.kind for mark in marks]
    shown = "".join(kinds)
    if kinds.count("S") > 1 or kinds.count("E") > 1:
        yield f"{who}: was started twice under one number: {shown}"
    if marks and kinds[0] != "S":
        yield f"{who}: marks without a start: {shown}"
    if outcome.type == "released" and marks:
        yield f"{who}: ran, though it was given back unstarted: {shown}"
    if outcome.type == "completed" and not (kinds.count("S") == kinds.count("E") == 1):
        yield f"{who}: not done by its own account: {shown or 'nothing'}"
    if marks and marks[0].at < attempt.claimed_at:
        yield f"{who}: began {attempt.claimed_at - marks[0].at} µs before its claim"
    # What left the group of a command that its worker saw failing is ended before the next attempt, no sooner.
    lenient = outcome.type == "cancelled" or (outcome.type == "failed" and attempt.cause != "lost")
    if not lenient and (late := [mark for mark in marks if mark.at > outcome.at]):
        yield f"{who}: wrote {len(late)} marks up to {late[-1].at - outcome.at} µs after its outcome"


def names(queue: Queue, words: bytes) -> bool:
    """Whether a command line has the queue's URL in it, whatever the order of its parameters, and with others too."""
    return all(part in words for part in re.split(rb"[?&]", queue.url.encode()))


def processes_of(queue: Queue, identity: str) -> Iterator[tuple[int, bytes]]:
    """Other processes of the queue that live, with their command lines: tagged, or with its database in these words."""
    tag = f"{traces.TAG}={identity}:".encode()
    for pid in procfs.pids():
        if pid == os.getpid() or processes.state(pid) in (None, "Z", "X"):
            continue
        try:
            environ = Path(f"/proc/{pid}/environ").read_bytes()
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        if any(part.startswith(tag) for part in environ.split(b"\0")) or names(queue, words):
            yield pid, words


def leftover_processes(queue: Queue, identity: str) -> list[str]:
    """Those that still run, in words."""
    return [
        f"process {pid} is left: {words.replace(bytes(1), b' ').decode(errors='replace')[:200]}"
        for pid, words in processes_of(queue, identity)
    ]


def leftover_files(queue: Queue) -> list[str]:
    """Lock files and FIFOs without a process. Ring once before: that removes the FIFOs of dead listeners."""
    found = [f"lock file {name!r} is left" for name in sorted(os.listdir(queue.home.workers))]
    if queue.engine.files:
        found += [f"bell {name!r} is left" for name in sorted(os.listdir(locate(queue.url).bells))]
    return found
