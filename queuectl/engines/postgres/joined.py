"""Writing within a transaction that the caller has begun on a connection of its own, and ends.

What is written is there if and only if the caller commits. The lock that orders all writers is held from the first
write until then. A savepoint makes each write all or nothing, and leaves the caller's transaction usable either way.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, cast
from urllib.parse import quote

import psycopg
from psycopg import pq
from psycopg.adapt import AdaptersMap
from psycopg.postgres import register_default_adapters, types
from psycopg.rows import tuple_row

from queuectl.engines.log_transaction import Known
from queuectl.engines.postgres.engine import PostgresEngine
from queuectl.engines.postgres.errors import PostgresErrors
from queuectl.engines.postgres.listener import KINDS, notification
from queuectl.engines.postgres.location import PostgresLocation, locate_postgres
from queuectl.engines.postgres.lock_holder import WRITING
from queuectl.engines.postgres.pipeline import Statement
from queuectl.engines.postgres.registry import PostgresRegistry
from queuectl.engines.postgres.schema import existing
from queuectl.engines.postgres.session import Rows, Session, text_rows
from queuectl.engines.postgres.transaction import PostgresTransaction
from queuectl.engines.postgres.values import configure
from queuectl.engines.postgres.view import PostgresView
from queuectl.engines.postgres.write_lock import Head
from queuectl.engines.view import Transaction
from queuectl.errors import Invalid, Refused

_ADAPTERS = AdaptersMap(types=types)
"""How our values are sent and read, whatever the caller has registered."""
register_default_adapters(_ADAPTERS)
configure(_ADAPTERS)


class _OwnCursor(psycopg.RawCursor[Any]):
    """A cursor to which the adapters of its connection are nothing."""

    @property
    def adapters(self) -> AdaptersMap:
        return _ADAPTERS


class JoinedSession(Session):
    """The caller's connection. It is never closed, and nothing is prepared on it."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        super().__init__(connection)  # nothing is known of it: as if it were pooled
        connection.remove_notice_handler(self._notice)  # the commit is the caller's, and so are its notices

    def script(self, sql: str) -> list[Rows]:
        cursor = self._run(sql.encode(), ())
        found: list[Rows] = []
        while True:
            assert cursor.pgresult is not None
            found.append(text_rows(cursor.pgresult))
            if not cursor.nextset():
                return found

    @contextmanager
    def savepoint(self) -> Generator[None]:
        """What is done in this block is undone where it raises; locks that were taken in it are let go then."""
        self.script("savepoint queuectl")
        try:
            yield
            self.queue("release savepoint queuectl")
            self.flush()
        except BaseException:
            self.discard()
            if self.is_usable:
                self.script("rollback to savepoint queuectl; release savepoint queuectl")
            raise

    def take_time(self) -> None:
        self.flush()  # how long the caller may take is the caller's affair

    def close(self) -> None:
        pass

    def _run_together(self, statements: Sequence[Statement]) -> Rows:
        with self._connection.pipeline() if len(statements) > 1 else nullcontext():
            *_, cursor = [self._run(*statement) for statement in statements]
        return cursor.fetchall() if cursor.description is not None else []

    def _run(self, sql: bytes, values: Sequence[Any]) -> psycopg.RawCursor[Any]:
        cursor = _OwnCursor(self._connection, row_factory=tuple_row)
        cursor.execute(sql, values or None, prepare=False)
        return cursor


