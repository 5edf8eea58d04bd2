"""Verifying archives: every event that was archived must be in an archive file, as it was sealed.

The leaves say which events are gone; the tombstones say in which files they are, and of which streams, up to which
version. Where a file is missing, only a tombstone under a seal counts for its events: anyone could append a tombstone.
"""

import os
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import islice

import msgspec

from queuectl.audit.archive_file import read as archived_events
from queuectl.audit.leaves import leaf
from queuectl.audit.verdict import AuditFinding, Ranges, Unchecked, Verdict, events, ranges
from queuectl.engines.base import Engine
from queuectl.engines.view import View
from queuectl.errors import QueueError
from queuectl.events import Archived, Recorded, Unreadable
from queuectl.queries import Queries

PAGE = 1000
"""Events of an archive that are looked up at a time."""


class ArchiveEvents(msgspec.Struct):
    """The number of events in one archive, by the tombstones."""

    events: int = 0
    sealed: int = 0
    """Those of tombstones under a seal."""


class Tombstones:
    """What the tombstones in the log say of archived events."""

    def __init__(self, verdict: Verdict) -> None:
        self._verdict = verdict
        self.files: dict[str, ArchiveEvents] = {}
        """By the path of each archive."""
        self.streams: dict[str, int] = {}
        """The number of archived events of each stream: its versions from 1 on."""

    @property
    def events(self) -> int:
        """The number of archived events."""
        return sum(file.events for file in self.files.values())

    def add(self, record: Recorded, *, sealed: bool) -> None:
        """Add an `archived` event; one that can't be true becomes a finding."""
        try:
            said = record.event
        except Unreadable as error:
            self._verdict.add(AuditFinding("changed", f"event {record.seq:,} can't be read: {error}", record.seq))
            return
        if not isinstance(said, Archived):
            return
        if said.events + 1 != record.version or record.stream in self.streams:
            name = f"event {record.seq:,} (archived of {record.stream})"
            what = f"{name} says that {events(said.events)} went to an archive, which can't be: it was put in"
            self._verdict.add(AuditFinding("added", what, record.seq))
            return
        file = self.files.setdefault(said.file, ArchiveEvents())
        file.events += said.events
        file.sealed += said.events if sealed else 0
        self.streams[record.stream] = said.events

    def covers(self, record: Recorded) -> bool:
        """Return whether a tombstone of its stream covers this event."""
        return 0 < record.version <= self.streams.get(record.stream, 0)


class ArchiveSearch:
    """Looks for missing events in archives."""

    def __init__(
        self, engine: Engine, end: int, absent: "array[int]", tombstones: Tombstones, verdict: Verdict
    ) -> None:
        """`absent` are the missing events that have a leaf, in order; `end` is the seq of the last event verified."""
        self._engine = engine
        self._end = end
        self._absent = absent
        self._found = bytearray(len(absent))
        self._tombstones = tombstones
        self._verdict = verdict
        self.without_leaf = 0
        """The number of events that were found and have no leaf."""

    def read(self, path: str) -> bool:
        """Compare an archive with the leaves. Returns False where it can't be read to its end."""
        records = archived_events(path)
        try:
            while page := list(islice(records, PAGE)):
                with self._engine.snapshot() as view:
                    for record in page:
                        self._check_event(view, record, path)
        except QueueError as error:
            self._verdict.add(AuditFinding("archive", str(error)))
            return False
        return True

    def _check_event(self, view: View, record: Recorded, path: str) -> None:
        made = leaf(record)
        kept = view.leaves(after=record.seq - 1, upto=record.seq, limit=1)
        if kept:
            if kept[0].hash != made.hash:
                self._report(record, path, "was changed there")
            elif kept[0].at != made.at:
                what = f"the leaf of event {record.seq:,} names another moment than the event: it was changed"
                self._verdict.add(AuditFinding("leaf", what, record.seq))
            place = bisect_left(self._absent, record.seq)
            if place < len(self._absent) and self._absent[place] == record.seq:
                if not self._tombstones.covers(record):
                    self._report(record, path, "was removed from the log, which does not say that it went there")
                self._found[place] = 1
        elif record.seq > self._end:
            self._report(record, path, "was put in there")
        elif not view.events(after=record.seq - 1, upto=record.seq, limit=1) and self._tombstones.covers(record):
            self.without_leaf += 1

    def _report(self, record: Recorded, path: str, what: str) -> None:
        text = f"event {record.seq:,} ({record.type} of {record.stream}) in {path} {what}"
        self._verdict.add(AuditFinding("archive", text, record.seq))

    @property
    def not_found(self) -> Iterator[int]:
        """The seqs of the missing events that were found in no archive."""
        return (seq for seq, found in zip(self._absent, self._found, strict=True) if not found)


