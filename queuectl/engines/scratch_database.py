"""SQLite files for other programs: made from nothing, in a process that may have a queue open (R6)."""

from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from typing import Any

import apsw

from queuectl.engines.sqlite.database import Translated


class ScratchDatabase:
    """A database that is being filled. Raises Unusable where that fails: a full disk, say."""

    def __init__(self, db: apsw.Connection, name: str) -> None:
        self._db, self._name = db, name

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and give all its rows."""
        with Translated(self._name):
            return list(self._db.execute(sql, values))

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one statement for each row of values."""
        with Translated(self._name):
            self._db.executemany(sql, rows)


@contextmanager
def scratch_database(path: str = "") -> Generator[ScratchDatabase]:
    """An empty file as a database to be filled; without a path, a temporary one that is gone in the end.

    It has no journal: what is not finished is to be thrown away.
    """
    name = path or "the temporary database (TMPDIR says where)"
    with Translated(name):
        db = apsw.Connection(path)
    try:
        made = ScratchDatabase(db, name)
        for setting in ("journal_mode = off", "synchronous = off", "locking_mode = exclusive"):
            made.execute(f"pragma {setting}")
        made.execute("begin")
        yield made
        made.execute("commit")
    finally:
        db.close()
