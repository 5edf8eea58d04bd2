"""A log of another engine in a private SQLite database, with tables folded from it, to be asked at will."""

from collections.abc import Sequence
from typing import Protocol

import apsw
from msgspec.structs import astuple

from projections import Builtin
from projections.replay import Progress
from queuectl.engines.projection_registry import Log
from queuectl.engines.sqlite.copy import INSERT
from queuectl.engines.sqlite.tables import folded_upto
from queuectl.engines.view import Leaf
from queuectl.events import Recorded

PAGE = 1000

LOG = """
create table events (
    seq integer primary key, stream text, version integer, type text, v integer, at integer, actor text, data text
);
create unique index events_of_stream on events (stream, version);
create index events_archived on events (type) where type = 'archived';
create table leaves (seq integer primary key, at integer, hash blob);
"""


class WholeLog(Log, Protocol):
    """A log that is copied, from one snapshot."""

    def tombstones(self, *, after: int, limit: int) -> list[Recorded]:
        """A page of the `archived` events with a seq above `after`, in order."""
        ...

    def leaves_alone(self, upto: int) -> list[Leaf]:
        """The leaves up to `upto` of events that are not there any more."""
        ...


def private_copy(
    log: WholeLog,
    seq: int,
    upto: int,
    folding: Sequence[Builtin],
    progress: Progress | None,
    *,
    indexed: bool = False,
) -> apsw.Connection:
    """A private database with the log up to event `upto`, and the tables of these projections as of event `seq`.

    Of what came later it has the tombstones.
    """
    db = folded_upto(log, seq, folding, progress, indexed=indexed)
    try:
        for _ in db.execute(LOG):
            pass
        after = 0
        while after < upto and (page := log.events(after=after, upto=upto, limit=PAGE)):
            db.executemany(INSERT, map(astuple, page))
            after = page[-1].seq
        after = upto
        while page := log.tombstones(after=after, limit=PAGE):
            db.executemany(INSERT, map(astuple, page))
            after = page[-1].seq
        db.executemany("insert into leaves (seq, at, hash) values (?, ?, ?)", map(astuple, log.leaves_alone(upto)))
    except BaseException:
        db.close()
        raise
    return db
