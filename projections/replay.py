"""Folding the log: to rebuild projections, to catch up one that is behind, to compare tables with the log."""

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

from projections import EVOLVE, Builtin, Change, Projection, Store, evolve
from queuectl.events import VOCABULARY, Recorded

Progress = Callable[[int, int], None]
"""Called with (events done, events in all) during long work."""

ProgressBars = Callable[[str], Progress]
"""Called with the name of a piece of work; returns what to call during it."""

History = Callable[[Collection[str], int], Iterable[Recorded]]
"""(streams, seq) -> the events of these streams before that seq, in order within each stream."""

Row = tuple[Any, ...]

BATCH = 1000
"""Events folded at a time: so few that what is made of them stays in the processor's cache."""


class Subjects:
    """The subject of every stream at a point in the log; a subject not in memory is folded again from the log.

    Subjects are never read from tables, which are at the head, while this may be far behind it. Between two pages at
    most `limit` subjects are kept in memory: those changed longest ago are dropped, and folded again when needed.
    """

    def __init__(self, history: History, limit: int = 100_000) -> None:
        self._history = history
        self._limit = limit
        self._kept: dict[str, Any] = {}

    def changes(self, page: Sequence[Recorded]) -> list[Change]:
        """The changes of these events. The pages must come in the order of the log."""
        kept, decode = self._kept, VOCABULARY.decode
        self._recall(page)
        changes: list[Change] = []
        for record in page:
            stream = record.stream
            event = decode(record.type, record.v, record.data)
            before = kept.pop(stream, None)  # and put in again at the end, so that those changed longest ago come first
            after = evolve(before, record, event)
            if after is not None:
                kept[stream] = after
            changes.append(Change(record, event, before, after))
        for stream in [*islice(kept, max(0, len(kept) - self._limit))]:
            del kept[stream]
        return changes

    def _recall(self, page: Sequence[Recorded]) -> None:
        """Fold again, with one query, the subjects that this page continues and that are not in memory."""
        kept = self._kept
        forgotten = {record.stream for record in page if record.version > 1 and record.stream not in kept}
        forgotten.difference_update([record.stream for record in page if record.version == 1])
        forgotten = [stream for stream in forgotten if stream.partition(":")[0] in EVOLVE]
        if forgotten:
            for record in self._history(forgotten, page[0].seq):
                kept[record.stream] = evolve(kept.get(record.stream), record, record.event)


def fold(
    projections: Sequence[Projection],
    pages: Iterable[Sequence[Recorded]],
    history: History,
    store: Store,
    progress: Progress | None = None,
    total: int = 0,
) -> None:
    """Fold pages of the log into the projections' tables, which must be at the seq where the pages begin."""
    subjects = Subjects(history)
    done = 0
    for page in pages:
        changes = subjects.changes(page)
        for projection in projections:
            projection.fold(changes, store)
        done += len(page)
        if progress is not None:
            progress(done, total)


def fold_streams(
    projections: Sequence[Builtin],
    records: Iterable[Recorded],
    store: Store,
    progress: Progress | None = None,
    total: int = 0,
) -> int:
    """Fold whole streams, one after the other, into empty tables. Returns the number of events.

    This takes half as long as folding in the order of the log: one subject at a time is in memory, and projections that
    only compare subjects are given one change for each stream. Only for the built-in ones, in which no stream depends
    on another (R45).
    """
    reads = frozenset[str]().union(*(projection.reads or () for projection in projections))
    done = 0
    for events, read, whole in _whole_streams(records, reads):
        for projection in projections:
            projection.fold(whole if projection.reads is None else read, store)
        done += events
        if progress is not None:
            progress(done, total)
    return done


def _whole_streams(
    records: Iterable[Recorded], reads: Collection[str]
) -> Iterator[tuple[int, list[Change], list[Change]]]:
    """Batches of streams: how many events, the changes of those whose type is in `reads`, and of streams that ended."""
    decode = VOCABULARY.decode
    step: Callable[[Any, Recorded, Any], Any] = evolve
    stream = subject = event = last = None
    read: list[Change] = []
    whole: list[Change] = []
    events = 0
    for record in records:
        if record.stream != stream:
            if last is not None:
                whole.append(Change(last, event, None, subject))
            stream, subject = record.stream, None
            step = EVOLVE.get(stream.partition(":")[0], evolve)
        event = decode(record.type, record.v, record.data)
        before = subject
        subject = step(before, record, event)
        if record.type in reads:
            read.append(Change(record, event, before, subject))
        last = record
        events += 1
        if events >= BATCH:
            yield events, read, whole
            read, whole, events = [], [], 0
    if last is not None:
        whole.append(Change(last, event, None, subject))
        yield events, read, whole


def differences(projection: Projection, live: Store, scratch: Store, most: int = 5) -> list[str]:
    """Where the live tables of a projection differ from those folded again: one line a row, at most `most` a table.

    Both are read side by side in the order of their columns, so memory does not grow with the tables.
    """
    lines: list[str] = []
    for table in projection.tables:
        wrong: list[tuple[str, Row]] = []
        more = 0
        for difference in _compared(_ordered(live, table), _ordered(scratch, table)):
            if len(wrong) < most:
                wrong.append(difference)
            else:
                more += 1
        lines += [f"{table} {word} {row!r}" for word, row in sorted(wrong, key=repr)]
        if more:
            lines.append(f"{table}: and {more} rows more")
    return lines


def _ordered(store: Store, table: str) -> Iterator[Row]:
    """All rows in the order of all their columns."""
    first = store.execute(f"select * from {table} limit 1")
    order = ", ".join(f"{column + 1} nulls first" for column in range(len(first[0]))) if first else "1"
    return store.rows(f"select * from {table} order by {order}")


def _compared(found: Iterator[Row], expected: Iterator[Row]) -> Iterator[tuple[str, Row]]:
    """The rows that only one of two ordered tables has, each as ("has" or "lacks", row)."""
    has, lacks = next(found, None), next(expected, None)
    while has is not None or lacks is not None:
        if has == lacks:
            has, lacks = next(found, None), next(expected, None)
        elif has is not None and (lacks is None or _rank(has) < _rank(lacks)):
            yield "has", has
            has = next(found, None)
        elif lacks is not None:
            yield "lacks", lacks
            lacks = next(expected, None)


def _rank(row: Row) -> list[tuple[int, Any]]:
    """Sort key that orders rows as SQL does: null, then numbers, then text, then bytes."""
    kinds = {type(None): 0, int: 1, float: 1, str: 2, bytes: 3}
    return [(kinds[type(value)], value if value is not None else 0) for value in row]
