"""What PostgreSQL and psycopg raise, as errors of ours: one line that says what to do, without a password."""

import re
from types import TracebackType

import psycopg
from psycopg import errors

from queuectl.engines.postgres.connecting import Unreachable, connection_error, is_about_connecting
from queuectl.errors import Busy, Conflict, Invalid, Outdated, Unusable
from queuectl.events import Newer, Unreadable

NO_NUL = "PostgreSQL keeps no NUL character in a text: leave it out"

CAN_NOT_CONNECT = "check that it runs and that the URL is right"


class Unsure(Unreachable):
    """The connection was lost in a commit, and whether that was done can't be found out: look before doing it again."""


class PostgresErrors:
    """psycopg's errors as ours, and those of a log that can't be read."""

    __slots__ = ("_url",)

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        match error:
            case None:
                return
            case Newer():
                raise Outdated(f"{self._url}: {error}") from error
            case Unreadable():
                raise Unusable(f"{self._url}: {error}") from error
            case psycopg.Error():
                raise translated(error, self._url) from error
            case _:
                pass


def is_lost(error: BaseException) -> bool:
    """Whether the connection is gone with this error."""
    return isinstance(error, psycopg.OperationalError) and (
        error.sqlstate is None
        or isinstance(
            error,
            errors.AdminShutdown
            | errors.CrashShutdown
            | errors.CannotConnectNow
            | errors.IdleInTransactionSessionTimeout,
        )
    )


def translated(error: psycopg.Error, url: str) -> Exception:
    """The error for a user of the queue at this URL."""
    text = one_line(error)
    match error:
        case errors.UniqueViolation() if error.diag.table_name == "events":
            return Conflict(f"{text}: load it again and decide again")
        case errors.SerializationFailure() | errors.DeadlockDetected():
            return Conflict(f"{url}: {text}: roll the transaction back and do it again")
        case errors.LockNotAvailable():
            return Busy(f"{url}: is locked by another writer: try again")
        case errors.InsufficientPrivilege():
            return Unusable(f"{url}: {text}: {_grant(text)}")
        case errors.ReadOnlySqlTransaction() | errors.FeatureNotSupported() if _READ_ONLY.search(text):
            return Unusable(
                f"{url}: is a replica, or read-only: name the primary, or all hosts with"
                " ?target_session_attrs=read-write"
            )
        case errors.DiskFull() | errors.OutOfMemory():
            return Unusable(f"{url}: the server says: {text}: nothing was written; make room and try again")
        case errors.UntranslatableCharacter() | errors.CharacterNotInRepertoire():
            return Invalid(NO_NUL)
        case psycopg.DataError() if error.sqlstate is None and "NUL" in text:  # psycopg does not even send it
            return Invalid(NO_NUL)
        case errors.UndefinedTable() | errors.InvalidSchemaName() | errors.UndefinedColumn():
            return Unusable(f"{url}: {text}: a table is missing or not as it must be; `queuectl doctor` tells more")
        case psycopg.ProgrammingError() if error.sqlstate is None:
            return connection_error(error, text, url)
        case _ if error.sqlstate is None and is_about_connecting(error, text):
            return connection_error(error, text, url)
        case _ if is_lost(error):
            return Unreachable(f"{url}: {text}: {CAN_NOT_CONNECT}")
        case _:
            return Unusable(f"{url}: PostgreSQL says: {text}")


def _grant(text: str) -> str:
    """What gives the role the right that it lacks, by what the server says."""
    for pattern, grant in GRANTS.items():
        if (found := re.search(pattern, text)) is not None:
            return grant.format(*found.groups())
    return "connect as the role that made the queue"


GRANTS = {
    r"denied for database (.+)": "`grant create on database {0} to` the role, or `create schema` for it",
    r"denied for schema (.+)": "`grant usage on schema {0} to` the role, and `create` where it is to make the queue",
    r"denied for (?:table|view|sequence|relation) (.+)": "`grant select on all tables in schema … to` the"
    " role, and to write `insert, update, delete`",
}
"""By what the server says: which grant is missing."""


_READ_ONLY = re.compile("recovery|read-only")


def one_line(error: psycopg.Error) -> str:
    """The message of the server, or of libpq, as one line."""
    text = error.diag.message_primary or str(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return "; ".join(dict.fromkeys(lines)).removesuffix(".") or type(error).__name__
