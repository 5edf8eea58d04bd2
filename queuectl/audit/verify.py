"""Verifying: whether the log is what was sealed, and if not, which event was changed, removed or put in (R23).

The log, its leaves and the seals are read side by side, in pages. From seal to seal the chain is followed in two ways:
by the leaves as they are kept, and by the leaves that the events have now. Where an event does not fit its leaf, the
way that leads to the seal tells which of the two was changed.
"""

from array import array
from collections.abc import Iterator, Sequence

import msgspec

from queuectl import engines
from queuectl.audit.leaves import START, chain, leaf, page
from queuectl.audit.seal import STREAM, Seal, read_seal
from queuectl.audit.verdict import MOST, Finding, Ranges, Verdict, events
from queuectl.audit.verify_archives import Tombstones, exhume
from queuectl.engines.base import Progress
from queuectl.engines.view import Filter, Leaf
from queuectl.errors import Invalid
from queuectl.events import Newer, Recorded, Unreadable
from queuectl.queries import Reading


class Anchor(msgspec.Struct, frozen=True, order=True):
    """What was noted of a seal outside of the queue."""

    upto: int
    hash: str


class Suspect(msgspec.Struct, frozen=True):
    """An event that does not fit its leaf, or has none: which of the two is wrong, the next seal tells."""

    record: Recorded
    bare: bool
    """It has none."""


class Chain:
    """The chain up to some event, from the first leaf on and, should that be broken, from the last seal on."""

    def __init__(self) -> None:
        self.kept: bytes = START
        self.told: bytes = START
        """By the leaves that are kept; by those that the events have, where there are events."""
        self._kept: bytes = START
        self._told: bytes = START
        """The same from the last seal on."""

    def follow(self, kept: list[bytes], told: list[bytes]) -> None:
        """Go on by some leaves. Nearly always all four are one, and it is done once."""
        made: dict[tuple[bytes, bool], bytes] = {}
        apart = kept != told

        def after(link: bytes, by_events: bool) -> bytes:
            key = (link, by_events and apart)
            if key not in made:
                made[key] = chain(link, told if by_events else kept)
            return made[key]

        self.kept, self.told = after(self.kept, False), after(self.told, True)
        self._kept, self._told = after(self._kept, False), after(self._told, True)

    def settle(self, claimed: bytes) -> str | None:
        """Which way leads to a seal: `kept`, `told` or none. Goes on from the seal."""
        way = None
        if claimed in (self.told, self._told):
            way = "told"
        if claimed in (self.kept, self._kept):
            way = "kept"
        if claimed in (self.kept, self.told):
            self.kept = self.told = claimed
        self._kept = self._told = claimed
        return way


