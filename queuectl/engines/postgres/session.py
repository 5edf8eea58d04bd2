"""One session of a PostgreSQL server: statements that need no answer wait for the next that does, and go with it.

Nothing is left without a Sync while Python thinks (P1): the server would count the session as active, and not end it
when its host is cut off in the middle of a transaction.
"""

import os
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from itertools import count
from typing import Any

import psycopg
from psycopg import pq
from psycopg.generators import execute
from psycopg.rows import tuple_row

from queuectl.engines.postgres.patient_connection import MEANWHILE
from queuectl.engines.postgres.pipeline import Pipeline, Statement

BARRIER = b"""
select pg_logical_emit_message(true, 'queuectl', ''), set_config('synchronous_commit',
    case current_setting('synchronous_commit') when 'remote_apply' then 'remote_apply' else 'on' end, true)
"""
"""A message in the server's own log, committed durably whatever the role, the database or a pooler have by default."""

BULK = 1000
"""Rows from which on what Python does with them may take longer than a turn has between two statements (P2)."""

GIVES_UP = "SyncRepWaitForLSN"
"""The function of the server whose only notices say that it does not wait for its standby any longer. What they say
depends on the server's language."""

Rows = list[tuple[Any, ...]]


class Session:
    """A connection of this process. Its transactions are not psycopg's: `begin` and `commit` are statements."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection
        self.pooled = True
        """Behind PgBouncer the next transaction may be in another session of the server (P10); so until it is known."""
        self._was_given_up = False
        """Whether a wait for the synchronous standby was ended: what was committed may get lost (P4)."""
        connection.add_notice_handler(self._notice)
        self._pid = os.getpid()
        self._queued: list[Statement] = []
        self._pipeline = Pipeline(connection)

    def _notice(self, notice: psycopg.errors.Diagnostic) -> None:
        if notice.source_function == GIVES_UP:
            self._was_given_up = True

    @property
    def is_usable(self) -> bool:
        """Whether it is open, and this process's own: a forked child has its parent's, which it must not touch (P8)."""
        return self._pid == os.getpid() and not self._connection.closed

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction is open, a failed one too."""
        return self._connection.info.transaction_status != pq.TransactionStatus.IDLE

    def execute(self, sql: str, values: Sequence[Any] = ()) -> Rows:
        """Run what was queued and this statement, with `?` for values; return its rows."""
        rows = self._send((translate(sql), values))
        if len(rows) >= BULK and self.in_transaction:
            self.take_time()
        return rows

    def pages(self, sql: str, values: Sequence[Any], skip: int, size: int) -> Iterator[Rows]:
        """The rows of a question behind the first `skip`, at most `size` at a time, within a transaction."""
        name = f"rows_{next(_cursors)}"
        self.flush()
        self._run(f"declare {name} no scroll cursor for ".encode() + translate(sql), values)
        self.execute(f"move {skip} in {name}")
        while page := self.execute(f"fetch {size} from {name}"):
            yield page
        self.execute(f"close {name}")  # what is not read to its end is left open until that of the transaction

    def queue(self, sql: str, values: Sequence[Any] = ()) -> None:
        """Run this statement before the next that is waited for."""
        self._queued.append((translate(sql), values))

    def queue_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run this statement once for each row of values, before the next that is waited for."""
        text = translate(sql)
        self._queued += [(text, values) for values in rows]

    def flush(self) -> None:
        """Run what was queued, in one round trip."""
        if self._queued:
            self._send()

    def take_time(self) -> None:
        """Have the server wait for longer between two statements of this transaction, and take in what is queued."""
        self.execute("set local idle_in_transaction_session_timeout = '30s'")

    def commit(self, *, durable: bool = True) -> None:
        """Run what was queued, commit, and wait until that is on disk and where a standby must have it (the barrier).

        All in one round trip; without the barrier where it need not be `durable`. Raises psycopg's errors; with one of
        a lost connection, whether it was done is not known.
        """
        self._was_given_up = False
        self._send((b"commit", ()), *([(BARRIER, ())] if durable else []))
        if durable and self._was_given_up:
            self.barrier()

    def barrier(self) -> None:
        """Wait until everything that is visible is durable: anew where that wait was ended, for that is no failure to
        the server, which answers with a notice and success (P4)."""
        while True:
            self._was_given_up = False
            self._run(BARRIER, ())
            if not self._was_given_up:
                return

    def discard(self) -> None:
        """Forget what was queued."""
        self._queued = []

    def named_rows(self, sql: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Run one statement, with `$name` for values; return its rows by column."""
        names: list[str] = []

        def mark(match: re.Match[str]) -> str:
            names.append(match[1])
            return "?"

        cursor = self._run(translate(_NAMED.sub(mark, sql)), [values[name] for name in names])
        columns = [column.name for column in cursor.description or ()]
        return [dict(zip(columns, row, strict=True)) for row in cursor.fetchall()]

    @contextmanager
    def doing(self, meanwhile: Callable[[], None] | None) -> Generator[None]:
        """A block in which this is called now and then while the server is waited for."""
        token = MEANWHILE.set(meanwhile or MEANWHILE.get())
        try:
            yield
        finally:
            MEANWHILE.reset(token)

    def script(self, sql: str) -> list[Rows]:
        """Run statements without values in one round trip; the rows of each, their values as text."""
        assert not self._queued
        self._connection.pgconn.send_query(sql.encode())
        found = self._connection.wait(execute(self._connection.pgconn))
        for result in found:
            if result.status == pq.ExecStatus.FATAL_ERROR:
                raise psycopg.errors.error_from_result(result)
        return [text_rows(result) for result in found]

    def end_reading(self, *, durable: bool = False) -> None:
        """End a transaction that has only read.

        `durable`: and wait, in the same round trip, until what was read is on disk (the barrier).
        """
        if self.is_usable and self._connection.pgconn.transaction_status == pq.TransactionStatus.INTRANS:
            self._was_given_up = False
            self.script(f"commit; {BARRIER.decode()}" if durable else "commit")
            if self._was_given_up:
                self.barrier()
        else:
            self.roll_back()

    def roll_back(self) -> None:
        """Undo what is not committed. Where that is impossible, the session is closed, which undoes it too."""
        self.discard()
        if not self.is_usable:
            return
        try:
            if self._connection.pgconn.transaction_status == pq.TransactionStatus.ACTIVE:
                self.close()  # a statement was left in the middle
            elif self.in_transaction:
                self._run(b"rollback", ())
        except psycopg.Error:
            self.close()

    def give_up(self) -> None:
        """Have the server end what it does for this session, and close that, which is of no use in mid-answer."""
        self._connection.cancel_safe(timeout=2.0)
        self._connection.close()

    def close(self) -> None:
        """End the session. In a forked child it is only forgotten: to end it would end the parent's (P8)."""
        if self._pid == os.getpid():
            self._connection.close()
        else:
            _inherited.append(self._connection)

    def fileno(self) -> int:
        """The descriptor of the connection."""
        return self._connection.fileno()

    def is_notified(self) -> bool:
        """Whether a notification has come since this was asked last; nothing is waited for."""
        connection = self._connection.pgconn
        connection.consume_input()
        notified = False
        while connection.notifies() is not None:
            notified = True
        return notified

    def _send(self, *statements: Statement) -> Rows:
        """Run what was queued and these, in one round trip; return the rows of the last."""
        queued, self._queued = self._queued, []
        return self._run_together([*queued, *statements])

    def _run_together(self, statements: Sequence[Statement]) -> Rows:
        return self._pipeline.run(statements, prepare=not self.pooled)

    def _run(self, sql: bytes, values: Sequence[Any]) -> psycopg.RawCursor[Any]:
        """Run one that is not prepared."""
        cursor = psycopg.RawCursor(self._connection, row_factory=tuple_row)
        cursor.execute(sql, values or None, prepare=False)
        return cursor


