"""A pooler before the shared server, where its program is on PATH; where it is not, word of that: no wheel has it."""

import secrets
from pathlib import Path

import psycopg
import pytest

from tests.support.postgres import pgbouncer
from tests.support.postgres.database import Database
from tests.support.postgres.keeper import OWNER, Room


def test_sessions_are_pooled_by_transaction(postgres: Database, postgres_room: Room) -> None:
    folder = Path(postgres_room.folder, f"pooler-{secrets.token_hex(4)}")
    if pgbouncer.find() is None:
        with pytest.raises(RuntimeError, match="there is no pgbouncer: install the package"):
            pgbouncer.Pooler(folder, postgres.address)
        return
    with pgbouncer.Pooler(folder, postgres.address) as pooler:
        url = pooler.address.url(OWNER, OWNER)
        with psycopg.connect(url, autocommit=True) as one, psycopg.connect(url, autocommit=True) as other:
            backends = [session.execute("select pg_backend_pid()").fetchone() for session in (one, other, one)]
    assert len(set(backends)) == 1
