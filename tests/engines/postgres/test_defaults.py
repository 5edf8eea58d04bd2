"""A queue is the same whatever a role, or a database, has by default."""

from collections.abc import Iterator

import pytest

from queuectl import Queue, Unusable
from tests.support.postgres.database import Database
from tests.support.postgres.keeper import OWNER

TEXT = "echo '€ 日本 \\ %s ?'"
FRACTION = 1.1234567890123457
"""Of which any digit less is another number."""


@pytest.mark.parametrize(
    "setting,value",
    [
        ("client_encoding", "LATIN1"),
        ("client_encoding", "SQL_ASCII"),
        ("default_transaction_read_only", "on"),
        ("default_transaction_isolation", "serializable"),
        ("extra_float_digits", "-15"),
        ("bytea_output", "escape"),
        ("standard_conforming_strings", "off"),
        ("timezone", "Asia/Kolkata"),
        ("search_path", "public"),
        ("lock_timeout", "1ms"),
    ],
)
def test_a_default_changes_nothing(postgres: Database, setting: str, value: str) -> None:
    with Queue(postgres.owner_with(setting, value)) as queue:
        id = queue.enqueue(TEXT, timeout=FRACTION)
        found = queue.job(id)
        assert (found.policy.command, found.policy.timeout) == (TEXT, FRACTION)
        assert queue.check() == []


@pytest.fixture
def encoded(postgres: Database) -> Iterator[Database]:
    """A database whose name is to be made with an encoding."""
    yield postgres
    postgres.execute(f"drop database if exists {postgres.schema} (force)")


def make(database: Database, encoding: str) -> str:
    """The URL of a queue in a new database with this encoding."""
    database.execute(
        f"create database {database.schema} owner {OWNER} encoding '{encoding}' locale 'C' template template0"
    )
    return database.address.url(OWNER, database.schema, "queuectl")


def test_a_database_without_encoding_keeps_text(encoded: Database) -> None:
    with Queue(make(encoded, "SQL_ASCII")) as queue:
        id = queue.enqueue(TEXT, tags={"ü": "é"})
        assert queue.job(id).policy.command == TEXT
        assert [job.id for job in queue.jobs(where="tag:ü=é")] == [id]
        assert queue.check() == []


def test_a_database_that_lacks_characters_is_refused(encoded: Database) -> None:
    url = make(encoded, "LATIN1")
    with pytest.raises(Unusable, match="LATIN1, which has not every character"):
        Queue(url)
    with pytest.raises(Unusable, match="no queue"):
        Queue(url, create=False)
