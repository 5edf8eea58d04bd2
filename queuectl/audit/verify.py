"""Verifying that the log is what was sealed; if not, which event was changed, removed or added (R23).

The log, its leaves and the seals are read side by side, in pages. From seal to seal the chain is followed in two ways:
by the stored leaves, and by leaves computed from the events. Where an event does not match its leaf, the chain that
leads to the seal shows which of the two was changed.
"""

from array import array
from collections.abc import Iterator, Sequence

import msgspec

from queuectl import engines
from queuectl.audit.leaves import START, chain, leaf, page
from queuectl.audit.seal import STREAM, Seal, read_seal
from queuectl.audit.verdict import MOST, AuditFinding, Ranges, Verdict, events
from queuectl.audit.verify_archives import Tombstones, verify_archives
from queuectl.engines.base import Progress
from queuectl.engines.view import Filter, Leaf
from queuectl.errors import Invalid
from queuectl.events import Newer, Recorded, Unreadable
from queuectl.queries import Queries


class Anchor(msgspec.Struct, frozen=True, order=True):
    """A seal as it was noted outside of the queue."""

    upto: int
    hash: str


class Mismatch(msgspec.Struct, frozen=True):
    """An event that does not match its leaf, or has none; the next seal decides which of the two is wrong."""

    record: Recorded
    leaf_missing: bool
    """Whether there is no leaf, rather than another one."""


class Chain:
    """The hash chains up to an event, from the first leaf on and, should that be broken, from the last seal on."""

    def __init__(self) -> None:
        self.by_leaves: bytes = START
        self.by_events: bytes = START
        """By the stored leaves; by leaves computed from the events, where there are events."""
        self._leaves_from_seal: bytes = START
        self._events_from_seal: bytes = START
        """The same from the last seal on."""

    def extend(self, leaves: list[bytes], events: list[bytes]) -> None:
        """Extend the chains. Nearly always all four are equal, and computed once."""
        made: dict[tuple[bytes, bool], bytes] = {}
        apart = leaves != events

        def after(link: bytes, by_events: bool) -> bytes:
            key = (link, by_events and apart)
            if key not in made:
                made[key] = chain(link, events if by_events else leaves)
            return made[key]

        self.by_leaves, self.by_events = after(self.by_leaves, False), after(self.by_events, True)
        self._leaves_from_seal, self._events_from_seal = (
            after(self._leaves_from_seal, False),
            after(self._events_from_seal, True),
        )

    def match(self, claimed: bytes) -> str | None:
        """Return which chain leads to a seal, `leaves` or `events`, or None; continue from the seal."""
        way = None
        if claimed in (self.by_events, self._events_from_seal):
            way = "events"
        if claimed in (self.by_leaves, self._leaves_from_seal):
            way = "leaves"
        if claimed in (self.by_leaves, self.by_events):
            self.by_leaves = self.by_events = claimed
        self._leaves_from_seal = self._events_from_seal = claimed
        return way


