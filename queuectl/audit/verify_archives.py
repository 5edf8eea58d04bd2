"""Verifying what was archived: every event that is gone from the log must be in an archive, as it was sealed.

The leaves say which events are gone; the tombstones say in which files they are, and of which streams, up to which
version. Where a file is not here, only a tombstone under a seal speaks for what was in it: anybody could append one.
"""

import os
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import islice

import msgspec

from queuectl.audit.archive_file import read
from queuectl.audit.leaves import leaf
from queuectl.audit.verdict import Finding, Ranges, Unchecked, Verdict, events, ranges
from queuectl.engines.base import Engine
from queuectl.engines.view import View
from queuectl.errors import QueueError
from queuectl.events import Archived, Recorded, Unreadable
from queuectl.queries import Reading

PAGE = 1000
"""Events of an archive that are looked up at a time."""


class File(msgspec.Struct):
    """How many events tombstones say to be in one archive."""

    events: int = 0
    sealed: int = 0
    """Of these, by tombstones under a seal."""


class Tombstones:
    """What the log says of the events that have left it."""

    def __init__(self, verdict: Verdict) -> None:
        self._verdict = verdict
        self.files: dict[str, File] = {}
        """By the path that each archive had."""
        self.streams: dict[str, int] = {}
        """How many events of each stream went: its versions from 1 on."""

    @property
    def events(self) -> int:
        """How many went in all."""
        return sum(file.events for file in self.files.values())

    def add(self, record: Recorded, *, sealed: bool) -> None:
        """Take an `archived` event into account."""
        try:
            said = record.event
        except Unreadable as error:
            self._verdict.add(Finding("changed", f"event {record.seq:,} can't be read: {error}", record.seq))
            return
        if not isinstance(said, Archived):
            return
        if said.events + 1 != record.version or record.stream in self.streams:
            name = f"event {record.seq:,} (archived of {record.stream})"
            what = f"{name} says that {events(said.events)} went to an archive, which can't be: it was put in"
            self._verdict.add(Finding("added", what, record.seq))
            return
        file = self.files.setdefault(said.file, File())
        file.events += said.events
        file.sealed += said.events if sealed else 0
        self.streams[record.stream] = said.events

    def cover(self, record: Recorded) -> bool:
        """Whether the log says that this event of its own stream went."""
        return 0 < record.version <= self.streams.get(record.stream, 0)


class Search:
    """The events that are gone, and which of them were found in archives."""

    def __init__(
        self, engine: Engine, end: int, absent: "array[int]", tombstones: Tombstones, verdict: Verdict
    ) -> None:
        """`absent`: those of which the leaves are kept, in order. `end` is the last event that was looked at."""
        self._engine = engine
        self._end = end
        self._absent = absent
        self._found = bytearray(len(absent))
        self._tombstones = tombstones
        self._verdict = verdict
        self.bare = 0
        """How many were found of which not even the leaf is there."""

    def look(self, path: str) -> bool:
        """Hold a file against the leaves. False where it can't be read to its end."""
        records = read(path)
        try:
            while page := list(islice(records, PAGE)):
                with self._engine.snapshot() as view:
                    for record in page:
                        self._hold(view, record, path)
        except QueueError as error:
            self._verdict.add(Finding("archive", str(error)))
            return False
        return True

    def _hold(self, view: View, record: Recorded, path: str) -> None:
        made = leaf(record)
        kept = view.leaves(after=record.seq - 1, upto=record.seq, limit=1)
        if kept:
            if kept[0].hash != made.hash:
                self._complain(record, path, "was changed there")
            elif kept[0].at != made.at:
                what = f"the leaf of event {record.seq:,} names another moment than the event: it was changed"
                self._verdict.add(Finding("leaf", what, record.seq))
            place = bisect_left(self._absent, record.seq)
            if place < len(self._absent) and self._absent[place] == record.seq:
                if not self._tombstones.cover(record):
                    self._complain(record, path, "was removed from the log, which does not say that it went there")
                self._found[place] = 1
        elif record.seq > self._end:
            self._complain(record, path, "was put in there")
        elif not view.events(after=record.seq - 1, upto=record.seq, limit=1) and self._tombstones.cover(record):
            self.bare += 1

    def _complain(self, record: Recorded, path: str, what: str) -> None:
        told = f"event {record.seq:,} ({record.type} of {record.stream}) in {path} {what}"
        self._verdict.add(Finding("archive", told, record.seq))

    @property
    def lost(self) -> Iterator[int]:
        """The seqs of those that were not found."""
        return (seq for seq, found in zip(self._absent, self._found, strict=True) if not found)


