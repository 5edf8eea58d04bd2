"""Floors in plain apsw: the least that any program must have SQLite do to leave the same behind, as durably.

They know no schema. What they write is what QueueCTL has written before, row by row, into tables and indexes that are
made as QueueCTL's were; or the very statements that it gave to SQLite, played back.

A database is opened here only while no Queue of this process has it open: closing it would drop SQLite's locks.
"""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import apsw
import msgspec

Row = tuple[Any, ...]
Script = list[tuple[str, list[Any]]]
"""SQL, and the values of each of its runs."""

LOG = "select * from events where type = 'enqueued' order by seq limit ?"
JOBS = "select * from jobs order by seq limit ?"


class Written(msgspec.Struct, frozen=True):
    """What a queue wrote for its first jobs: their events, their rows, and how the two tables were made."""

    schema: list[str]
    events: list[Row]
    jobs: list[Row]


def insert(table: str, row: Row) -> str:
    """The statement that writes such a row."""
    return f"insert into {table} values ({', '.join('?' * len(row))})"


def written(database: str, jobs: int) -> Written:
    """What a queue that nobody has open wrote for its first `jobs` jobs."""
    connection = apsw.Connection(database)
    schema = connection.execute(
        """
        select sql from sqlite_master
        where tbl_name in ('events', 'jobs') and type in ('table', 'index') and sql is not null
        order by rowid
        """
    )
    rows = Written(
        [sql for (sql,) in schema], list(connection.execute(LOG, (jobs,))), list(connection.execute(JOBS, (jobs,)))
    )
    connection.close()
    return rows


def plain(database: str) -> apsw.Connection:
    """A connection as durable as ours: WAL, every commit synced."""
    connection = apsw.Connection(database)
    connection.set_busy_timeout(60_000)
    connection.pragma("journal_mode", "wal")
    connection.pragma("synchronous", 2)
    return connection


def tables(database: str, rows: Written) -> apsw.Connection:
    """A new database with the two tables and their indexes, empty."""
    connection = plain(database)
    for sql in rows.schema:
        connection.execute(sql)
    return connection


def write_all(connection: apsw.Connection, rows: Written) -> None:
    """All rows in one transaction."""
    with connection:
        connection.executemany(insert("events", rows.events[0]), rows.events)
        connection.executemany(insert("jobs", rows.jobs[0]), rows.jobs)


def write_each(connection: apsw.Connection, rows: Written) -> None:
    """A transaction for each job."""
    event_sql, job_sql = insert("events", rows.events[0]), insert("jobs", rows.jobs[0])
    for event, job in zip(rows.events, rows.jobs, strict=True):
        connection.execute("begin immediate")
        connection.execute(event_sql, event)
        connection.execute(job_sql, job)
        connection.execute("commit")


def read(connection: apsw.Connection) -> int:
    """Every row of the log, one after the other; returns how many there were."""
    rows = connection.execute("select seq, stream, version, type, v, at, actor, data from events order by seq")
    return sum(1 for _ in rows)


@contextmanager
def watched() -> Generator[Callable[[], Script]]:
    """Within it, the function it gives starts to note down what the last database that was opened is told."""
    opened: list[apsw.Connection] = []

    def watch() -> Script:
        script: Script = []

        def note(_: object, sql: str, values: Any) -> bool:
            if script and script[-1][0] == sql:
                script[-1][1].append(values or ())
            else:
                script.append((sql, [values or ()]))
            return True

        opened[-1].exec_trace = note
        return script

    apsw.connection_hooks.append(opened.append)
    try:
        yield watch
    finally:
        apsw.connection_hooks.remove(opened.append)


def play(connection: apsw.Connection, script: Script) -> None:
    """Give SQLite the same statements again."""
    for sql, runs in script:
        for _ in connection.executemany(sql, runs):
            pass
