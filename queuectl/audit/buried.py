"""Verifying what was archived: every event that is gone from the log must be in an archive, as it was sealed.

The tombstones say which files there are and how many events each took along; the leaves say which events are gone.
"""

import os
from array import array
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import islice

from queuectl.audit.archived import read
from queuectl.audit.leaves import leaf
from queuectl.audit.verdict import Finding, Ranges, Unchecked, Verdict, events, ranges
from queuectl.engines.base import Engine, View
from queuectl.errors import QueueError
from queuectl.events import Archived, Recorded, Unreadable
from queuectl.queue import Queue

PAGE = 1000
"""Events of an archive that are looked up at a time."""


class Search:
    """The events that are gone, and which of them were found in archives."""

    def __init__(self, engine: Engine, end: int, absent: "array[int]", verdict: Verdict) -> None:
        """`absent`: those of which the leaves are kept, in order. `end` is the last event that was looked at."""
        self._engine = engine
        self._end = end
        self._absent = absent
        self._found = bytearray(len(absent))
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
            place = bisect_left(self._absent, record.seq)
            if place < len(self._absent) and self._absent[place] == record.seq:
                self._found[place] = 1
        elif record.seq > self._end:
            self._complain(record, path, "was put in there")
        elif not view.events(after=record.seq - 1, upto=record.seq, limit=1):
            self.bare += 1

    def _complain(self, record: Recorded, path: str, what: str) -> None:
        told = f"event {record.seq:,} ({record.type} of {record.stream}) in {path} {what}"
        self._verdict.add(Finding("archive", told, record.seq))

    @property
    def lost(self) -> Iterator[int]:
        """The seqs of those that were not found."""
        return (seq for seq, found in zip(self._absent, self._found, strict=True) if not found)


def bury(record: Recorded, buried: dict[str, int], verdict: Verdict) -> None:
    """Count what a tombstone says went into its archive."""
    try:
        said = record.event
    except Unreadable as error:
        verdict.add(Finding("changed", f"event {record.seq:,} can't be read: {error}", record.seq))
        return
    if isinstance(said, Archived):
        buried[said.file] = buried.get(said.file, 0) + said.events


def exhume(
    queue: Queue,
    end: int,
    absent: "array[int]",
    gone: Ranges,
    buried: dict[str, int],
    archives: Sequence[str],
    verdict: Verdict,
) -> None:
    """Look for every event that is gone in the archives, and add to the verdict what is wrong.

    `absent` are those of which the leaves are kept, `gone` those of which not even that is there; `buried` is how many
    events each archive took along, as the tombstones up to event `end` say. What `archives` names stands in for the
    file of the same name.
    """
    engine = queue.engine
    verdict.archived = len(absent)
    taken = sum(buried.values())
    if taken > len(absent) + gone.count:
        what = (
            f"{events(taken)} were archived, but only {len(absent) + gone.count:,} are gone from the log:"
            " some were put back, or a tombstone is false"
        )
        verdict.add(Finding("added", what))
    buried = dict(buried)
    _bury_late(engine, end, buried, verdict)  # what was archived while the log was read may be among what was gone
    search = Search(engine, end, absent, verdict)
    given = {os.path.basename(path): path for path in archives}
    missing: list[Unchecked] = []
    for file, count in buried.items():
        path = given.pop(os.path.basename(file), file)
        false = os.path.realpath(path) in queue.place.guarded  # so says a tombstone: who opened it would drop its locks
        if false or not os.path.exists(path) or not search.look(path):
            missing.append(Unchecked(file, count))
    for path in given.values():
        search.look(path)
    lost = ranges(search.lost)
    excused = sum(each.events for each in missing)
    if lost.count > excused:
        verdict.add(_removed(lost, lost.count - excused, whole=False))
    elif lost.count:
        verdict.unchecked = missing
    excused = max(0, excused - lost.count) + search.bare
    if gone.count > excused:
        verdict.add(_removed(gone, gone.count - excused, whole=True))


def _removed(gone: Ranges, count: int, *, whole: bool) -> Finding:
    """That so many of these events were removed; `whole`: with their leaves, if these ever were there."""
    one = gone.count == 1
    name = f"event{'' if one else 's'} {gone}"
    if count < gone.count:
        name, one = f"{count:,} of the events {gone}", count == 1
    if whole:
        them, leaf = ("it was", "its leaf") if one else ("they were", "their leaves")
        what = f"{name} {'is' if one else 'are'} missing, and {leaf} too: {them} removed, or never taken in"
    else:
        what = f"{name} {'was' if one else 'were'} removed, and never archived"
    return Finding("removed", what, gone.first)


def _bury_late(engine: Engine, end: int, buried: dict[str, int], verdict: Verdict) -> None:
    """Count what was archived after event `end` as well."""
    while True:
        with engine.snapshot() as view:
            page = view.tombstones(after=end, limit=PAGE)
        if not page:
            return
        for record in page:
            bury(record, buried, verdict)
        end = page[-1].seq
