"""Statements sent together: one round trip, the first error, and what stays prepared."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import errors

from queuectl.engines.postgres.patient_connection import MEANWHILE, PatientConnection
from queuectl.engines.postgres.pipeline import PREPARED, Pipeline
from queuectl.engines.postgres.values import configure
from tests.support.postgres.database import Database


@pytest.fixture
def connection(postgres: Database) -> Iterator[psycopg.Connection]:
    connection = PatientConnection.connect(postgres.administrator, autocommit=True)
    configure(connection)
    with connection:
        yield connection


@pytest.fixture
def pipeline(connection: psycopg.Connection) -> Pipeline:
    return Pipeline(connection)


def kept(connection: psycopg.Connection) -> int:
    """How many statements are prepared in the session."""
    rows = connection.execute("select count(*) from pg_prepared_statements", prepare=False).fetchall()
    return rows[0][0]


def test_the_rows_of_the_last_are_returned(pipeline: Pipeline) -> None:
    statements = [(b"create temp table t (x text, y bigint)", ()), (b"insert into t values ($1, $2)", ("é", None))]
    assert pipeline.run(statements) == []
    assert pipeline.run([(b"select 1", ()), (b"select x, y, $1 from t", (True,))]) == [("é", None, 1)]


def test_nothing_runs_after_an_error(pipeline: Pipeline, connection: psycopg.Connection) -> None:
    pipeline.run([(b"create temp table t (x bigint primary key)", ())])
    insert = b"insert into t values ($1)"
    with pytest.raises(errors.UniqueViolation):
        pipeline.run([(b"begin", ()), (insert, (1,)), (insert, (1,)), (b"select $1::text", ("x",)), (b"commit", ())])
    assert connection.info.transaction_status == psycopg.pq.TransactionStatus.INERROR
    pipeline.run([(b"rollback", ())])
    assert pipeline.run([(insert, (2,)), (b"select $1::text", ("x",))]) == [("x",)]
    assert pipeline.run([(b"select x from t", ())]) == [(2,)]


def test_what_is_used_again_stays_prepared(pipeline: Pipeline, connection: psycopg.Connection) -> None:
    for number in range(3):
        assert pipeline.run([(b"select $1 + 1", (number,)), (b"select $1 + 1", (number,))]) == [(number + 1,)]
    assert kept(connection) == 1


def test_what_was_not_used_longest_is_given_up(pipeline: Pipeline, connection: psycopg.Connection) -> None:
    for number in range(2 * PREPARED):
        pipeline.run([(b"select $1 + %d" % number, (1,)), (b"select $1 + 0", (1,))])
    assert kept(connection) <= PREPARED + 2
    assert pipeline.run([(b"select $1 + 0", (1,))]) == [(1,)]


def test_behind_a_pooler_nothing_is_prepared(connection: psycopg.Connection) -> None:
    assert Pipeline(connection).run([(b"select $1 + 1", (1,))], prepare=False) == [(2,)]
    assert kept(connection) == 0


def test_much_is_sent_and_fetched_at_once(pipeline: Pipeline) -> None:
    much = "x" * (1 << 22)
    assert pipeline.run([(b"select $1", (much,))] * 4) == [(much,)]


def test_the_servers_reason_is_told(pipeline: Pipeline, connection: psycopg.Connection) -> None:
    with pytest.raises(psycopg.OperationalError, match="terminating connection due to administrator command"):
        pipeline.run([(b"select 1", ()), (b"select pg_terminate_backend(pg_backend_pid())", ())])
    assert connection.closed


def test_an_interrupted_wait_closes_the_connection(pipeline: Pipeline, connection: psycopg.Connection) -> None:
    def give_up() -> None:
        raise TimeoutError

    token = MEANWHILE.set(give_up)
    try:
        with pytest.raises(TimeoutError):
            pipeline.run([(b"select pg_sleep(30)", ())])
    finally:
        MEANWHILE.reset(token)
    assert connection.closed
