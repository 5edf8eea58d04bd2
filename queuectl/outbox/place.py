"""Where an outbox is, as `worker start --outbox` names it: a SQLite file or a PostgreSQL database of the application.

Nothing is ever made there, and no password leaves it but to libpq.
"""

import os
import re
import sqlite3
from typing import Any, Protocol
from urllib.parse import parse_qsl, quote, urlsplit

from queuectl.errors import Invalid, Unusable, shown
from queuectl.outbox.schema import TABLE

PATIENCE = 5.0
"""Seconds for which a SQLite file may be locked by the application."""

SECRET = ("password", "sslpassword")
"""The parameters of libpq that are shown nowhere."""


class OutboxPlace(Protocol):
    """A database that holds an outbox."""

    @property
    def name(self) -> str:
        """As it may be shown: without a password."""
        ...

    @property
    def key(self) -> str:
        """What tells it from all others, without a password."""
        ...

    @property
    def file(self) -> str | None:
        """The absolute path of the file that is opened; None: a server's."""
        ...

    @property
    def table(self) -> str:
        """The name of the table, with that of its schema where the URL has one."""
        ...

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What the driver raises."""
        ...

    def connect(self) -> Any:
        """Open a connection, for one thread at a time. Raises Unusable, and what the driver raises."""
        ...

    def explain(self, error: Exception) -> str:
        """One line about an error of the driver, without a password."""
        ...


def locate(url: str) -> OutboxPlace:
    """What a path, `sqlite:///path` or `postgresql://…` names; nothing is opened.

    Raises Invalid, which repeats no password, for a URL of another kind, and where psycopg is not installed.
    """
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", url)
    kind = scheme[1].lower() if scheme else ""
    if kind in ("postgres", "postgresql"):
        return PostgresOutbox(url)
    path = url[len("sqlite:///") :] if url.lower().startswith("sqlite:///") else url if not scheme else ""
    if not path or "\0" in path or path == ":memory:":
        what = f"{kind}://…" if kind else repr(url)
        raise Invalid(f"{what} names no database that workers know: give a path, sqlite:///path or postgresql://…")
    return SqliteOutbox(path)


class SqliteOutbox:
    """A SQLite file of the application."""

    def __init__(self, path: str) -> None:
        self.table, self.errors = TABLE, (sqlite3.Error,)
        self.file = os.path.abspath(os.path.expanduser(path))
        self.name, self.key = shown(self.file), self.file

    def connect(self) -> sqlite3.Connection:
        """See `OutboxPlace`."""
        try:
            os.stat(self.file)
        except OSError as error:
            raise Unusable(f"{self.name}: {error.strerror}") from None
        connection = sqlite3.connect(
            f"file:{quote(os.fsencode(self.file))}?mode=rw", uri=True, timeout=PATIENCE, check_same_thread=False
        )
        # A row that is not valid UTF-8 is refused, and not all those behind it.
        connection.text_factory = _decoded
        return connection

    def explain(self, error: Exception) -> str:
        """See `OutboxPlace`."""
        text = str(error)
        if "locked" in text:
            text = "is locked by another program"
        return f"{self.name}: {_with_hint(text, 'no such table')}"


class PostgresOutbox:
    """A PostgreSQL database of the application."""

    file = None

    def __init__(self, url: str) -> None:
        """Raises Invalid."""
        try:
            import psycopg
            from psycopg.conninfo import conninfo_to_dict
        except ImportError:
            raise Invalid(
                "postgresql://… needs psycopg: install queuectl with its extra: 'queuectl-eventlog[postgres]'"
            ) from None
        from queuectl.engines.postgres.connection import CONNECTION
        from queuectl.engines.postgres.location import locate_postgres

        location = locate_postgres(url)
        has_schema = any(name == "schema" for name, _ in parse_qsl(urlsplit(url).query))
        self.table, schema = (
            (f'"{location.schema}".{TABLE}', f"?schema={location.schema}") if has_schema else (TABLE, "")
        )
        self.errors = (psycopg.Error,)
        try:
            given: dict[str, Any] = conninfo_to_dict(location.dsn)
        except psycopg.Error:  # it would repeat a part of the URL
            given = {"port": "?"}
        if not re.fullmatch(r"[0-9,]*", given.get("port", "")) or "@" in given.get("dbname", ""):
            raise Invalid(
                "the postgresql:// URL can't be read: give postgresql://user@host:port/database, and write / : @ # and"
                " % of a password as %2F %3A %40 %23 and %25"
            )
        self._options: dict[str, Any] = {**CONNECTION, "application_name": "queuectl outbox", **given}
        self._options["client_encoding"] = "utf8"  # whatever the role's default: text has to come as text
        user, host, port, name = (given.get(each) for each in ("user", "host", "port", "dbname"))
        port = (port or "").strip(",")  # with several hosts it has as many commas
        self.name = shown(
            f"postgresql://{f'{user}@' if user else ''}{host or ''}{f':{port}' if port else ''}/{name or ''}{schema}"
        )
        told = {option: value for option, value in given.items() if option not in SECRET}
        self.key = f"{sorted(told.items())} {self.table}"

    def connect(self) -> Any:
        """See `OutboxPlace`."""
        import psycopg

        # Nothing is prepared: behind a pooler the next statement may be in another session.
        return psycopg.connect(**self._options, prepare_threshold=None)

    def explain(self, error: Exception) -> str:
        """See `OutboxPlace`."""
        import psycopg

        from queuectl.engines.postgres.connecting import connection_error, is_about_connecting
        from queuectl.engines.postgres.errors import one_line

        assert isinstance(error, psycopg.Error)
        text = one_line(error)
        for secret in SECRET:
            if self._options.get(secret):
                text = text.replace(self._options[secret], "***")
        if is_about_connecting(error, text):
            return str(connection_error(error, text, self.name))
        return f"{self.name}: {_with_hint(text, 'does not exist')}"


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


def _with_hint(text: str, absent: str) -> str:
    """What a driver said, with what to do where the table is not there: then it contains `absent`."""
    if TABLE in text and absent in text:
        return f"{text}: make it there by what `queuectl outbox schema` prints"
    return text
