"""A process goes on with what it has to do while it waits for a server (P7). It needs a private method of psycopg."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
import pytest

from queuectl.engines.postgres.patient_connection import MEANWHILE, PatientConnection
from tests.support.postgres.database import Database


@contextmanager
def counted() -> Iterator[list[None]]:
    """One entry for each time that something else could be done."""
    calls: list[None] = []
    token = MEANWHILE.set(lambda: calls.append(None))
    try:
        yield calls
    finally:
        MEANWHILE.reset(token)


def test_meanwhile_is_called_while_connecting() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent, counted() as calls:
        port = silent.getsockname()[1]
        with pytest.raises(psycopg.OperationalError, match="timeout"):
            PatientConnection.connect(f"host=127.0.0.1 port={port} connect_timeout=2")
        assert len(calls) > 5


def test_meanwhile_is_called_while_a_statement_runs(postgres: Database) -> None:
    with PatientConnection.connect(postgres.administrator) as connection, counted() as calls:
        connection.execute("select pg_sleep(0.5)")
        assert len(calls) > 2
