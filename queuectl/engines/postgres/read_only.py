"""The tables of a PostgreSQL queue, read in a session that can't write, without the engine around them."""

from collections.abc import Generator
from contextlib import contextmanager

from msgspec.structs import replace

from queuectl.engines.postgres.connection import connect, local_settings
from queuectl.engines.postgres.errors import PostgresErrors
from queuectl.engines.postgres.location import locate_postgres
from queuectl.engines.postgres.store import PostgresStore

PATIENCE = 2
"""Seconds to wait for the server, unless the URL says otherwise, and for each answer."""


@contextmanager
def read_only(url: str) -> Generator[PostgresStore]:
    """See `queuectl.engines.read_only`."""
    location = locate_postgres(url)
    if "connect_timeout=" not in location.dsn:
        timeout = f"{'&' if '?' in location.dsn else '?'}connect_timeout={PATIENCE}"
        location = replace(location, dsn=location.dsn + timeout)
    with PostgresErrors(location.url):
        session, facts = connect(location)
        try:
            local = local_settings(location, facts.version) if session.pooled else ""
            session.script(f"begin read only; {local} set local statement_timeout = '{PATIENCE}s'")
            yield PostgresStore(session)
        finally:
            session.close()
