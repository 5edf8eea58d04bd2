"""The tables of projections in PostgreSQL, made by the same statements as in SQLite."""

from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager

import psycopg
from psycopg import errors

from queuectl.engines.postgres.ddl import translated
from queuectl.engines.postgres.session import Session
from queuectl.engines.postgres.store import PostgresStore


class PostgresTables:
    """See `queuectl.engines.projection_registry.Tables`."""

    own_faults: tuple[type[Exception], ...] = (psycopg.OperationalError, errors.DiskFull, errors.ReadOnlySqlTransaction)

    def __init__(self, session: Session) -> None:
        self._session = session
        self.store = PostgresStore(session)

    def exist(self, names: Sequence[str]) -> bool:
        sql = """
            select count(*) from pg_class
            where relnamespace = current_schema()::regnamespace and relkind = 'r' and relname = any(?::text[])
        """
        return self._session.execute(sql, ([*names],))[0][0] == len({*names})

    def make(self, script: str) -> None:
        self._session.flush()
        self._session.script(translated(script))

    def drop(self, names: Collection[str]) -> None:
        self._session.flush()
        if names:
            self._session.script("; ".join(f'drop table if exists "{name}"' for name in sorted(names)))

    def drop_indexes(self, names: Sequence[str]) -> list[str]:
        found = self._session.execute(
            """
            select c.relname, pg_get_indexdef(c.oid) from pg_index i join pg_class c on c.oid = i.indexrelid
            join pg_class t on t.oid = i.indrelid
            where t.relnamespace = current_schema()::regnamespace and t.relname = any(?::text[])
                and not i.indisunique order by c.relname
            """,
            ([*names],),
        )
        if found:
            self._session.script("; ".join(f"drop index {name}" for name, _ in found))
        return [statement for _, statement in found]

    @contextmanager
    def savepoint(self) -> Generator[None]:
        self._session.flush()
        self._session.script("savepoint work")
        try:
            yield
            self._session.flush()
        except BaseException:
            self._session.discard()
            self._session.script("rollback to savepoint work")
            raise
        self._session.script("release savepoint work")
