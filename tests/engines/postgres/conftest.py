"""A session of PostgreSQL with the empty tables of all projections, within a transaction."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from projections import builtin
from queuectl.engines.postgres.connection import connect
from queuectl.engines.postgres.location import locate_postgres
from queuectl.engines.postgres.schema import open_schema
from queuectl.engines.postgres.session import Session
from queuectl.engines.postgres.tables import PostgresTables


@pytest.fixture
def session(postgres_url: str) -> Iterator[Session]:
    """Its schema is this test's own."""
    location = locate_postgres(postgres_url)
    session, _ = connect(location)
    with closing(session):
        open_schema(session, location, create=True)
        for projection in builtin():
            PostgresTables(session).make(projection.schema)
        session.script("set idle_in_transaction_session_timeout = 0; begin")  # tests think longer than writers may
        yield session
