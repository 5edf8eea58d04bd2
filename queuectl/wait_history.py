"""What a job has waited for, from the log alone: after each event the first of the reasons that kept it (R30).

The time to the next event belongs to that reason, or the time until it ends by itself. What the log does not tell is no
reason: how much of the disk was free, and that a worker was gone before that was found.
"""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from projections import Change
from projections.jobs import Job, evolve
from queuectl.admission import UNSTARTED, Reason, first
from queuectl.admission_facts import collect, collect_early
from queuectl.clock import SECOND, text
from queuectl.engines.base import Engine, Progress
from queuectl.engines.view import Rerun, View
from queuectl.events import Archived, Enqueued, Held, Recorded, Released
from queuectl.history import own_events
from queuectl.units import listed
from queuectl.wait_changes import RESOURCE, Watch, place

FOLDED = ("jobs", "counts", "workers", "queues", "starts", "resources", "grants")
"""The projections that the reasons are asked of."""

PAGE = 1000
NEVER = 1 << 62

READY = Reason(kind="ready", text="nothing in the log kept it")
"""Stands for no reason: a worker was about to claim it, or what kept it is not in the log."""


class WaitSpan(msgspec.Struct, frozen=True):
    """A time for which one reason was the first. Moments are µs UTC."""

    attempt: int
    """The number of the attempt that was waited for."""
    since: int
    until: int
    reason: Reason
    """As it was in the beginning; its `behind` are all that were in the way."""

    def json(self) -> dict[str, Any]:
        """The document."""
        when = {"attempt": self.attempt, "since": text(self.since), "until": text(self.until)}
        return when | {"seconds": (self.until - self.since) / SECOND} | _json(self.reason)


class WaitTotal(msgspec.Struct, frozen=True):
    """For how long (µs) one reason was the first, in all."""

    time: int
    reason: Reason
    """As it was the first time; its `behind` are all that were in the way."""

    def json(self) -> dict[str, Any]:
        """The document."""
        return {"seconds": self.time / SECOND} | _json(self.reason)


class WaitHistory(msgspec.Struct, frozen=True):
    """What a job has waited for so far: before each of its attempts, in the order of time."""

    id: str
    state: str
    """That of the job now; `purged`."""
    waits: bool
    """Whether it waits now."""
    spans: list[WaitSpan]
    archived: int
    """How many other jobs were there meanwhile of which the log has no events any more."""

    @property
    def waited(self) -> int:
        """For how long it has waited, in µs."""
        return sum(span.until - span.since for span in self.spans)

    def totals(self) -> list[WaitTotal]:
        """The time for each reason, the longest first."""
        spans: dict[Any, list[WaitSpan]] = {}
        for span in self.spans:
            spans.setdefault(span.reason.key, []).append(span)
        totals = [
            WaitTotal(sum(span.until - span.since for span in of), joined([span.reason for span in of]))
            for of in spans.values()
        ]
        return sorted(totals, key=lambda total: -total.time)

    def json(self) -> dict[str, Any]:
        """The document of `explain --history --json`."""
        return {
            "id": self.id,
            "state": self.state,
            "waited": self.waited / SECOND,
            "reasons": [total.json() for total in self.totals()],
            "spans": [span.json() for span in self.spans],
            "archived": self.archived,
        }


def gist(reason: Reason) -> str:
    """A reason in words that hold for all of its time."""
    jobs = listed(reason.behind)
    match reason.kind:
        case "concurrency":
            return f"the queue {reason.about} runs as many jobs as it may"
        case "dependency":
            return f"it starts after {jobs}"
        case "resource":
            return f"the resource {reason.about} is held by {jobs}" if jobs else f"there is too little {reason.about}"
        case "reserved":
            return f"{reason.about} is kept for {jobs}"
        case "busy":
            return f"all slots that serve the queue {reason.about} are taken"
        case "priority":
            return f"others start before it: {jobs}"
        case _:
            return reason.text


def _json(reason: Reason) -> dict[str, Any]:
    found = {"kind": reason.kind, "text": gist(reason), "about": reason.about, "behind": reason.behind}
    return found | {"by": reason.by, "why": reason.why}


def joined(reasons: Sequence[Reason]) -> Reason:
    """The first of these reasons, which have the same key, with the jobs in the way of all."""
    return replace(reasons[0], behind=tuple(dict.fromkeys(job for reason in reasons for job in reason.behind)))


