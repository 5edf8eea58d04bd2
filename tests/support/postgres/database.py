"""A schema of a server that a test has to itself, and what an administrator does there."""

from typing import Any, Self

import psycopg
from psycopg import sql

from tests.support.postgres.keeper import OWNER
from tests.support.postgres.server import PASSWORD, Address


class Database:
    """A name for a schema that does not exist yet: the queue makes it. What the test made is dropped at its end."""

    def __init__(self, address: Address, schema: str) -> None:
        self.address = address
        self.schema = schema
        self.url = address.url(OWNER, OWNER, schema)
        """For the role that owns the database, with its password."""
        self.administrator = address.administrator(OWNER)
        """A connection string of the administrator, for psycopg."""
        self._roles: list[str] = []
        self._connection: psycopg.Connection[Any] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.execute(sql.SQL("drop schema if exists {} cascade").format(sql.Identifier(self.schema)))
        for role in self._roles:
            self.execute(sql.SQL("drop owned by {0} cascade; drop role {0}").format(sql.Identifier(role)))
        if self._connection is not None:
            self._connection.close()

    @property
    def version(self) -> int:
        """The major version of the server."""
        [(number,)] = self.execute("select current_setting('server_version_num')::int / 10000")
        return number

    def execute(self, query: str | sql.Composed, *values: object) -> list[tuple[Any, ...]]:
        """Run SQL as the administrator, with the schema as search path; the rows, where there are any."""
        if self._connection is None:
            self._connection = self.connect()
        cursor = self._connection.execute(query.encode() if isinstance(query, str) else query, values or None)
        return cursor.fetchall() if cursor.description else []

    def connect(self) -> psycopg.Connection[Any]:
        """A new session of the administrator, who waits 10 s for a lock and no longer; close it."""
        return psycopg.connect(
            self.administrator, autocommit=True, options=f"-c search_path={self.schema} -c lock_timeout=10s"
        )

    @property
    def named_url(self) -> str:
        """The URL of sessions that can be told from those of other tests, by `end_sessions`."""
        return f"{self.url}&application_name={self.schema}"

    def end_sessions(self) -> int:
        """End the sessions of whoever came by `named_url`, as an administrator can; returns how many there were."""
        return len(
            self.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where application_name = %s", self.schema
            )
        )

    def role(self) -> str:
        """The URL of a new role, who has a password and no right to anything but to log in."""
        name = f"{self.schema}_{len(self._roles)}"
        self.execute(sql.SQL("create role {} login password {}").format(sql.Identifier(name), sql.Literal(PASSWORD)))
        self._roles.append(name)
        return self.address.url(name, OWNER, self.schema)

    def owner_with(self, setting: str, value: str) -> str:
        """The URL of a new role, who owns the schema, now made, and has this setting by default."""
        url = self.role()
        role = sql.Identifier(self._roles[-1])
        self.execute(sql.SQL("create schema {} authorization {}").format(sql.Identifier(self.schema), role))
        self.execute(sql.SQL("alter role {} set {} = {}").format(role, sql.Identifier(setting), sql.Literal(value)))
        return url
