"""The lock that orders all writers of a schema, taken first in each write transaction and held to its end."""

import msgspec
from psycopg import errors

from queuectl.engines.postgres.lock_holder import WRITING, lock_holder
from queuectl.engines.postgres.session import Session
from queuectl.errors import Busy, Unusable

NOW = "(extract(epoch from clock_timestamp()) * 1000000)::bigint"
"""The server's clock, in microseconds UTC."""


class Head(msgspec.Struct, frozen=True, gc=False):
    """The head of the log, read under the lock."""

    seq: int
    at: int
    """Microseconds UTC."""
    folding: str
    """See `log.folding` in schema.sql."""
    now: int
    """The server's clock (P6): microseconds UTC."""


class WriteLock:
    """The lock of one schema."""

    def __init__(self, url: str, key: int, settings: str) -> None:
        """`key` is the schema's own, `settings` statements that each transaction begins with."""
        self._url = url
        self._settings = settings
        self._key = key
        self._lock = f"select pg_advisory_xact_lock({WRITING}, {key})"

    def take(self, session: Session, patience: float | None) -> Head:
        """Begin a transaction and wait for the lock, in one round trip.

        Raises Busy after `patience` seconds (None: never), and Unusable where the
        server is one that can't be written.
        """
        limit = 0 if patience is None else max(1, int(patience * 1000))
        try:
            *_, [[seq, at, folding, now, is_replica]] = session.script(
                f"""
                begin isolation level read committed read write; {self._settings}
                set local synchronous_commit = off; set local lock_timeout = {limit};
                {self._lock};
                select seq, at, folding, {NOW}, pg_is_in_recovery() from log
                """
            )
        except errors.LockNotAvailable as error:
            session.roll_back()
            holder = lock_holder(session, self._key) or "other writers"
            raise Busy(f"locked for {patience:g} s ({self._url}) by {holder}: try again, or end that") from error
        if is_replica == "t":
            raise Unusable(
                f"{self._url}: is a replica: name the primary, or all hosts with ?target_session_attrs=read-write"
            )
        return Head(int(seq), int(at), folding, int(now))