def wait_history(engine: Engine, id: str, progress: Progress | None = None) -> WaitHistory:
    """What a job has waited for. Raises NotFound where the log has not its events.

    The log is folded up to the job's enqueue, then gone through to its last start, transaction by transaction.
    """
    with engine.snapshot() as view:
        records = own_events(view, id)
        job = enqueued = evolve(None, records[0], records[0].event)
        assert enqueued is not None, "the first event of a job makes it"
        (head, at), begin = view.head(), records[0].seq - 1
        upto, since = begin, records[0].at
        for record in records[1:]:
            before, job = job, evolve(job, record, record.event)
            if _waits(job) and not _waits(before):
                since = record.at
            elif _waits(before) and not _waits(job) and record.at > since:  # else it died in the same transaction
                upto = record.seq
        upto = head if _waits(job) else upto
        archived = _archived(view, begin, upto)
    with engine.rerun(begin, upto, FOLDED, progress) as rerun:
        spans = Accountant(enqueued, rerun).account(max(engine.now(), at))
    return WaitHistory(id, job.state if job is not None else "purged", _waits(job), spans, archived)


def _waits(job: Job | None) -> bool:
    return job is not None and job.state in UNSTARTED


def _archived(view: View, after: int, upto: int) -> int:
    """How many jobs that were there between two events have left the log."""
    count, last = 0, after
    while page := view.tombstones(after=last, limit=PAGE):
        for record in page:
            event = record.event
            if record.stream.startswith("job:") and isinstance(event, Archived):
                count += event.passed[0].seq <= upto and event.passed[-1].seq > after
        last = page[-1].seq
    return count


class Accountant:
    """Takes a queue forward through the log, from before a job was enqueued, and notes what the job waits for."""

    def __init__(self, enqueued: Job, rerun: Rerun) -> None:
        """`enqueued`: the job as it was then."""
        self._rerun = rerun
        self._stream = f"job:{enqueued.id}"
        self._job: Job | None = None
        self._watch = Watch(enqueued, rerun.view)
        self._reason: Reason | None = None
        self._at = 0
        """The moment (µs UTC) up to which all is noted."""
        self._spans: list[_Span] = []
        self._held_by: Recorded | None = None
        self._postponed_by: Recorded | None = None

    def account(self, until: int) -> list[WaitSpan]:
        """The spans of the job's waits, the last one to `until` (µs UTC) where it waits at the end."""
        for changes in self._rerun:
            at = changes[0].record.at
            self._pass(at)
            self._rerun.take(changes)
            self._consider(changes, at)
        self._pass(until)
        return [span.done() for span in self._spans]

    def _pass(self, at: int) -> None:
        """Note the time to a moment, in which nothing happens but what happens by itself."""
        while _waits(self._job) and self._at < (ends := self._ends()) < at:
            self._note(ends)
            self._reason = self._first(ends)
        self._note(at)

    def _ends(self) -> int:
        """When the reason ends by itself, as far as that is known."""
        reason = self._reason
        return reason.when if reason is not None and reason.when is not None and not reason.estimated else NEVER

    def _note(self, at: int) -> None:
        """The reason has held up to this moment."""
        since, self._at = self._at, at
        if self._job is None or self._job.state not in UNSTARTED or since == at:
            return
        reason, attempt = self._reason or READY, self._job.attempt + 1
        last = self._spans[-1] if self._spans else None
        if last is None or (last.attempt, last.until, last.reason.key) != (attempt, since, reason.key):
            self._spans.append(last := _Span(attempt, since, at, reason))
        last.until = at
        last.behind |= dict.fromkeys(reason.behind)

    def _consider(self, changes: Sequence[Change], at: int) -> None:
        """Ask for the first reason after a transaction, where it may be another one."""
        earliest = self._watch.earliest(changes)
        own = [change for change in changes if change.record.stream == self._stream]
        if own:
            self._follow(own)
        if _waits(self._job) and (own or earliest <= place(self._reason) or self._ends() <= at):
            self._reason = self._first(at)

    def _follow(self, own: Sequence[Change]) -> None:
        before, self._job = self._job, own[-1].after
        for change in own:
            if isinstance(change.event, Enqueued | Held):
                self._held_by = change.record
            elif isinstance(change.event, Released):
                self._postponed_by = change.record
        if self._job is not None and before is not None and _lane(self._job) != _lane(before):
            self._watch = Watch(self._job, self._rerun.view)

    def _first(self, now: int) -> Reason | None:
        """The first reason at a moment, with the queue as it is after what was taken."""
        job, view = self._job, self._rerun.view
        assert job is not None, "it waits"
        holds = {job.id: self._held_by} if self._held_by is not None else {}
        releases = {job.id: self._postponed_by} if self._postponed_by is not None else {}
        early = first(job, replace(collect_early(view, job), holds=holds, releases=releases), now)
        if early is not None and place(early) <= RESOURCE:
            return early
        return first(job, collect(view, None, None, now), now)


class _Span(msgspec.Struct):
    """A span that is not over, with all jobs that were in the way so far."""

    attempt: int
    since: int
    until: int
    reason: Reason
    behind: dict[str, None] = {}

    def done(self) -> WaitSpan:
        return WaitSpan(self.attempt, self.since, self.until, replace(self.reason, behind=tuple(self.behind)))


def _lane(job: Job) -> tuple[str, str]:
    return job.queue, job.demand