def exhume(
    queue: Reading,
    end: int,
    absent: "array[int]",
    gone: Ranges,
    tombstones: Tombstones,
    archives: Sequence[str],
    verdict: Verdict,
) -> None:
    """Look for every event that is gone in the archives, and add to the verdict what is wrong.

    `absent` are those of which the leaves are kept, `gone` those of which not even that is there; `tombstones` are
    those up to event `end`. What `archives` names stands in for the file of the same name.
    """
    engine = queue.engine
    verdict.archived = len(absent)
    if tombstones.events > len(absent) + gone.count:
        what = (
            f"{events(tombstones.events)} were archived, but only {len(absent) + gone.count:,} are gone from the log:"
            " some were put back, or a tombstone is false"
        )
        verdict.add(Finding("added", what))
    _add_late(engine, end, tombstones)  # what was archived while the log was read may be among what was gone
    search = Search(engine, end, absent, tombstones, verdict)
    given = {os.path.basename(path): path for path in archives}
    missing: dict[str, File] = {}
    damaged = 0
    for name, file in tombstones.files.items():
        path = given.pop(os.path.basename(name), name if os.path.isabs(name) else "")
        if not _is_here(path, engine):
            missing[name] = file
        elif not search.look(path):
            damaged += file.events  # which has been said
    for path in given.values():
        search.look(path)
    lost = ranges(search.lost)
    excused = damaged + sum(file.sealed for file in missing.values())
    if lost.count > excused:
        told = any(file.events > file.sealed for file in missing.values())
        verdict.add(_removed(lost, lost.count - excused, whole=False, told=told))
    if lost.count:
        verdict.unchecked = [Unchecked(name, file.sealed) for name, file in missing.items() if file.sealed]
    excused = max(0, excused - lost.count) + search.bare
    if gone.count > excused:
        verdict.add(_removed(gone, gone.count - excused, whole=True))


def _is_here(path: str, engine: Engine) -> bool:
    """Whether there is a file to be read that is not the queue itself."""
    try:
        return os.path.exists(path) and not engine.owns(path)
    except (OSError, ValueError):  # a tombstone may name anything
        return False


def _removed(gone: Ranges, count: int, *, whole: bool, told: bool = False) -> Finding:
    """That so many of these events were removed; `whole`: with their leaves, if these ever were there; `told`: what
    says that they were archived is under no seal."""
    one = gone.count == 1
    name = f"event{'' if one else 's'} {gone}"
    if count < gone.count:
        name, one = f"{count:,} of the events {gone}", count == 1
    if whole:
        them, leaf = ("it was", "its leaf") if one else ("they were", "their leaves")
        what = f"{name} {'is' if one else 'are'} missing, and {leaf} too: {them} removed, or never taken in"
    elif told:
        them = "was" if one else "were"
        what = f"{name} {them} removed: no archive is here, and what says that there is one is under no seal"
    else:
        what = f"{name} {'was' if one else 'were'} removed, and never archived"
    return Finding("removed", what, gone.first)


def _add_late(engine: Engine, end: int, tombstones: Tombstones) -> None:
    """Take what was archived after event `end` into account as well."""
    while True:
        with engine.snapshot() as view:
            page = view.tombstones(after=end, limit=PAGE)
        if not page:
            return
        for record in page:
            tombstones.add(record, sealed=False)
        end = page[-1].seq