class JoinedEngine(PostgresEngine):
    """The engine on the caller's connection, of which only `transaction` may be used. It has no home and opens none."""

    made = False

    def __init__(self, connection: object, schema: str) -> None:
        """Nothing is asked of the server yet. Raises Invalid for what is no open connection of psycopg 3."""
        self._connection = _driver_connection(connection)
        self.location = _locate(self._connection, schema)
        self.url = self.location.url

    @contextmanager
    def transaction(
        self, patience: float | None = 30.0, meanwhile: Callable[[], None] | None = None
    ) -> Generator[Transaction]:
        """A part of the caller's transaction.

        Raises Refused where there is none that can be joined, Absent where the schema has no queue, Conflict where
        what the caller's snapshot shows of the queue is not its end any more.
        """
        _refuse_unfit(self._connection)
        session = JoinedSession(self._connection)
        with PostgresErrors(self.url), session.savepoint():
            about = existing(session, self.location)
            with self._settings(session, patience):
                # The row is locked as well: in REPEATABLE READ or SERIALIZABLE this fails where it has changed since
                # the snapshot, and only then would anything that is read of the queue be out of date.
                *_, [[seq, at, folding, now]] = session.script(
                    f"""
                    select pg_advisory_xact_lock({WRITING}, {about.key});
                    select seq, at, folding, (extract(epoch from clock_timestamp()) * 1000000)::bigint
                    from log for update
                    """
                )
                head = Head(int(seq), int(at), folding, int(now))
                registry = PostgresRegistry(session, PostgresView(session))
                # What is known holds for this once: the caller may roll back.
                tx = PostgresTransaction(session, registry, Known(), head)
                yield tx
                tx.finish()
                for kind in KINDS if tx.types else ():
                    session.queue(notification(about.key, kind))

    @contextmanager
    def _settings(self, session: Session, patience: float | None) -> Generator[None]:
        """The settings that our statements need, and at the end those of the caller again. Undone by the savepoint."""
        limit = 0 if patience is None else max(1, int(patience * 1000))
        made = {
            "client_encoding": "'utf8'",  # first and, at the end, last: what is read and sent between is in it
            "search_path": self.location.search_path,
            "extra_float_digits": "1",
            "lock_timeout": str(limit),
        }
        reading = (f"select current_setting('{name}'); set local {name} = {value}" for name, value in made.items())
        before = [value for [[value]] in session.script("; ".join(reading))[::2]]
        yield
        restored = reversed([*zip(made, before, strict=True)])
        session.queue_many("select set_config(?, ?, true)", restored)

    def close(self) -> None:
        pass


def _driver_connection(connection: object) -> psycopg.Connection[Any]:
    """The connection of psycopg, also where SQLAlchemy's pool has wrapped it."""
    found: object = getattr(connection, "driver_connection", connection)
    if not isinstance(found, psycopg.Connection):
        kind = f"{type(found).__module__}.{type(found).__qualname__}"
        raise Invalid(f"a connection of psycopg 3 is needed (psycopg.Connection), not {kind}")
    opened = cast("psycopg.Connection[Any]", found)
    if opened.closed:
        raise Invalid("the connection is closed: give one that is open")
    return opened


def _locate(connection: psycopg.Connection[Any], schema: str) -> PostgresLocation:
    info = connection.info
    host, user, database = (quote(each, safe="") for each in (info.host, info.user, info.dbname))
    return locate_postgres(f"postgresql://{user}@{host}:{info.port}/{database}?schema={quote(schema, safe='')}")


def _refuse_unfit(connection: psycopg.Connection[Any]) -> None:
    """Raise Refused where no transaction is open that can be joined, and none begins with the first statement."""
    if connection.closed:
        raise Refused("the connection is closed: open another one")
    if connection.pgconn.pipeline_status != pq.PipelineStatus.OFF:
        raise Refused("the connection is in pipeline mode: enqueue when that has ended")
    match connection.info.transaction_status:
        case pq.TransactionStatus.IDLE if connection.autocommit:
            raise Refused("no transaction is open (autocommit): begin one, with `connection.transaction()` say")
        case pq.TransactionStatus.INERROR:
            raise Refused("the transaction has failed: roll it back first")
        case pq.TransactionStatus.ACTIVE:
            raise Refused("the connection is in the middle of a statement (COPY?): end that first")
        case _:
            pass