_NAMED = re.compile(r"\$([a-z]\w*)")

_cursors = count(1)

_inherited: list[Any] = []
"""Connections of a parent: they must not be collected, which would close them."""


@lru_cache(1024)
def translate(sql: str) -> bytes:
    """The statement as PostgreSQL has it: `$1` and so on for each `?`, and lists that may be empty."""
    number = 0

    def changed(match: re.Match[str]) -> str:
        nonlocal number
        found = match[0]
        if found[0] == "?":
            number += 1
            return f"${found[1:] or number}"
        return _EMPTY.get(" ".join(found.lower().split()), found)

    return _CHANGED.sub(changed, sql).encode()


_CHANGED = re.compile(
    r"""'[^']*'|"[^"]*"|--[^\n]*|/\*.*?\*/|\?\d*|\b(?:not\s+)?in\s+\(\s*\)""", re.DOTALL | re.IGNORECASE
)
"""What stands for itself, literals and comments, before what has to be changed."""

_EMPTY = {"in ()": "= any ('{}')", "not in ()": "<> all ('{}')"}
"""A list without values, which SQLite allows."""


def text_rows(result: "pq.abc.PGresult") -> Rows:
    """The rows of a result, their values as text."""
    return [
        tuple(
            value.decode() if (value := result.get_value(row, column)) is not None else None
            for column in range(result.nfields)
        )
        for row in range(result.ntuples)
    ]