class LogVerification:
    """One pass over the log, its leaves and its seals."""

    def __init__(self, queue: Queries, anchors: Sequence[Anchor], verdict: Verdict, progress: Progress | None) -> None:
        self._engine = queue.engine
        self._verdict = verdict
        self._progress = progress
        with self._engine.snapshot() as view:
            self.end = max(view.head()[0], view.highest_seq())
            """The seq of the last event there is, or was."""
        self._anchors = sorted(anchors)
        self._sealed: set[int] = set()
        """The anchors that have a seal in the log, or a finding."""
        self._seals = self._all_seals()
        self._next: Seal | None = None
        self._chain = Chain()
        self._mismatches: list[Mismatch] = []
        self._more_mismatches = 0
        """The number beyond those."""
        self._leaf_count = self._event_count = self._absent = 0
        """Since the last seal: stored leaves, leaves there should be, events missing without a leaf."""
        self.absent = array("q")
        """Seqs that have a leaf and are not in the log."""
        self.leafless = Ranges()
        """Seqs that are neither in the log nor have a leaf."""
        self.tombstones = Tombstones(verdict)

    def run(self) -> None:
        """Read the whole log, and add findings to the verdict."""
        self._check_low_numbers()
        at = 0
        anchors = iter(self._anchors)
        anchor = next(anchors, None)
        self._next = next(self._seals, None)
        while True:
            mark = min(self._next.upto if self._next else self.end, anchor.upto if anchor else self.end, self.end)
            while at < mark:
                at = self._read_page(at, mark)
                if self._progress is not None:
                    self._progress(at, self.end)
            while anchor is not None and anchor.upto == at:
                self._check_anchor(anchor)
                anchor = next(anchors, None)
            while self._next is not None and self._next.upto <= at:
                self._check_seal(self._next, at)
                self._next = next(self._seals, None)
            if at >= self.end:
                break
        self._report_mismatches(None)
        while anchor is not None:
            what = f"the log ends with event {self.end:,}, before anchor {anchor.upto}: the rest was removed"
            self._verdict.add(AuditFinding("anchor", what, anchor.upto))
            self._sealed.add(anchor.upto)
            anchor = next(anchors, None)
        for upto in sorted({each.upto for each in self._anchors} - self._sealed - {0}):
            what = f"the seal up to event {upto:,}, of which there is an anchor, is not in the log: it was removed"
            self._verdict.add(AuditFinding("anchor", what, upto))

    def _check_low_numbers(self) -> None:
        """Report events and leaves with a seq below 1: they were added by hand."""
        with self._engine.snapshot() as view:
            records = view.events(after=None, upto=0, limit=MOST)
            leaves = view.leaves(after=None, upto=0, limit=MOST)
        for record in records:
            self._verdict.add(AuditFinding("added", f"{_name(record)} was put in", record.seq))
        for each in leaves:
            self._verdict.add(AuditFinding("leaf", f"the leaf of event {each.seq:,} was put in", each.seq))

    def _read_page(self, at: int, upto: int) -> int:
        """Verify a page; returns the seq with which it ends."""
        with self._engine.snapshot() as view:
            found = page(view, at, upto)
        made = [leaf(record) for record in found.records]
        self._verdict.events += len(made)
        if self._next is None:
            self._verdict.unsealed += len(made)
            self._check_readable(found.records)
        for record in found.records:
            if record.type == "archived":
                self.tombstones.add(record, sealed=self._next is not None)
        if made == found.leaves:
            hashes = [each.hash for each in made]
            self._extend_chain(hashes, hashes)
            seqs = [each.seq for each in made]
        else:
            seqs = self._compare_with_leaves(found.records, made, found.leaves)
        if len(seqs) < found.end - at:
            self._add_gaps(seqs, at, found.end)
        return found.end

    def _check_readable(self, records: list[Recorded]) -> None:
        """Report unsealed events that can't be read. (Tombstones and seals are read elsewhere.)"""
        for record in records:
            try:
                if record.type not in ("archived", "sealed"):
                    _ = record.event
            except Newer:
                pass
            except (Unreadable, TypeError, KeyError) as error:
                self._verdict.add(AuditFinding("changed", f"{_name(record)} can't be read: {error}", record.seq))

    def _extend_chain(self, leaves: list[bytes], events: list[bytes]) -> None:
        self._leaf_count += len(leaves)
        self._event_count += len(events)
        self._chain.extend(leaves, events)

    def _compare_with_leaves(self, records: list[Recorded], made: list[Leaf], leaves: list[Leaf]) -> list[int]:
        """Compare each event with its leaf; returns the seqs that have either."""
        stored = {each.seq: each for each in leaves}
        expected = stored | {each.seq: each for each in made}
        here = {record.seq: record for record in records}
        seqs = sorted(expected)
        for seq in seqs:
            record = here.get(seq)
            if record is None:
                self.absent.append(seq)
            elif seq not in stored:
                if self._next is not None:
                    self._add_mismatch(record, leaf_missing=True)
            elif stored[seq].hash != expected[seq].hash:
                self._add_mismatch(record, leaf_missing=False)
            elif stored[seq].at != expected[seq].at:
                what = f"the leaf of event {seq:,} names another moment than the event: it was changed"
                self._verdict.add(AuditFinding("leaf", what, seq))
        self._extend_chain([each.hash for each in leaves], [expected[seq].hash for seq in seqs])
        return seqs

    def _add_mismatch(self, record: Recorded, *, leaf_missing: bool) -> None:
        if len(self._mismatches) < MOST:
            self._mismatches.append(Mismatch(record, leaf_missing))
        else:
            self._more_mismatches += 1

    def _add_gaps(self, seqs: list[int], at: int, end: int) -> None:
        for seq in [*seqs, end + 1]:
            if seq > at + 1:
                self.leafless.add(at + 1, seq - 1)
                self._absent += seq - 1 - at
            at = seq

    # -- seals -------------------------------------------------------------------------------------------------------

    def _all_seals(self) -> Iterator[Seal]:
        """Yield every readable seal, in order."""
        after = version = 0
        while True:
            with self._engine.snapshot() as view:
                records = view.events(after=after, upto=self.end, limit=100, where=Filter(streams=(STREAM,)))
            if not records:
                return
            for record in records:
                if record.version > version + 1:
                    what = f"{record.version - version - 1} of the seals before event {record.seq:,} were removed"
                    self._verdict.add(AuditFinding("seal", what, record.seq))
                version = record.version
                self._verdict.seals += 1
                try:
                    yield read_seal(record)
                except Unreadable as error:
                    what = f"the seal in event {record.seq:,} was changed: {error}"
                    self._verdict.add(AuditFinding("seal", what, record.seq))
            after = records[-1].seq

    def _check_seal(self, seal: Seal, at: int) -> None:
        """Compare what was read since the last seal with this one."""
        before = self._verdict.seal
        if seal.upto < at:
            what = f"the seal in event {seal.seq:,} reaches up to {seal.upto:,}, less far than the one before"
            self._verdict.add(AuditFinding("seal", what, seal.seq))
            return
        self._sealed.add(seal.upto)
        way = self._chain.match(bytes.fromhex(seal.hash))
        self._report_mismatches(way)
        if way is None:
            self._verdict.add(AuditFinding("seal", self._seal_mismatch(seal, before), seal.seq))
        elif before.events + (self._leaf_count if way == "leaves" else self._event_count) != seal.events:
            what = f"the seal in event {seal.seq:,} counts {events(seal.events)}, which is wrong: it was changed"
            self._verdict.add(AuditFinding("seal", what, seal.seq))
        self._leaf_count = self._event_count = self._absent = 0
        self._verdict.seal = seal

    def _seal_mismatch(self, seal: Seal, before: Seal) -> str:
        which = f"{before.upto + 1:,}-{seal.upto:,}" if seal.upto > before.upto else f"up to {seal.upto:,}"
        what = f"the leaves of events {which} do not lead to the seal in event {seal.seq:,}"
        if self._absent:
            return f"{what}: {self._absent:,} of them {'is' if self._absent == 1 else 'are'} gone"
        return f"{what}: some were changed, removed or put in, or the seal was changed"

    def _report_mismatches(self, way: str | None) -> None:
        """Report the mismatches since the last seal; `way` is the chain that leads to it."""
        for mismatch in self._mismatches:
            self._verdict.add(_mismatch_finding(mismatch, way))
        self._verdict.more += self._more_mismatches
        self._mismatches.clear()
        self._more_mismatches = 0

    def _check_anchor(self, anchor: Anchor) -> None:
        if bytes.fromhex(anchor.hash) not in (self._chain.by_leaves, self._chain.by_events):
            what = f"the log up to event {anchor.upto:,} is not the one that was sealed: its anchor does not fit"
            self._verdict.add(AuditFinding("anchor", what, anchor.upto))
            self._sealed.add(anchor.upto)