class Walk:
    """One pass over log, leaves and seals."""

    def __init__(self, queue: Reading, anchors: Sequence[Anchor], verdict: Verdict, progress: Progress | None) -> None:
        self._engine = queue.engine
        self._verdict = verdict
        self._progress = progress
        with self._engine.snapshot() as view:
            self.end = max(view.head()[0], view.highest_seq())
            """The seq with which the log ends, or ended."""
        self._anchors = sorted(anchors)
        self._sealed: set[int] = set()
        """Of the anchors, those of which the log has the seal."""
        self._seals = self._all_seals()
        self._next: Seal | None = None
        self._chain = Chain()
        self._suspects: list[Suspect] = []
        self._unnamed = 0
        """Suspects beyond those."""
        self._kept = self._told = self._lost = 0
        """Since the last seal: leaves that are kept, leaves that there should be, events that are gone with theirs."""
        self.absent = array("q")
        """Events that have a leaf and are not in the log."""
        self.gone = Ranges()
        """Events of which not even the leaf is there."""
        self.tombstones = Tombstones(verdict)

    def go(self) -> None:
        """Read all of it, and add to the verdict what is wrong."""
        self._look_before()
        at = 0
        anchors = iter(self._anchors)
        anchor = next(anchors, None)
        self._next = next(self._seals, None)
        while True:
            mark = min(self._next.upto if self._next else self.end, anchor.upto if anchor else self.end, self.end)
            while at < mark:
                at = self._take(at, mark)
                if self._progress is not None:
                    self._progress(at, self.end)
            while anchor is not None and anchor.upto == at:
                self._hold(anchor)
                anchor = next(anchors, None)
            while self._next is not None and self._next.upto <= at:
                self._judge(self._next, at)
                self._next = next(self._seals, None)
            if at >= self.end:
                break
        self._tell_suspects(None)
        while anchor is not None:
            what = f"the log ends with event {self.end:,}, before anchor {anchor.upto}: the rest was removed"
            self._verdict.add(Finding("anchor", what, anchor.upto))
            self._sealed.add(anchor.upto)
            anchor = next(anchors, None)
        for upto in sorted({each.upto for each in self._anchors} - self._sealed - {0}):
            what = f"the seal up to event {upto:,}, of which there is an anchor, is not in the log: it was removed"
            self._verdict.add(Finding("anchor", what, upto))

    def _look_before(self) -> None:
        """No event has a number below 1, unless somebody has put it in."""
        sql = "select seq, {} from {} where seq < 1 order by seq limit :most"
        with self._engine.snapshot() as view:
            records = view.query(sql.format("type, stream", "events"), {"most": MOST})
            leaves = view.query(sql.format("at", "leaves"), {"most": MOST})
        for record in records:
            name = f"event {record['seq']:,} ({record['type']} of {record['stream']})"
            self._verdict.add(Finding("added", f"{name} was put in", record["seq"]))
        for each in leaves:
            self._verdict.add(Finding("leaf", f"the leaf of event {each['seq']:,} was put in", each["seq"]))

    def _take(self, at: int, upto: int) -> int:
        """Go on by a page; gives the seq with which it ends."""
        with self._engine.snapshot() as view:
            found = page(view, at, upto)
        made = [leaf(record) for record in found.records]
        self._verdict.events += len(made)
        if self._next is None:
            self._verdict.unsealed += len(made)
            self._read(found.records)
        for record in found.records:
            if record.type == "archived":
                self.tombstones.add(record, sealed=self._next is not None)
        if made == found.leaves:
            hashes = [each.hash for each in made]
            self._follow(hashes, hashes)
            seqs = [each.seq for each in made]
        else:
            seqs = self._compare(found.records, made, found.leaves)
        if len(seqs) < found.end - at:
            self._note_gaps(seqs, at, found.end)
        return found.end

    def _read(self, records: list[Recorded]) -> None:
        """Look whether events that no seal speaks for can be read at all. (Tombstones and seals are read elsewhere.)"""
        for record in records:
            try:
                if record.type not in ("archived", "sealed"):
                    _ = record.event
            except Newer:
                pass
            except (Unreadable, TypeError, KeyError) as error:
                self._verdict.add(Finding("changed", f"{_name(record)} can't be read: {error}", record.seq))

    def _follow(self, kept: list[bytes], told: list[bytes]) -> None:
        self._kept += len(kept)
        self._told += len(told)
        self._chain.follow(kept, told)

    def _compare(self, records: list[Recorded], made: list[Leaf], leaves: list[Leaf]) -> list[int]:
        """Look at each event beside its leaf; gives the seqs of which there is either."""
        kept = {each.seq: each for each in leaves}
        told = kept | {each.seq: each for each in made}
        here = {record.seq: record for record in records}
        seqs = sorted(told)
        for seq in seqs:
            record = here.get(seq)
            if record is None:
                self.absent.append(seq)
            elif seq not in kept:
                if self._next is not None:
                    self._suspect(record, bare=True)
            elif kept[seq].hash != told[seq].hash:
                self._suspect(record, bare=False)
            elif kept[seq].at != told[seq].at:
                what = f"the leaf of event {seq:,} names another moment than the event: it was changed"
                self._verdict.add(Finding("leaf", what, seq))
        self._follow([each.hash for each in leaves], [told[seq].hash for seq in seqs])
        return seqs

    def _suspect(self, record: Recorded, *, bare: bool) -> None:
        if len(self._suspects) < MOST:
            self._suspects.append(Suspect(record, bare))
        else:
            self._unnamed += 1

    def _note_gaps(self, seqs: list[int], at: int, end: int) -> None:
        for seq in [*seqs, end + 1]:
            if seq > at + 1:
                self.gone.add(at + 1, seq - 1)
                self._lost += seq - 1 - at
            at = seq

    # -- seals -------------------------------------------------------------------------------------------------------

    def _all_seals(self) -> Iterator[Seal]:
        """Every seal that can be read, in order."""
        after = version = 0
        while True:
            with self._engine.snapshot() as view:
                records = view.events(after=after, upto=self.end, limit=100, where=Filter(streams=(STREAM,)))
            if not records:
                return
            for record in records:
                if record.version > version + 1:
                    what = f"{record.version - version - 1} of the seals before event {record.seq:,} were removed"
                    self._verdict.add(Finding("seal", what, record.seq))
                version = record.version
                self._verdict.seals += 1
                try:
                    yield read_seal(record)
                except Unreadable as error:
                    what = f"the seal in event {record.seq:,} was changed: {error}"
                    self._verdict.add(Finding("seal", what, record.seq))
            after = records[-1].seq

    def _judge(self, seal: Seal, at: int) -> None:
        """Hold what was read since the last seal against this one."""
        before = self._verdict.seal
        if seal.upto < at:
            what = f"the seal in event {seal.seq:,} reaches up to {seal.upto:,}, less far than the one before"
            self._verdict.add(Finding("seal", what, seal.seq))
            return
        self._sealed.add(seal.upto)
        way = self._chain.settle(bytes.fromhex(seal.hash))
        self._tell_suspects(way)
        if way is None:
            self._verdict.add(Finding("seal", self._unproven(seal, before), seal.seq))
        elif before.events + (self._kept if way == "kept" else self._told) != seal.events:
            what = f"the seal in event {seal.seq:,} counts {events(seal.events)}, which is wrong: it was changed"
            self._verdict.add(Finding("seal", what, seal.seq))
        self._kept = self._told = self._lost = 0
        self._verdict.seal = seal

    def _unproven(self, seal: Seal, before: Seal) -> str:
        which = f"{before.upto + 1:,}-{seal.upto:,}" if seal.upto > before.upto else f"up to {seal.upto:,}"
        what = f"the leaves of events {which} do not lead to the seal in event {seal.seq:,}"
        if self._lost:
            return f"{what}: {self._lost:,} of them {'is' if self._lost == 1 else 'are'} gone"
        return f"{what}: some were changed, removed or put in, or the seal was changed"

    def _tell_suspects(self, way: str | None) -> None:
        """Say what is wrong with those since the last seal, now that it is known which way leads to it."""
        for suspect in self._suspects:
            self._verdict.add(_told(suspect, way))
        self._verdict.more += self._unnamed
        self._suspects.clear()
        self._unnamed = 0

    def _hold(self, anchor: Anchor) -> None:
        if bytes.fromhex(anchor.hash) not in (self._chain.kept, self._chain.told):
            what = f"the log up to event {anchor.upto:,} is not the one that was sealed: its anchor does not fit"
            self._verdict.add(Finding("anchor", what, anchor.upto))
            self._sealed.add(anchor.upto)