def verify_archives(
    queue: Queries,
    end: int,
    absent: "array[int]",
    leafless: Ranges,
    tombstones: Tombstones,
    archives: Sequence[str],
    verdict: Verdict,
) -> None:
    """Look in the archives for every event that is missing from the log, and add findings to the verdict.

    `absent` are the missing events whose leaves are stored, `leafless` those without a leaf; `tombstones` are those up
    to event `end`. A path in `archives` replaces the archive of the same file name.
    """
    engine = queue.engine
    verdict.archived = len(absent)
    missing_events = len(absent) + leafless.count
    if tombstones.events > missing_events:
        what = (
            f"{events(tombstones.events)} were archived, but only {missing_events:,} are gone from the log:"
            " some were put back, or a tombstone is false"
        )
        verdict.add(AuditFinding("added", what))
    _add_later_tombstones(engine, end, tombstones)  # archived while the log was read
    search = ArchiveSearch(engine, end, absent, tombstones, verdict)
    given = {os.path.basename(path): path for path in archives}
    missing: dict[str, ArchiveEvents] = {}
    damaged = 0
    for name, file in tombstones.files.items():
        path = given.pop(os.path.basename(name), name if os.path.isabs(name) else "")
        if not _is_here(path, engine):
            missing[name] = file
        elif not search.read(path):
            damaged += file.events  # a finding names the file
    for path in given.values():
        search.read(path)
    lost = ranges(search.not_found)
    excused = damaged + sum(file.sealed for file in missing.values())
    if lost.count > excused:
        unsealed = any(file.events > file.sealed for file in missing.values())
        verdict.add(_removed(lost, lost.count - excused, with_leaves=False, unsealed=unsealed))
    if lost.count:
        verdict.unchecked = [Unchecked(name, file.sealed) for name, file in missing.items() if file.sealed]
    excused = max(0, excused - lost.count) + search.without_leaf
    if leafless.count > excused:
        verdict.add(_removed(leafless, leafless.count - excused, with_leaves=True))


def _is_here(path: str, engine: Engine) -> bool:
    """Return whether the path is a file, and not one of the queue's own."""
    try:
        return os.path.exists(path) and not engine.owns(path)
    except (OSError, ValueError):  # a tombstone may name anything
        return False


def _removed(absent: Ranges, count: int, *, with_leaves: bool, unsealed: bool = False) -> AuditFinding:
    """Return the finding that `count` of these events were removed.

    `with_leaves`: their leaves are missing too. `unsealed`: the tombstones that speak for them are under no seal.
    """
    one = absent.count == 1
    name = f"event{'' if one else 's'} {absent}"
    if count < absent.count:
        name, one = f"{count:,} of the events {absent}", count == 1
    if with_leaves:
        them, leaf = ("it was", "its leaf") if one else ("they were", "their leaves")
        what = f"{name} {'is' if one else 'are'} missing, and {leaf} too: {them} removed, or never taken in"
    elif unsealed:
        them = "was" if one else "were"
        what = f"{name} {them} removed: no archive is here, and what says that there is one is under no seal"
    else:
        what = f"{name} {'was' if one else 'were'} removed, and never archived"
    return AuditFinding("removed", what, absent.first)


def _add_later_tombstones(engine: Engine, end: int, tombstones: Tombstones) -> None:
    """Add the tombstones after event `end`."""
    while True:
        with engine.snapshot() as view:
            page = view.tombstones(after=end, limit=PAGE)
        if not page:
            return
        for record in page:
            tombstones.add(record, sealed=False)
        end = page[-1].seq
