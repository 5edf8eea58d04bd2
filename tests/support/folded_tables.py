"""The tables of projections with all their rows, as they are in a queue and as its log folds into them."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import apsw

from projections import Projection, builtin, replay
from queuectl import Queue
from queuectl.engines.sqlite.store import SqliteStore
from queuectl.events import Recorded

Rows = dict[str, list[str]]
"""The rows of each table, by its name: every value with its type."""


class Tables:
    """Empty tables in memory, and the log they are to be folded from."""

    def __init__(self, log: Sequence[Recorded], projections: Iterable[Projection] = ()) -> None:
        self.log = log
        self.projections = list(projections) or list(builtin())
        self.db = apsw.Connection(":memory:")
        self.store = SqliteStore(self.db)
        for projection in self.projections:
            for _ in self.db.execute(projection.schema):
                pass

    def history(self, streams: Collection[str], before: int) -> Iterator[Recorded]:
        return (record for record in self.log if record.stream in streams and record.seq < before)

    def fold(self, pages: Iterable[Sequence[Recorded]]) -> "Tables":
        replay.fold(self.projections, pages, self.history, self.store)
        return self

    def fold_streams(self) -> "Tables":
        replay.fold_streams(builtin(), by_stream(self.log), self.store)
        return self

    def rows(self) -> Rows:
        return rows(self.db, self.projections)


def rows(db: apsw.Connection, projections: Iterable[Projection] = ()) -> Rows:
    """The rows of the tables of these projections (of the built-in ones, where none are given)."""
    return {
        table: sorted(repr(row) for row in db.execute(f"select * from {table}"))
        for projection in list(projections) or builtin()
        for table in projection.tables
    }


def by_stream(log: Sequence[Recorded]) -> list[Recorded]:
    """The log stream after stream, as these began."""
    began: dict[str, int] = {}
    for record in log:
        began.setdefault(record.stream, record.seq)
    return sorted(log, key=lambda record: (began[record.stream], record.version))


def cut(log: Sequence[Recorded], sizes: Sequence[int]) -> Iterator[Sequence[Recorded]]:
    """The log in pages of these sizes, and one of what is left."""
    start = 0
    for size in sizes:
        yield log[start : start + size]
        start += size
    yield log[start:]


def assert_every_fold_agrees(queue: Queue) -> None:
    """The live tables are what the log gives in its own order, stream by stream, and as the past of its head (R45)."""
    log = list(queue.events())
    live = rows(database(queue.engine))
    assert Tables(log).fold([log]).rows() == live, "the order of the log"
    assert Tables(log).fold_streams().rows() == live, "stream by stream"
    with queue.engine.past(queue.status().seq, [projection.name for projection in builtin()]) as view:
        assert rows(database(view)) == live, "the past of the head"


def database(owner: Any) -> apsw.Connection:
    """The connection of an engine, or of a view."""
    return owner._db
