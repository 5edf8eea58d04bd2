"""Reading the log in SQLite. The questions of the subjects are asked through the store."""

from collections.abc import Collection, Iterable, Iterator
from itertools import chain, starmap
from typing import Any

import apsw

from projections import queues
from projections.store import marks
from queuectl.engines.sqlite.health import SqliteHealth
from queuectl.engines.sqlite.store import SqliteStore
from queuectl.engines.view import ALL, Filter, Leaf, Secret
from queuectl.events import Recorded, encode

STREAMS = 500
"""Streams that are read at a time."""

EVENT = "seq, stream, version, type, v, at, actor, data"


class SqliteView(SqliteHealth):
    """A view of one connection, for as long as its transaction is open."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db
        self._store = SqliteStore(db)

    def head(self) -> tuple[int, int]:
        row = self._db.execute("select seq, at from events order by seq desc limit 1").get
        return row if row is not None else (0, 0)

    def events(
        self, *, after: int | None = 0, upto: int | None = None, limit: int = 1000, where: Filter = ALL
    ) -> list[Recorded]:
        terms: list[str] = []
        values: list[Any] = []
        if after is not None:
            terms.append("seq > ?")
            values.append(after)
        if upto is not None:
            terms.append("seq <= ?")
            values.append(upto)
        if where.streams is not None:
            terms.append(f"stream in ({marks(where.streams)})")
            values += where.streams
        if where.types is not None:
            terms.append(f"type in ({marks(where.types)})")
            values += where.types
        if where.queue is not None:
            # Not by the jobs table: events of jobs that are gone belong to their queue as well.
            terms.append("""
                stream in (select stream from events where case type
                               when 'enqueued' then coalesce(data ->> '$.queue', 'default')
                               when 'archived' then data ->> '$.queue'
                           end = ?
                           union all values (?), (?))
            """)
            values += [where.queue, queues.stream(where.queue), queues.stream(queues.ALL)]
        if where.since is not None:
            terms.append("at >= ?")
            values.append(where.since)
        if where.until is not None:
            terms.append("at <= ?")
            values.append(where.until)
        sql = f"select {EVENT} from events where {' and '.join(terms or ['true'])} order by seq limit {int(limit)}"
        return [Recorded(*row) for row in self._db.execute(sql, values)]

    def stream(self, stream: str) -> list[Recorded]:
        rows = self._db.execute(f"select {EVENT} from events where stream = ? order by version", (stream,))
        return [Recorded(*row) for row in rows]

    def last(self, stream: str) -> Recorded | None:
        sql = f"select {EVENT} from events where stream = ? order by version desc limit 1"
        return next((Recorded(*row) for row in self._db.execute(sql, (stream,))), None)

    def tombstones(self, *, after: int = 0, limit: int = 1000) -> list[Recorded]:
        sql = (
            f"select {EVENT} from events where type = 'archived' and seq > ? order by seq limit ?"  # literal: an index
        )
        return [Recorded(*row) for row in self._db.execute(sql, (after, limit))]

    def leaves(self, *, after: int | None = 0, upto: int | None = None, limit: int = 1000) -> list[Leaf]:
        above = "seq > ?1" if after is not None else "?1 is null"
        sql = f"select seq, at, cast(hash as blob) from leaves where {above} and seq <= ?2 order by seq limit ?3"
        rows = self._db.execute(sql, (after, upto if upto is not None else 1 << 62, limit))
        return [Leaf(*row) for row in rows]

    def every_secret(self) -> list[Secret]:
        return [Secret(*row) for row in self._db.execute("select job, name, value from secrets order by job, name")]

    def history(self, streams: Collection[str], before: int) -> Iterable[Recorded]:
        rows = self._db.execute(
            f"""
            select {EVENT} from events
            where stream in (select value from json_each(?)) and seq < ? order by stream, version
            """,
            (encode(streams).decode(), before),
        )
        return (Recorded(*row) for row in rows)

    def by_stream(self, upto: int) -> Iterator[Recorded]:
        """The events up to `upto`, stream after stream as these began; none of one without a beginning.

        The beginning of one that was archived is the event that says so. Between `STREAMS` no cursor is left open.
        """
        began = "seq > ?1 and seq <= ?2 and (version = 1 or type = 'archived')"
        find = f"select max(seq) from (select seq from events where {began} order by seq limit {STREAMS})"
        read = f"""
            select {", ".join(f"later.{column}" for column in EVENT.split(", "))}
            from events first cross join events later on later.stream = first.stream
            where {began.replace("seq", "first.seq").replace("version", "first.version").replace("type", "first.type")}
                and later.seq <= ?3
            order by first.seq, later.version
        """

        def parts() -> Iterator[Iterator[Recorded]]:
            after = 0
            while (end := self._db.execute(find, (after, upto)).get) is not None:
                yield starmap(Recorded, self._db.execute(read, (after, end, upto)))
                after = end

        return chain.from_iterable(parts())

    def size(self, upto: int) -> int:
        return self._db.execute("select count(*) from events where seq <= ?", (upto,)).get

    def failed_jobs(self, *, after: int, upto: int, queue: str | None, limit: int) -> list[tuple[int, str]]:
        rows = self._db.execute(
            """
            select seq, stream from events job
            where seq > ?1 and seq <= ?2 and type = 'enqueued'
                and (?3 is null or coalesce(data ->> '$.queue', 'default') = ?3)
                and exists (select 1 from events failure where failure.stream = job.stream and failure.type = 'failed')
            order by seq limit ?4
            """,
            (after, upto, queue, limit),
        )
        return list(rows)

    def figure(self, name: str, *, after: int, upto: int, queue: str | None, limit: int) -> list[dict[str, Any]]:
        from queuectl.engines.figures import FIGURES

        cursor = self._db.cursor()
        cursor.row_trace = _named
        self._db.set_progress_handler(lambda: False, 10_000)  # lets a Ctrl-C through
        try:
            return list(cursor.execute(FIGURES[name], {"after": after, "upto": upto, "queue": queue, "limit": limit}))
        finally:
            self._db.set_progress_handler(None)


def _named(cursor: apsw.Cursor, row: tuple[Any, ...]) -> dict[str, Any]:
    """A row by the names of its columns."""
    return dict(zip((name for name, _ in cursor.get_description()), row, strict=True))
