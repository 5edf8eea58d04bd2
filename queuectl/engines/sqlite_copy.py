"""A log from one SQLite file into another: a copy of the whole queue, or a log that was exported."""

from collections.abc import Iterable

import apsw
from msgspec.structs import astuple

from queuectl.errors import Invalid, Refused
from queuectl.events import Recorded

INSERT = "insert into events (seq, stream, version, type, v, at, actor, data) values (?, ?, ?, ?, ?, ?, ?, ?)"
"""One event, as `astuple` gives it."""


def copy(db: apsw.Connection, path: str, *, secrets: bool) -> None:
    """Write log and tables, as of one moment, into an empty file; the values of secrets only where asked for."""
    db.execute("vacuum into ?", (path,))
    if not secrets:
        new = apsw.Connection(path)
        try:
            new.pragma("secure_delete", True)
            new.execute("delete from secrets")
        finally:
            new.close()


def take_in(db: apsw.Connection, records: Iterable[Recorded]) -> int:
    """Put a whole log into a database that has none, within a transaction; returns its last seq.

    Raises Refused where there is a log, Invalid where this is no whole one.
    """
    if db.execute("select exists (select 1 from events)").get:
        raise Refused("there is a log here already: name a new database with --db")
    try:
        db.executemany(INSERT, map(astuple, records))
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
    return db.execute("select max(seq) from events").get or 0
