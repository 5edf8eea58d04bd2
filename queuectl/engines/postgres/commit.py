"""Committing, so that what was acknowledged is certain, also where the connection is lost in the middle (P3, P4)."""

import time
from collections.abc import Callable

import psycopg
from msgspec.structs import astuple

from queuectl.clock import monotonic
from queuectl.engines.postgres.durable import NotDurable, durable_in_time
from queuectl.engines.postgres.errors import CAN_NOT_CONNECT, Unreachable, Unsure, is_lost
from queuectl.engines.postgres.log_rows import EVENT
from queuectl.engines.postgres.session import Session
from queuectl.engines.postgres.write_lock import WriteLock
from queuectl.errors import Unusable
from queuectl.events import Recorded

PATIENCE = 60.0
"""Seconds for which the server is tried again, to learn what became of a commit."""

PAUSE = 0.2
"""Seconds between two tries."""

UNSURE = "the connection was lost in a commit: what was asked for may be done or not; look before doing it again"

WRITTEN = "what was asked for is written, and may still get lost; look before doing it again"


def commit(
    session: Session,
    first: Recorded | None,
    reconnect: Callable[[], Session],
    lock: WriteLock,
    meanwhile: Callable[[], None] | None,
    url: str,
    *,
    durable: bool,
    endless: bool,
) -> None:
    """Commit, and return once that is durable, where it is to be; `first` is the first event that was appended.

    Commands give up after a while, unless that is to be `endless`.
    Where the outcome is not known, the server is asked in a new session. Raises Unreachable where nothing was written,
    Unsure where that could not be found out, or it does not become durable.
    """
    try:
        with session.doing(meanwhile), durable_in_time(session, url, endless=endless):
            session.commit(durable=durable)
    except NotDurable as error:
        raise Unsure(f"{error}; {WRITTEN}") from error
    except psycopg.OperationalError as error:
        if not is_lost(error):
            raise
        session.close()
        if first is None or not _is_there(first, reconnect, lock, meanwhile, error):
            raise Unreachable(
                f"the connection was lost in a commit, and nothing was written: {CAN_NOT_CONNECT}"
            ) from error


def commit_block(session: Session) -> None:
    """Commit what is no event, and return once that is durable. Raises Unsure where the connection is lost."""
    try:
        session.commit()
    except psycopg.OperationalError as error:
        if not is_lost(error):
            raise
        raise Unsure(UNSURE) from error


def _is_there(
    first: Recorded,
    reconnect: Callable[[], Session],
    lock: WriteLock,
    meanwhile: Callable[[], None] | None,
    lost: BaseException,
) -> bool:
    """Whether the log has this event, by the word of a server on which no commit of it waits any more.

    One that can't be written is no such server: a standby does not know yet what it will have.
    """
    until = monotonic() + PATIENCE
    session: Session | None = None
    while True:
        try:
            session = reconnect()
            with session.doing(meanwhile):
                lock.take(session, None)
                rows = session.execute(f"select {EVENT} from events where seq = ?", (first.seq,))
                session.commit()
            return rows == [_values(first)]
        except (psycopg.Error, Unusable) as error:
            lost = error
            if session is not None:
                session.close()
        if monotonic() > until:
            raise Unsure(UNSURE) from lost
        if meanwhile is not None:
            meanwhile()
        time.sleep(PAUSE)


def _values(record: Recorded) -> tuple[object, ...]:
    return astuple(record)
