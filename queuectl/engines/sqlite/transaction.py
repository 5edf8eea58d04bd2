"""Writing to SQLite: what is decided becomes rows of the log and of every projection, within one transaction."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import apsw
from msgspec.structs import astuple

from queuectl import clock
from queuectl.engines.log_transaction import Known, LogTransaction
from queuectl.engines.projection_registry import Registry
from queuectl.engines.sqlite.copy import INSERT
from queuectl.engines.sqlite.view import SqliteView
from queuectl.engines.view import Leaf
from queuectl.errors import Conflict


class SqliteTransaction(SqliteView, LogTransaction):
    """The write transaction: see `queuectl.engines.base.Transaction`."""

    def __init__(self, db: apsw.Connection, registry: Registry, known: Known) -> None:
        SqliteView.__init__(self, db)
        if known.contents != db.data_version():
            known.seq, known.at = self.head()
            known.folding = registry.active(known.seq)
            known.has_config, known.number, known.empty = False, None, set()
        LogTransaction.__init__(self, registry, known, clock.now())

    def _insert(self, rows: Sequence[tuple[Any, ...]]) -> None:
        try:
            self._db.executemany(INSERT, rows)
        except apsw.ConstraintError as error:
            # Some of the rows are in: a caller that catches this must not commit them.
            self._conflict = Conflict(f"{error}: load it again and decide again")
            raise self._conflict from error

    def _contents(self) -> int:
        return self._db.data_version()

    def keep_secrets(self, job: str, values: Mapping[str, str]) -> None:
        self._db.executemany(
            """
            insert into secrets (job, name, value) values (?, ?, ?)
            on conflict (job, name) do update set value = excluded.value
            """,
            [(job, name, value) for name, value in values.items()],
        )

    def secrets(self, job: str) -> dict[str, str]:
        return dict(self._db.execute("select name, value from secrets where job = ?", (job,)))

    def forget_secrets(self, jobs: Iterable[str]) -> None:
        self._db.executemany("delete from secrets where job = ?", [(job,) for job in jobs])

    def keep_leaves(self, leaves: Iterable[Leaf]) -> None:
        self._db.executemany("insert into leaves (seq, at, hash) values (?, ?, ?)", map(astuple, leaves))

    def remove(self, streams: Iterable[str]) -> None:
        self._refuse_removal()
        self._db.executemany(
            """
            delete from events
            where stream = ?1 and version < (select max(version) from events where stream = ?1 and type = 'archived')
            """,
            [(stream,) for stream in streams],
        )
