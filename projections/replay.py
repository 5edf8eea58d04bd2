"""Folding the log anew: to rebuild projections, to bring a late one up to the head, to check that tables are true."""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from projections import EVOLVE, Change, Projection, Store, evolve
from queuectl.events import Recorded

Progress = Callable[[int, int], None]
"""Called with (events done, events in all) while something long goes on."""

History = Callable[[str, int], Iterable[Recorded]]
"""(stream, version) -> the stream's events below that version, in order."""


class Subjects:
    """The subject of every stream as of a point in the log, refolded from the log where it is not at hand.

    Never read from tables: those are at the head, and this may be far behind it. At most `limit` subjects are kept in
    memory; the ones least lately changed are forgotten and refolded when they come up again.
    """

    def __init__(self, history: History, limit: int = 200_000) -> None:
        self._history = history
        self._limit = limit
        self._kept: OrderedDict[str, Any] = OrderedDict()

    def changes(self, records: Iterable[Recorded]) -> Iterator[Change]:
        """What each of these events changes. They must come in the order of the log."""
        kept = self._kept
        for record in records:
            stream, event = record.stream, record.event
            before = kept.pop(stream, None)
            if before is None and record.version > 1 and stream.partition(":")[0] in EVOLVE:
                for earlier in self._history(stream, record.version):
                    before = evolve(before, earlier, earlier.event)
            after = evolve(before, record, event)
            if after is not None:
                kept[stream] = after
                if len(kept) > self._limit:
                    kept.popitem(last=False)
            yield Change(record, event, before, after)


def fold(
    projections: Sequence[Projection],
    pages: Iterable[Sequence[Recorded]],
    history: History,
    store: Store,
    progress: Progress | None = None,
    total: int = 0,
) -> int:
    """Fold pages of the log into the projections' tables. Returns the number of events.

    The tables must stand where the pages begin.
    """
    subjects = Subjects(history)
    done = 0
    for page in pages:
        changes = list(subjects.changes(page))
        for projection in projections:
            projection.fold(changes, store)
        done += len(page)
        if progress is not None:
            progress(done, total)
    return done


def differences(projection: Projection, live: Store, scratch: Store, most: int = 5) -> list[str]:
    """Where the live tables of a projection differ from those folded anew: a line a row, at most `most` for a table."""
    lines: list[str] = []
    for table in projection.tables:
        found = set(live.execute(f"select * from {table}"))
        expected = set(scratch.execute(f"select * from {table}"))
        wrong = [*(("has", row) for row in found - expected), *(("lacks", row) for row in expected - found)]
        wrong.sort(key=repr)
        lines += [f"{table} {word} {row!r}" for word, row in wrong[:most]]
        if len(wrong) > most:
            lines.append(f"{table}: and {len(wrong) - most} rows more")
    return lines
