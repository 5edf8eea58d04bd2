"""Being woken by PostgreSQL: a session that listens, and says by a lock that it does, so that others notify (P9)."""

import os
import select
import threading

import psycopg

from queuectl.engines.postgres.connection import connect
from queuectl.engines.postgres.location import PostgresLocation
from queuectl.engines.postgres.session import Session

HEARD = 0x71634C00
"""The class of the advisory locks that listeners share, one for each kind, beside the schema's oid."""

KINDS = {"log": 1, "work": 2}

POLL = 1.0
"""Seconds between two rings where no notification ever comes, behind PgBouncer (P10)."""


def notify(schema: int, kind: str) -> str:
    """The statement that notifies the listeners of a kind, where there are any; `schema` as the key of a lock.

    To the end of the transaction nobody can begin to listen: it has to be short.
    """
    return f"{notification(schema, kind)} where not pg_try_advisory_xact_lock({HEARD + KINDS[kind]}, {schema})"


def notification(schema: int, kind: str) -> str:
    """The statement that notifies without asking whether anybody listens, for a transaction that may last."""
    return f"select pg_notify('{_channel(kind, schema)}', '')"


def _channel(kind: str, schema: int) -> str:
    return f"queuectl_{kind}_{schema & 0xFFFFFFFF}"


class PostgresListener:
    """See `queuectl.engines.base.Listener`. Its descriptor stays the same when it connects anew."""

    path = None

    def __init__(self, location: PostgresLocation, schema: int, kind: str) -> None:
        """Raises psycopg's errors where the server can't be reached."""
        self._location, self._schema, self._kind = location, schema, kind
        self._event = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._epoll = select.epoll()
        self._epoll.register(self._event, select.EPOLLIN)
        self._session: Session | None = None
        self._closed = threading.Event()
        try:
            self.connect()
        except BaseException:
            self.close()
            raise

    @property
    def is_lost(self) -> bool:
        """Whether it has lost its session, as far as is known, and not been closed."""
        return self._session is None and not self._closed.is_set()

    def connect(self) -> None:
        """Listen in a new session, and ring: who listens has missed what came meanwhile. Raises psycopg's errors."""
        session, _ = connect(self._location)
        if session.pooled:
            threading.Thread(target=self._ring_now_and_then, daemon=True).start()
        else:
            lock = f"pg_advisory_lock_shared({HEARD + KINDS[self._kind]}, {self._schema})"
            session.script(f"listen {_channel(self._kind, self._schema)}; select {lock}")
            self._epoll.register(session.fileno(), select.EPOLLIN)
        self._session = session

    def ring(self) -> None:
        """Become readable."""
        os.eventfd_write(self._event, 1)

    def fileno(self) -> int:
        return self._epoll.fileno()

    def clear(self) -> bool:
        rung = False
        try:
            os.eventfd_read(self._event)
            rung = True
        except BlockingIOError:
            pass
        if self._session is not None and not self._session.pooled:
            try:
                rung = self._session.is_notified() or rung
            except psycopg.Error:
                self._disconnect()
                rung = True
        return rung

    def wait(self, timeout: float | None) -> bool:
        return bool(self._epoll.poll(timeout)) and self.clear()

    def close(self) -> None:
        if not self._closed.is_set():
            self._closed.set()
            self._disconnect()
            self._epoll.close()
            os.close(self._event)

    def _disconnect(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            if not session.pooled and session.is_usable:
                self._epoll.unregister(session.fileno())
            session.close()

    def _ring_now_and_then(self) -> None:
        while not self._closed.wait(POLL):
            self.ring()