def _name(record: Recorded) -> str:
    return f"event {record.seq:,} ({record.type} of {record.stream})"


def _told(suspect: Suspect, way: str | None) -> Finding:
    record = suspect.record
    name = _name(record)
    match way, suspect.bare:
        case "kept", False:
            return Finding("changed", f"{name} was changed", record.seq)
        case "kept", True:
            return Finding("added", f"{name} was put in", record.seq)
        case "told", False:
            return Finding("leaf", f"the leaf of {name} was changed; the event is as it was sealed", record.seq)
        case "told", True:
            return Finding("leaf", f"the leaf of {name} was removed; the event is as it was sealed", record.seq)
        case _, False:
            return Finding("changed", f"{name} does not fit its leaf: it was changed, or its leaf", record.seq)
        case _:
            return Finding("added", f"{name} has no leaf: it was put in, or its leaf removed", record.seq)


class Accused(Reading):
    """A queue whose log is to be verified: it opens whatever was done to the log. A context manager."""

    def __init__(self, url: str) -> None:
        """Raises Unusable where the database can't be read, Absent where there is none, Invalid for a bad URL."""
        self._engine = engines.connect(url, create=False, healing=False)
        self.logs = self.home.logs


def verify(
    queue: Reading,
    anchors: Sequence[Anchor] = (),
    archives: Sequence[str] = (),
    progress: Progress | None = None,
    *,
    allow_missing_archives: bool = False,
) -> Verdict:
    """Hold the log against its seals, against anchors kept elsewhere, and what was archived against its leaves.

    `archives` are files in which archived events are looked for, instead of where they were written to. That one is not
    here is wrong unless `allow_missing_archives`: what was in it is unproven. Raises Invalid where one of `archives` is
    the queue's own, Unusable where the database can't be read.
    """
    if own := [path for path in archives if queue.engine.owns(path)]:
        raise Invalid(f"{own[0]} is the queue itself, no archive")
    verdict = Verdict(allows_missing=allow_missing_archives)
    walk = Walk(queue, anchors, verdict, progress)
    walk.go()
    exhume(queue, walk.end, walk.absent, walk.gone, walk.tombstones, archives, verdict)
    _look_whole(queue, verdict)
    return verdict


def _look_whole(queue: Reading, verdict: Verdict) -> None:
    """Whether the log still has all that was acknowledged, and the tables can be made of it."""
    least = queue.engine.acknowledged()  # before the log is looked at: others go on writing
    with queue.engine.snapshot() as view:
        head, projections = view.head()[0], view.projection_statuses()
    late = any(each.source is None and each.seq != head for each in projections)
    if head < least:
        what = f"the log ends with event {head:,}, but {least:,} were acknowledged: the rest was removed"
        verdict.add(Finding("log", what, head))
    if late:  # or whoever opens the queue finds out
        try:
            queue.engine.check()
        except Exception as error:  # noqa: BLE001 - whatever it is, the log is at fault
            verdict.add(Finding("log", f"the tables can't be made of the log: {error}"))
