"""Rows of the log as one statement for any number of them."""

from collections.abc import Iterable, Sequence
from typing import Any

from queuectl.engines.postgres.session import Session
from queuectl.engines.view import Leaf
from queuectl.events import Recorded, encode

EVENT = "seq, stream, version, type, v, at, actor, data::text"
"""The columns of an event, for `Recorded`."""

_INSERT = """
insert into events select seq, stream, version, type, v, at, actor, data::json
from json_to_recordset(?::json) as given (
    seq bigint, stream text, version bigint, type text, v bigint, at bigint, actor text, data text
)
"""


_REFUSE_MOVED_ON = """
select refuse_moved_on() from events join json_to_recordset(?::json) as given (stream text, version bigint)
    on events.stream = given.stream and events.version >= given.version
where events.type = 'archived'
"""


def refuse_archived(session: Session, rows: Iterable[Sequence[Any]]) -> None:
    """Have it refused, as a conflict, to insert these events before a tombstone of their streams."""
    places = [{"stream": stream, "version": version} for _, stream, version, *_ in rows]
    session.queue(_REFUSE_MOVED_ON, (encode(places).decode(),))


def insert_events(session: Session, rows: Iterable[Sequence[Any]]) -> None:
    """Have these events, as `astuple` gives them, inserted with the next statement that is waited for."""
    session.queue(_INSERT, (encode([Recorded(*row) for row in rows]).decode(),))


_INSERT_LEAVES = """
insert into leaves select seq, at, decode(hash, 'hex')
from json_to_recordset(?::json) as given (seq bigint, at bigint, hash text)
"""


def insert_leaves(session: Session, leaves: Iterable[Leaf]) -> None:
    """Have these leaves inserted with the next statement that is waited for."""
    rows = [{"seq": each.seq, "at": each.at, "hash": each.hash.hex()} for each in leaves]
    session.queue(_INSERT_LEAVES, (encode(rows).decode(),))
