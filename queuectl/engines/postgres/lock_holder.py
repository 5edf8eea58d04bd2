"""Who has the lock that orders all writers of a schema: an application that enqueues in a transaction of its own, say,
and does not end that.
"""

import msgspec

from queuectl.engines.postgres.session import Session
from queuectl.units import span

WRITING = 0x71634C4B
"""The class of the advisory lock, beside the schema's oid."""


class LockHolder(msgspec.Struct, frozen=True):
    """A session that has the lock. What its role keeps from ours is None."""

    pid: int
    """Of its process on the server."""
    role: str
    program: str | None
    """What it calls itself."""
    host: str
    """Its address."""
    seconds: float | None
    """For which its transaction has been open: it may have the lock for less."""
    idle: float | None
    """Seconds for which the server has been waiting for its next statement; None: it is not."""

    def __str__(self) -> str:
        program = f"{self.program}, " if self.program else ""
        words = f"session {self.pid} ({self.role}, {program}from {self.host})"
        if self.seconds is not None:
            words += f", in a transaction that has been open for {span(self.seconds)}"
        if self.idle is not None:
            words += f" and has sent nothing for {span(self.idle)}"
        return words


def lock_holder(session: Session, key: int) -> LockHolder | None:
    """Who has the lock of the schema with this key; None where nobody has it (any more)."""
    rows = session.execute(
        """
        select l.pid, usename::text, nullif(application_name, ''), coalesce(host(client_addr), 'its own host'),
            extract(epoch from clock_timestamp() - xact_start)::float8,
            case when state like 'idle%' then extract(epoch from clock_timestamp() - state_change)::float8 end
        from pg_locks l join pg_stat_activity a on a.pid = l.pid
        where locktype = 'advisory' and granted and classid::bigint = ? and objid::bigint = ?
            and l.database = (select oid from pg_database where datname = current_database())
        """,
        (WRITING, key % (1 << 32)),
    )
    return LockHolder(*rows[0]) if rows else None