def _name(record: Recorded) -> str:
    return f"event {record.seq:,} ({record.type} of {record.stream})"


def _mismatch_finding(mismatch: Mismatch, way: str | None) -> AuditFinding:
    record = mismatch.record
    name = _name(record)
    match way, mismatch.leaf_missing:
        case "leaves", False:
            return AuditFinding("changed", f"{name} was changed", record.seq)
        case "leaves", True:
            return AuditFinding("added", f"{name} was put in", record.seq)
        case "events", False:
            return AuditFinding("leaf", f"the leaf of {name} was changed; the event is as it was sealed", record.seq)
        case "events", True:
            return AuditFinding("leaf", f"the leaf of {name} was removed; the event is as it was sealed", record.seq)
        case _, False:
            return AuditFinding("changed", f"{name} does not fit its leaf: it was changed, or its leaf", record.seq)
        case _:
            return AuditFinding("added", f"{name} has no leaf: it was put in, or its leaf removed", record.seq)


class AuditedQueue(Queries):
    """A queue whose log is to be verified; opens whatever was done to the log. A context manager."""

    def __init__(self, url: str) -> None:
        """Raises Unusable where the database can't be read, Absent where there is none, Invalid for a bad URL."""
        self._engine = engines.connect(url, create=False, healing=False)
        self.logs = self.home.logs


def verify(
    queue: Queries,
    anchors: Sequence[Anchor] = (),
    archives: Sequence[str] = (),
    progress: Progress | None = None,
    *,
    allow_missing_archives: bool = False,
) -> Verdict:
    """Compare the log with its seals and with anchors kept elsewhere, and archived events with their leaves.

    `archives` are files to read instead of the paths that archives were written to. A missing archive, whose events
    can't be verified, is an error unless `allow_missing_archives`. Raises Invalid where one of `archives` is the
    queue's own, Unusable where the database can't be read.
    """
    if own := [path for path in archives if queue.engine.owns(path)]:
        raise Invalid(f"{own[0]} is the queue itself, no archive")
    verdict = Verdict(allows_missing=allow_missing_archives)
    log = LogVerification(queue, anchors, verdict, progress)
    log.run()
    verify_archives(queue, log.end, log.absent, log.leafless, log.tombstones, archives, verdict)
    _check_completeness(queue, verdict)
    return verdict


def _check_completeness(queue: Queries, verdict: Verdict) -> None:
    """Report a log that lacks acknowledged events, or of which the tables can't be built."""
    least = queue.engine.acknowledged()  # before the head is read: others go on writing
    with queue.engine.snapshot() as view:
        head, projections = view.head()[0], view.projection_statuses()
    late = any(each.source is None and each.seq != head for each in projections)
    if head < least:
        what = f"the log ends with event {head:,}, but {least:,} were acknowledged: the rest was removed"
        verdict.add(AuditFinding("log", what, head))
    if late:  # otherwise opening the queue would fail
        try:
            queue.engine.check()
        except Exception as error:  # noqa: BLE001 - whatever it is, the log is at fault
            verdict.add(AuditFinding("log", f"the tables can't be made of the log: {error}"))
