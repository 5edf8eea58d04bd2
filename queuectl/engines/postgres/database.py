"""A queue's schema by its URL: opened, removed."""

import shutil

from projections.replay import Progress
from queuectl.engines.postgres.connection import connect as open_session
from queuectl.engines.postgres.engine import PostgresEngine
from queuectl.engines.postgres.errors import PostgresErrors
from queuectl.engines.postgres.joined import JoinedEngine
from queuectl.engines.postgres.location import locate_postgres


def connect(
    url: str, *, create: bool, progress: Progress | None, patience: float | None, healing: bool
) -> PostgresEngine:
    """See `queuectl.engines.connect`."""
    return PostgresEngine(locate_postgres(url), create=create, progress=progress, patience=patience, healing=healing)


def join(connection: object, schema: str) -> JoinedEngine:
    """See `queuectl.engines.join`."""
    return JoinedEngine(connection, schema)


def discard(url: str) -> None:
    """Remove the queue: its schema, and its home on this host. Raises Unusable."""
    engine = connect(url, create=False, progress=None, patience=30.0, healing=False)
    engine.close()
    location = engine.location
    with PostgresErrors(location.url):
        session, _ = open_session(location)
        try:
            session.script(f"drop schema {location.name} cascade")
        finally:
            session.close()
    shutil.rmtree(engine.home.folder, ignore_errors=True)
