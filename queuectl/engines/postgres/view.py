"""Reading the log in PostgreSQL. The questions of the subjects are asked through the store."""

import re
from collections.abc import Collection, Iterable, Iterator
from itertools import islice, starmap
from typing import Any

from msgspec.structs import astuple
from psycopg import errors

from projections import queues
from queuectl.engines.contents import Contents
from queuectl.engines.nul import refuse_nul
from queuectl.engines.postgres.claims import PostgresClaims
from queuectl.engines.postgres.health import PostgresHealth
from queuectl.engines.postgres.log_rows import EVENT, insert_events, insert_leaves
from queuectl.engines.postgres.session import Session
from queuectl.engines.postgres.store import PostgresStore
from queuectl.engines.view import ALL, Filter, Leaf, Secret
from queuectl.errors import Invalid
from queuectl.events import Recorded

PAGE = 1000

STREAMS = 500
"""Streams that are read at a time."""

_BEGAN = "(version = 1 or type = 'archived')"
"""The event with which a stream begins; of one that was archived, the event that says so."""


class PostgresView(PostgresClaims, PostgresHealth):
    """A view of one session, for as long as its transaction is open."""

    _LATEST_END = "finished_at desc, queue desc, seq desc"

    def __init__(self, session: Session, head: tuple[int, int] | None = None, *, is_replica: bool = False) -> None:
        """`head`: that of the log, where it is known and does not change while the view is open."""
        self._session = session
        self._store = self.store = PostgresStore(session)
        self._known_head = head
        self.is_replica = is_replica
        """Whether the server is a standby."""

    def head(self) -> tuple[int, int]:
        if self._known_head is not None:
            return self._known_head
        [(seq, at)] = self._store.execute("select seq, at from log")
        return seq, at

    def events(
        self, *, after: int | None = 0, upto: int | None = None, limit: int = 1000, where: Filter = ALL
    ) -> list[Recorded]:
        terms: list[tuple[str, Any]] = [
            ("seq > ?", after),
            ("seq <= ?", upto),
            ("stream = any(?::text[])", [*where.streams] if where.streams is not None else None),
            ("type = any(?::text[])", [*where.types] if where.types is not None else None),
            (_OF_QUEUE, where.queue),
            ("at >= ?", where.since),
            ("at <= ?", where.until),
        ]
        held = [(term, value) for term, value in terms if value is not None]
        values: list[Any] = []
        for term, value in held:
            values += [value, queues.stream(value), queues.stream(queues.ALL)] if term is _OF_QUEUE else [value]
        condition = " and ".join(term for term, _ in held) or "true"
        sql = f"select {EVENT} from events where {condition} order by seq limit {int(limit)}"
        return [Recorded(*row) for row in self._store.rows(sql, values)]

    def stream(self, stream: str) -> list[Recorded]:
        rows = self._store.rows(f"select {EVENT} from events where stream = ? order by version", (stream,))
        return [Recorded(*row) for row in rows]

    def last(self, stream: str) -> Recorded | None:
        sql = f"select {EVENT} from events where stream = ? order by version desc limit 1"
        return next((Recorded(*row) for row in self._store.execute(sql, (stream,))), None)

    def tombstones(self, *, after: int = 0, limit: int = 1000) -> list[Recorded]:
        sql = f"select {EVENT} from events where type = 'archived' and seq > ? order by seq limit ?"
        return [Recorded(*row) for row in self._store.rows(sql, (after, limit))]

    def leaves(self, *, after: int | None = 0, upto: int | None = None, limit: int = 1000) -> list[Leaf]:
        sql = "select seq, at, hash from leaves where seq > ? and seq <= ? order by seq limit ?"
        bounds = (after if after is not None else -1 << 62, upto if upto is not None else 1 << 62)
        return [Leaf(*row) for row in self._store.rows(sql, (*bounds, limit))]

    def leaves_alone(self, upto: int) -> list[Leaf]:
        """The leaves up to `upto` of events that are not there any more."""
        sql = """
            select seq, at, hash from leaves
            where seq <= ? and not exists (select 1 from events where events.seq = leaves.seq) order by seq
        """
        return [Leaf(*row) for row in self._store.rows(sql, (upto,))]

    def every_secret(self) -> list[Secret]:
        return [Secret(*row) for row in self._store.execute("select job, name, value from secrets order by job, name")]

    def take_in(self, contents: Contents) -> int:
        """Put a whole log into one that is empty; returns its last seq. Raises Invalid where this is no whole one."""
        head = (0, 0)
        source = iter(contents.records)
        while page := [*islice(source, PAGE)]:
            rows = [astuple(record) for record in page]
            refuse_nul(rows)
            insert_events(self._session, rows)
            try:
                self._session.flush()
            except errors.UniqueViolation:
                raise Invalid("is there a second time") from None
            head = (page[-1].seq, page[-1].at)
        torn = self._store.execute(
            """
            select stream from (
                select stream, version, row_number() over stream_order as place,
                    first_value(case type when 'archived' then (data ->> 'events')::bigint else 0 end)
                        over stream_order as archived
                from events window stream_order as (partition by stream order by seq)
            ) as numbered where version <> archived + place limit 1
            """
        )
        if torn:
            raise Invalid(f"the log is not whole: events of {torn[0][0]} are missing, or out of order")
        self._session.queue("update log set seq = ?, at = ?", head)
        leaves = iter(contents.leaves)
        while kept := [*islice(leaves, PAGE)]:
            insert_leaves(self._session, kept)
            self._session.flush()
        for each in contents.secrets:
            self._session.queue("insert into secrets (job, name, value) values (?, ?, ?)", astuple(each))
        return head[0]

    def size_on_disk(self) -> int:
        """Bytes of all tables and indexes of the schema."""
        return self._store.execute(
            """
            select coalesce(sum(pg_total_relation_size(oid)), 0)::bigint from pg_class
            where relnamespace = current_schema()::regnamespace and relkind = 'r'
            """
        )[0][0]

    def history(self, streams: Collection[str], before: int) -> Iterable[Recorded]:
        rows = self._store.rows(
            f"select {EVENT} from events where stream = any(?::text[]) and seq < ? order by stream, version",
            ([*streams], before),
        )
        return (Recorded(*row) for row in rows)

    def by_stream(self, upto: int) -> Iterator[Recorded]:
        """The events up to `upto`, stream after stream as these began; none of one without a beginning."""
        find = f"""
            select max(seq) from (
                select seq from events where seq > ? and seq <= ? and {_BEGAN} order by seq limit {STREAMS}
            ) as beginnings
        """
        columns = ", ".join(f"later.{column}" for column in EVENT.split(", "))
        read = f"""
            select {columns}
            from (select stream, seq from events where seq > ? and seq <= ? and {_BEGAN}) as beginning
            join events later on later.stream = beginning.stream
            where later.seq <= ? order by beginning.seq, later.version
        """
        after = 0
        while (end := self._store.execute(find, (after, upto))[0][0]) is not None:
            yield from starmap(Recorded, self._store.execute(read, (after, end, upto)))
            after = end

    def size(self, upto: int) -> int:
        return self._store.execute("select count(*) from events where seq <= ?", (upto,))[0][0]

    def failed_jobs(self, *, after: int, upto: int, queue: str | None, limit: int) -> list[tuple[int, str]]:
        of_queue, values = ("", ()) if queue is None else ("and coalesce(data ->> 'queue', 'default') = ?", (queue,))
        rows = self._store.execute(
            f"""
            select seq, stream from events job
            where seq > ? and seq <= ? and type = 'enqueued' {of_queue}
                and exists (select 1 from events failure where failure.stream = job.stream and failure.type = 'failed')
            order by seq limit ?
            """,
            (after, upto, *values, limit),
        )
        return [(seq, stream) for seq, stream in rows]

    def figure(self, name: str, *, after: int, upto: int, queue: str | None, limit: int) -> list[dict[str, Any]]:
        from queuectl.engines.figures import FIGURES

        values = {"after": after, "upto": upto, "queue": queue, "limit": limit}
        return self._session.named_rows(_JSON_TEXT.sub(r'(\g<0> collate "C")', FIGURES[name]), values)


_JSON_TEXT = re.compile(r"(\w+\.)?data ->> '\w+'")
"""Text out of JSON, which is to be ordered by its bytes, as all text in our columns is."""

_OF_QUEUE = """
    stream in (select stream from events where case type
                   when 'enqueued' then coalesce(data ->> 'queue', 'default')
                   when 'archived' then data ->> 'queue'
               end = ?
               union all values (?), (?))
"""
"""Not by the jobs table: events of jobs that are gone belong to their queue as well."""
