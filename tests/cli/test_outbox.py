"""`outbox schema`, and what `worker start --outbox` refuses."""

import sqlite3
from collections.abc import Callable

import pytest

from queuectl.outbox import schema
from tests.support.shell import Answer, Shell


def test_the_schema_makes_the_table(queuectl: Shell) -> None:
    sql = queuectl("outbox", "schema").ok().out
    with sqlite3.connect(":memory:") as database:
        database.executescript(sql)
        database.execute("insert into queuectl_outbox (job) values ('true')")
        [row] = database.execute("select number, length(id), job, error from queuectl_outbox")
    assert row == (1, len("outbox-") + 20, "true", None)
    database.close()


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_the_schema_is_that_of_the_library(inside: Callable[..., Answer], dialect: str) -> None:
    assert inside("outbox", "schema", "--dialect", dialect).ok().out == schema(dialect)


def test_an_unknown_dialect_is_refused(inside: Callable[..., Answer]) -> None:
    told = inside("outbox", "schema", "--dialect", "mysql").refused(2)
    assert told == "--dialect: 'mysql' is no dialect; there are sqlite, postgresql"


@pytest.mark.parametrize(
    "url, told",
    [
        ("mysql://app:hunter2@db/shop", "--outbox: mysql://… names no database that workers know"),
        ("postgresql://app:hunter2/@db/shop", "--outbox: the postgresql:// URL can't be read"),
        ("q.db", "q.db: is the queue's own database"),
        ("", "--outbox: '' names no database"),
    ],
)
def test_a_wrong_outbox_is_refused_at_the_start(queuectl: Shell, url: str, told: str) -> None:
    answer = queuectl("worker", "start", "--outbox", url).refused(2)
    assert told in answer
    assert "hunter2" not in answer
