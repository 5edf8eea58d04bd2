"""The tables of a SQLite queue, read by a connection that can't write, without the engine around them."""

from collections.abc import Generator
from contextlib import contextmanager

import apsw

from queuectl.engines.sqlite import database
from queuectl.engines.sqlite.database import Translated
from queuectl.engines.sqlite.location import check_database, locate
from queuectl.engines.sqlite.store import SqliteStore
from queuectl.errors import Absent, shown

PATIENCE = 100
"""Milliseconds to wait for a lock; readers meet one only while SQLite mends a database."""


@contextmanager
def read_only(url: str) -> Generator[SqliteStore]:
    """See `queuectl.engines.read_only`."""
    location = locate(url)
    path = location.database
    with Translated(path):
        if not check_database(location) or not database.is_made(path):
            raise Absent(f"{shown(path)}: there is no database: check the path")
        connection = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY)
        try:
            connection.set_busy_timeout(PATIENCE)
            connection.config(apsw.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1)
            connection.execute("begin")
            yield SqliteStore(connection)
        finally:
            connection.close()
