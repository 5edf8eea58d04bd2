"""A PostgreSQL server to measure on, in a scratch folder: as durable as one is outside of tests."""

import os
from collections.abc import Generator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import psycopg
from psycopg import sql

from bench.scratch import Scratch
from tests.support.postgres import programs, replication
from tests.support.postgres.server import PASSWORD, Server

OWNER = "queuectl"
"""The role that owns all databases."""

SETTINGS = {**replication.DURABLE, "shared_buffers": "256MB", "max_wal_size": "4GB"}
"""Beside PostgreSQL's own defaults."""


class Cluster:
    """The server, and the databases on it."""

    def __init__(self, server: Server, connection: psycopg.Connection) -> None:
        self._server = server
        self._connection = connection
        self._made = 0

    @property
    def version(self) -> str:
        """That of the server."""
        return str(self._connection.info.server_version // 10_000)

    def database(self, template: str = "template1") -> str:
        """The name of a new database: empty, or a copy of another one in which nobody has a session.

        What was written is on the disk, so that the first commit that is measured does not pay for it.
        """
        self._made += 1
        name = f"bench{self._made}"
        made = sql.SQL("create database {} owner {} template {}")
        self._connection.execute(made.format(*map(sql.Identifier, (name, OWNER, template))))
        self._connection.execute("checkpoint")
        return name

    def url(self, database: str) -> str:
        """The URL of the queue in a database."""
        return self._server.address.url(OWNER, database, "queuectl")

    def dsn(self, database: str) -> str:
        """The URL of a database, for others than us."""
        return self._server.address.url(OWNER, database)


@contextmanager
def cluster(scratch: Scratch, *, standby: bool = False) -> Generator[Cluster]:
    """A new server; with a standby, which each commit waits for.

    Homes of queues are in the scratch folder meanwhile.
    """
    os.chmod(scratch.root, 0o755)  # the server runs as another user, where this is root
    folder = Path(scratch.fresh())
    os.chmod(folder, 0o755)
    before = os.environ.get("XDG_STATE_HOME")
    os.environ["XDG_STATE_HOME"] = scratch.fresh()
    with ExitStack() as stack:
        stack.callback(_restore, before)
        wheel = programs.wheel(folder)
        primary, second = Server(folder / "primary", wheel), Server(folder / "standby", wheel)
        for server in (primary, second):
            stack.callback(server.kill)
        primary.create(SETTINGS)
        primary.start()
        if standby:
            replication.follow(second, primary, "standby")
            replication.wait_for(primary, "standby")
        connection = stack.enter_context(closing(psycopg.connect(primary.address.administrator(), autocommit=True)))
        connection.execute(
            sql.SQL("create role {} login password {}").format(sql.Identifier(OWNER), sql.Literal(PASSWORD))
        )
        yield Cluster(primary, connection)


def _restore(state: str | None) -> None:
    if state is None:
        del os.environ["XDG_STATE_HOME"]
    else:
        os.environ["XDG_STATE_HOME"] = state
