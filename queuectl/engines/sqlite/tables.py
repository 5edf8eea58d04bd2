"""The tables of projections in SQLite: in the queue's database, and folded anew in a private one."""

from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager

import apsw

from projections import Builtin, Projection, builtin, replay
from projections.replay import Progress
from projections.store import marks
from queuectl.engines.projection_registry import Log
from queuectl.engines.sqlite.store import SqliteStore


class SqliteTables:
    """See `queuectl.engines.projection_registry.Tables`."""

    own_faults: tuple[type[Exception], ...] = (apsw.FullError, apsw.IOError, apsw.CorruptError, apsw.ReadOnlyError)

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self.store = SqliteStore(db)

    def exist(self, names: Sequence[str]) -> bool:
        sql = f"select count(*) from sqlite_master where type = 'table' and name in ({marks(names)})"
        return self._db.execute(sql, tuple(names)).get == len(names)

    def make(self, script: str) -> None:
        for _ in self._db.execute(script):  # apsw runs a statement only as far as its rows are fetched
            pass

    def drop(self, names: Collection[str]) -> None:
        for name in names:
            self._db.execute(f'drop table if exists "{name}"')

    def drop_indexes(self, names: Sequence[str]) -> list[str]:
        dropped: list[str] = []
        for table in names:
            sql = "select name, sql from sqlite_master where tbl_name = ? and sql like 'create index %'"
            for name, statement in list(self._db.execute(sql, (table,))):
                self._db.execute(f"drop index {name}")
                dropped.append(statement)
        return dropped

    @contextmanager
    def savepoint(self) -> Generator[None]:
        with self._db:
            yield


def scratch(projections: Sequence[Projection]) -> apsw.Connection:
    """A private database with the empty tables of these projections, ours without indexes."""
    db = apsw.Connection("")
    tables = SqliteTables(db)
    for projection in projections:
        tables.make(projection.schema)
    ours = {each.name for each in builtin()}
    tables.drop_indexes([table for each in projections if each.name in ours for table in each.tables])
    return db


def folded_upto(
    log: Log, seq: int, folding: Sequence[Builtin], progress: Progress | None, *, indexed: bool = False
) -> apsw.Connection:
    """A private database with all our tables, those of these projections folded up to event `seq` of a log.

    `indexed`: with the indexes, without which it is asked one question sooner, and a thousand later.
    """
    db = apsw.Connection("")
    try:
        tables = SqliteTables(db)
        for projection in builtin():
            tables.make(projection.schema)
        indexes = tables.drop_indexes([table for each in builtin() for table in each.tables])
        replay.fold_streams(folding, log.by_stream(seq), tables.store, progress, seq)
        for index in indexes if indexed else ():
            db.execute(index)
    except BaseException:
        db.close()
        raise
    return db
