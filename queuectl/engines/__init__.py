"""Where log and projections live. This is the one place that knows which engine a URL means."""

import os
import stat
from contextlib import AbstractContextManager
from importlib import import_module
from typing import TYPE_CHECKING

from queuectl.errors import Invalid, Unusable

if TYPE_CHECKING:
    from types import ModuleType

    from projections.replay import Progress
    from projections.store import Store
    from queuectl.engines.base import Engine

POSTGRES = ("postgresql:", "postgres:")
"""How the URL of a PostgreSQL database begins."""

_SQLITE = b"SQLite format 3\0"


def connect(
    url: str,
    *,
    create: bool = True,
    progress: "Progress | None" = None,
    patience: float | None = 30.0,
    healing: bool = True,
) -> "Engine":
    """The engine for a path, `sqlite:///path` or `postgresql://…`.

    The database (of PostgreSQL the schema) is made where there is none, unless `create` is false. Without `healing` it
    opens a log that lacks events, or of which no tables can be made, and leaves it so. Raises Invalid for a URL of no
    known kind, Unusable for a database that can't be used, Absent where there is none.
    """
    if is_postgres(url):
        return _postgres().connect(url, create=create, progress=progress, patience=patience, healing=healing)
    from queuectl.engines.sqlite.engine import SqliteEngine
    from queuectl.engines.sqlite.location import locate

    return SqliteEngine(locate(url), create=create, progress=progress, patience=patience, healing=healing)


def read_only(url: str) -> "AbstractContextManager[Store]":
    """The tables of a queue as they stand, for questions that are to be answered at once or not at all.

    Nothing is made, healed or rebuilt, and little waited for: the tables may be those of another version. Raises here
    or when it is entered, Invalid and Unusable as `connect` does, and Absent where there is no database.
    """
    module = _postgres("read_only") if is_postgres(url) else import_module("queuectl.engines.sqlite.read_only")
    return module.read_only(url)


def load(url: str) -> None:
    """Import what `connect` needs for this URL. Raises Unusable where that is not installed."""
    if is_postgres(url):
        _postgres()
    else:
        import_module("queuectl.engines.sqlite.engine")


def join(connection: object, schema: str) -> "Engine":
    """The engine of a queue in the database of this connection of psycopg, whose `transaction` is a part of the one
    that the caller has open there; nothing else may be asked of it.

    Raises Invalid for what is no such connection, and for a schema of no possible name.
    """
    return _postgres().join(connection, schema)


def is_postgres(url: str) -> bool:
    """Whether a URL names a PostgreSQL database."""
    return url.lower().startswith(POSTGRES)


def has_password(url: str) -> bool:
    """Whether a password, or another secret, stands in a URL. Raises Invalid for a URL that can't be read."""
    if not is_postgres(url):
        return False
    from queuectl.engines.postgres.location import locate_postgres

    return locate_postgres(url).has_secret


def resolve(url: str) -> str:
    """The URL under which the engine of this database is known (`Engine.url`); nothing is opened.

    Raises Invalid for a URL of no known kind, Unusable for a symbolic link that another user made.
    """
    if is_postgres(url):
        from queuectl.engines.postgres.location import locate_postgres

        return locate_postgres(url).url
    from queuectl.engines.sqlite.location import locate

    return locate(url).database


def is_database(name: str) -> bool:
    """Whether this is a URL, or the path of an SQLite file, by its first bytes. Raises OSError where it can't be read.

    Not to be asked of a database that this process has open: closing the file would drop SQLite's locks (R6).
    """
    if "://" in name:
        return True
    with open(name, "rb") as file:
        return stat.S_ISREG(os.fstat(file.fileno()).st_mode) and file.read(len(_SQLITE)) == _SQLITE


def discard(url: str) -> None:
    """Remove a database that nothing has open, with its home. Raises as `connect` does, and OSError."""
    import shutil  # too much to load for each enqueue

    if is_postgres(url):
        _postgres().discard(url)
        return
    from queuectl.engines.sqlite.location import locate

    location = locate(url)
    for path in location.files:
        if os.path.lexists(path):
            os.unlink(path)
    shutil.rmtree(location.home.folder, ignore_errors=True)


def scratch(url: str) -> str:
    """The URL of a schema that is not there yet, in the PostgreSQL database that this one names: for `discard` later.

    Raises Invalid for another URL.
    """
    if not is_postgres(url):
        raise Invalid("only PostgreSQL has schemas: name a database as postgresql://user@host/database")
    from queuectl.engines.postgres.location import locate_postgres, with_schema

    return with_schema(locate_postgres(url), f"queuectl_scratch_{os.urandom(8).hex()}")


def files(url: str) -> tuple[str, ...]:
    """The files of a database on this host (`Engine.files`); nothing is opened. Raises as `resolve` does."""
    if is_postgres(url):
        return ()
    from queuectl.engines.sqlite.location import locate

    return locate(url).files


def _postgres(name: str = "database") -> "ModuleType":
    """A module of the engine. Raises Unusable where psycopg is not installed."""
    try:
        return import_module(f"queuectl.engines.postgres.{name}")
    except ImportError as error:
        raise Unusable(
            f"postgresql://… needs psycopg, which can't be loaded ({str(error).partition(chr(10))[0]}):"
            " pip install 'queuectl-eventlog[postgres]'"
        ) from error
