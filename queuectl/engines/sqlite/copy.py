"""What one database has into an SQLite file: a copy of one like it, or what another kind has, or an export."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import apsw
from msgspec.structs import astuple

from queuectl.engines.contents import Contents
from queuectl.engines.projection_registry import Registry
from queuectl.engines.sqlite import file_mark
from queuectl.engines.sqlite.database import Translated, make_schema
from queuectl.engines.sqlite.tables import SqliteTables
from queuectl.engines.sqlite.view import SqliteView
from queuectl.errors import Invalid, Refused

INSERT = "insert into events (seq, stream, version, type, v, at, actor, data) values (?, ?, ?, ?, ?, ?, ?, ?)"
"""One event, as `astuple` gives it."""


def copy(db: apsw.Connection, path: str, *, secrets: bool) -> None:
    """Write log and tables, as of one moment, into an empty file; the values of secrets only where asked for.

    Not by way of the log, as `filling` does it: to copy the tables takes an eighth of the time that it takes to fold
    them. Table by table, so that no value of a secret is ever in a file that was to be without: who copies may be
    killed. The schema is the same to the letter, and so is all else but the mark of the file.
    """
    db.execute("attach ? as copy", (path,))
    try:
        for setting in ("journal_mode", "synchronous"):
            db.execute(f"pragma copy.{setting} = off").fetchall()
        db.execute("begin")
        try:
            schema = list(db.execute("select type, name, tbl_name, rootpage, sql from sqlite_schema order by rowid"))
            _make_tables(db, path, schema)
            for kind, name, _, root, _ in schema:
                if kind == "table" and root and (secrets or name != "secrets"):
                    _fill(db, name)
        finally:
            if db.in_transaction:
                db.execute("commit")
    finally:
        db.execute("detach copy")
    _finish(path, schema)


def _make_tables(db: apsw.Connection, path: str, schema: list[tuple[Any, ...]]) -> None:
    """The empty tables, and what the header says."""
    new = apsw.Connection(path)
    try:
        for setting in ("page_size", "application_id", "user_version"):
            new.pragma(setting, db.pragma(setting))
        with new:
            for kind, name, _, root, sql in schema:
                if kind == "table" and root and not name.startswith("sqlite_"):
                    new.execute(sql)
    finally:
        new.close()


def _fill(db: apsw.Connection, table: str) -> None:
    """All rows of a table, page by page where SQLite can."""
    name = '"' + table.replace('"', '""') + '"'
    columns = [(column, hidden) for column, hidden in db.execute(
        "select name, hidden from pragma_table_xinfo(?)", (table,)
    )]  # fmt: skip
    what, into = "*", ""
    if any(hidden for _, hidden in columns):  # computed from the others
        what = ", ".join('"' + column.replace('"', '""') + '"' for column, hidden in columns if not hidden)
        into = f"({what})"
    if table.startswith("sqlite_"):
        db.execute(f"delete from copy.{name}")  # filled by itself so far
    db.execute(f"insert into copy.{name} {into} select {what} from main.{name}")


def _finish(path: str, schema: list[tuple[Any, ...]]) -> None:
    """The indexes, then what only stands in the schema, and a mark."""
    new = apsw.Connection(path)
    try:
        for setting in ("journal_mode", "synchronous"):
            new.execute(f"pragma {setting} = off").fetchall()
        with new:
            for kind, *_, sql in schema:
                if kind == "index" and sql is not None:
                    new.execute(sql)
            file_mark.renew(new)
            new.pragma("writable_schema", True)
            new.executemany(
                "insert into sqlite_schema (type, name, tbl_name, rootpage, sql) values (?, ?, ?, 0, ?)",
                [(kind, name, table, sql) for kind, name, table, root, sql in schema if not root],
            )
            new.pragma("writable_schema", False)
    finally:
        new.close()


@contextmanager
def filling(path: str) -> Generator[apsw.Connection]:
    """Make an empty file a queue's database: with the log that the block takes in, and the tables that it makes.

    Raises Unusable where it can't be written. What is not finished is to be thrown away.
    """
    with Translated(path):
        db = apsw.Connection(path)
        try:
            for setting in ("journal_mode", "synchronous"):
                db.execute(f"pragma {setting} = off").fetchall()
            with db:
                make_schema(db)
                yield db
                view = SqliteView(db)
                Registry(SqliteTables(db), view).replay((), view.head()[0])
        finally:
            db.close()


def take_in(db: apsw.Connection, contents: Contents) -> int:
    """Put what another database had into one that has no log, within a transaction; returns the last seq.

    Raises Refused where there is a log, Invalid where this is no whole one.
    """
    if db.execute("select exists (select 1 from events)").get:
        raise Refused("there is a log here already: name a new database with --db")
    try:
        db.executemany(INSERT, map(astuple, contents.records))
    except apsw.ConstraintError:
        raise Invalid("is there a second time") from None
    torn = db.execute(
        """
        select stream from (
            select stream, version, row_number() over stream_order as place,
                first_value(case type when 'archived' then data ->> '$.events' else 0 end) over stream_order as archived
            from events window stream_order as (partition by stream order by seq)
        ) where version <> archived + place limit 1
        """
    ).get
    if torn is not None:
        raise Invalid(f"the log is not whole: events of {torn} are missing, or out of order")
    db.executemany("insert into leaves (seq, at, hash) values (?, ?, ?)", map(astuple, contents.leaves))
    db.executemany("insert into secrets (job, name, value) values (?, ?, ?)", map(astuple, contents.secrets))
    return db.execute("select max(seq) from events").get or 0
