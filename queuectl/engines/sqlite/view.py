"""Reading from SQLite: the questions of `View`, each as one short statement."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import apsw

from projections import jobs as jobs_table
from projections import workers as workers_table
from projections.attempts import Attempt
from projections.config import Config
from projections.jobs import WAITING, Job
from projections.workers import Worker
from queuectl.engines.sqlite.health import SqliteHealth
from queuectl.engines.sqlite.job_list import PRIORITIES, SqliteList
from queuectl.engines.view import ALL, Filter, Leaf
from queuectl.errors import Invalid
from queuectl.events import VOCABULARY, Enqueued, Recorded, encode

STREAMS = 500
"""Streams that are read at a time."""

EVENT = "seq, stream, version, type, v, at, actor, data"

JOB = f"""
    {jobs_table.TABLE.select("j")},
    case when j.edited is null then e.v else {Enqueued.v} end, coalesce(j.edited, e.data)
from jobs j join events e on e.seq = j.seq
"""

_V = len(jobs_table.TABLE.columns)

ATTEMPT = ", ".join(Attempt.__struct_fields__)
WORKER = ", ".join(workers_table.TABLE.columns)


def read_job(row: tuple[Any, ...]) -> Job:
    """A job from the columns of JOB."""
    return jobs_table.TABLE.read(row, VOCABULARY.decode("enqueued", row[_V], row[_V + 1]))


read_worker = workers_table.TABLE.read


class SqliteView(SqliteList, SqliteHealth):
    """A view of one connection, for as long as its transaction is open."""

    def __init__(self, db: apsw.Connection) -> None:
        self._db = db

    def head(self) -> tuple[int, int]:
        row = self._db.execute("select seq, at from events order by seq desc limit 1").get
        return row if row is not None else (0, 0)

    def events(
        self, *, after: int = 0, upto: int | None = None, limit: int = 1000, where: Filter = ALL
    ) -> list[Recorded]:
        terms: list[str] = ["seq > ?"]
        values: list[Any] = [after]
        if upto is not None:
            terms.append("seq <= ?")
            values.append(upto)
        if where.streams is not None:
            terms.append(f"stream in ({_marks(where.streams)})")
            values += where.streams
        if where.types is not None:
            terms.append(f"type in ({_marks(where.types)})")
            values += where.types
        if where.queue is not None:
            # Not by the jobs table: events of jobs that are gone belong to their queue as well.
            terms.append("""
                stream in (select stream from events where case type
                               when 'enqueued' then coalesce(data ->> '$.queue', 'default')
                               when 'archived' then data ->> '$.queue'
                           end = ?)
            """)
            values.append(where.queue)
        if where.since is not None:
            terms.append("at >= ?")
            values.append(where.since)
        if where.until is not None:
            terms.append("at <= ?")
            values.append(where.until)
        sql = f"select {EVENT} from events where {' and '.join(terms)} order by seq limit {int(limit)}"
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

    def leaves(self, *, after: int = 0, upto: int | None = None, limit: int = 1000) -> list[Leaf]:
        rows = self._db.execute(
            "select seq, at, cast(hash as blob) from leaves where seq > ? and seq <= ? order by seq limit ?",
            (after, upto if upto is not None else 1 << 62, limit),
        )
        return [Leaf(*row) for row in rows]

    def history(self, streams: Collection[str], before: int) -> Iterable[Recorded]:
        """The events of these streams before seq `before`, each stream's in order."""
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
        after = 0
        while (end := self._db.execute(find, (after, upto)).get) is not None:
            for row in self._db.execute(read, (after, end, upto)):
                yield Recorded(*row)
            after = end

    def size(self) -> int:
        """How many events there are."""
        return self._db.execute("select count(*) from events").get

    def job(self, id: str) -> Job | None:
        row = self._db.execute(f"select {JOB} where j.id = ?", (id,)).get
        return read_job(row) if row is not None else None

    def jobs(self, seqs: Sequence[int]) -> list[Job]:
        rows = self._db.execute(
            f"select {JOB} where j.seq in (select value from json_each(?))", (encode(list(seqs)).decode(),)
        )
        found = {job.seq: job for job in map(read_job, rows)}
        return [found[seq] for seq in seqs if seq in found]

    def ids(self, prefix: str, limit: int = 10) -> list[str]:
        sql = "select id from jobs where id >= ? and id < ? order by id limit ?"
        return [id for (id,) in self._db.execute(sql, (prefix, prefix + "\U0010ffff", limit))]

    def attempts(self, job: str) -> list[Attempt]:
        rows = self._db.execute(f"select {ATTEMPT} from attempts where job = ? order by lease", (job,))
        return [Attempt(*row) for row in rows]

    def page_of_attempts(self, *, after: int = 0, queue: str | None = None, limit: int = 1000) -> list[Attempt]:
        where = "and job in (select id from jobs where queue = ?)" if queue is not None else ""
        values = (after, queue, limit) if queue is not None else (after, limit)
        rows = self._db.execute(f"select {ATTEMPT} from attempts where seq > ? {where} order by seq limit ?", values)
        return [Attempt(*row) for row in rows]

    def jobs_of(self, worker: str) -> list[Job]:
        return [read_job(row) for row in self._db.execute(f"select {JOB} where j.worker = ?", (worker,))]

    def workers_with_jobs(self) -> list[str]:
        return [id for (id,) in self._db.execute("select distinct worker from jobs where worker is not null")]

    def counts(self, queues: Sequence[str] = ()) -> dict[str, int]:
        where = f"where queue in ({_marks(queues)})" if queues else ""
        return dict(self._db.execute(f"select state, sum(jobs) from counts {where} group by state", tuple(queues)))

    def waiting_by_queue(self) -> dict[str, int]:
        sql = f"select queue, sum(jobs) from counts where {WAITING} group by queue having sum(jobs) > 0"
        return dict(self._db.execute(sql))

    def worker(self, id: str) -> Worker | None:
        row = self._db.execute(f"select {WORKER} from workers where id = ?", (id,)).get
        return read_worker(row) if row is not None else None

    def workers(self, *, live: bool = True) -> list[Worker]:
        where = f"where {workers_table.LIVE}" if live else ""
        return [read_worker(row) for row in self._db.execute(f"select {WORKER} from workers {where} order by seq")]

    def running_workers(self) -> int:
        return self._db.execute(f"select count(*) from workers where {workers_table.LIVE} and slots > 0").get

    def archivable(self, at: int, states: Collection[str]) -> dict[str, int]:
        sql = f"""
            with over as (select id, version from jobs where finished_at <= ? and state in ({_marks(states)}))
            select 'job:' || id, version from over
            union all
            select stream, version from events purge where type = 'purged' and seq <= ?
                and not exists (select 1 from events where stream = purge.stream and version > purge.version)
            union all
            select 'worker:' || id, version from workers
            where ended_at <= ? and id not in (select worker from attempts where job not in (select id from over))
        """
        return dict(self._db.execute(sql, (at, *states, self.seq_at(at), at)))

    def config(self) -> Config | None:
        version = self._db.execute("select max(version) from events where stream = 'config'").get
        if version is None:
            return None
        return Config(version, dict(self._db.execute("select key, value from config")))

    def next_due(self, queues: Sequence[str] = ()) -> int | None:
        due = [
            self._db.execute(
                f"""
                {PRIORITIES}
                select min((select min(run_at) from jobs where {WAITING} and {scope} priority = waiting.priority))
                from waiting
                """,
                values,
            ).get
            for scope, values in _scopes(queues)
        ]
        return min((moment for moment in due if moment is not None), default=None)

    def seq_at(self, at: int) -> int:
        # Moments rise with the numbers, so the place is found by halving: no index is needed.
        low, high = 0, self.head()[0]
        while low < high:
            middle = (low + high + 1) // 2
            row = self._db.execute(
                """
                select * from (select seq, at from events where seq >= ?1 order by seq limit 1)
                union all select * from (select seq, at from leaves where seq >= ?1 order by seq limit 1)
                order by seq limit 1
                """,
                (middle,),
            ).get
            if row is not None and row[1] <= at:
                low = max(middle, row[0])
            else:
                high = middle - 1
        return low

    def query(self, sql: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
        cursor = self._db.cursor()
        cursor.exec_trace = lambda cursor, sql, values: cursor.is_readonly  # asked before it runs
        cursor.row_trace = _named
        self._db.set_progress_handler(lambda: False, 10_000)  # lets a Ctrl-C through
        try:
            return list(cursor.execute(sql, values))
        except apsw.ExecTraceAbort as error:
            raise Invalid("a query must not change anything") from error
        finally:
            self._db.set_progress_handler(None)

    def due(self, queues: Sequence[str], limit: int, now: int) -> list[Job]:
        found: list[Job] = []
        scopes = _scopes(queues)
        for scope, values in scopes:
            due = self._db.execute(
                f"""
                {PRIORITIES}
                select priority from waiting where exists (
                    select 1 from jobs where {WAITING} and {scope} priority = waiting.priority and run_at <= ?
                )
                """,
                (*values, now),
            )
            left = limit
            for (priority,) in due:
                rows = self._db.execute(
                    f"""
                    select {JOB}
                    where {WAITING} and {scope} priority = ? and run_at <= ?
                    order by j.run_at, j.seq limit ?
                    """,
                    (*values, priority, now, left),
                )
                page = [read_job(row) for row in rows]
                found += page
                left -= len(page)
                if left <= 0:
                    break
        if len(scopes) > 1:
            found.sort(key=lambda job: (-job.priority, job.run_at, job.seq))
        return found[:limit]


def _scopes(queues: Sequence[str]) -> list[tuple[str, tuple[Any, ...]]]:
    """How to ask for waiting jobs: once over all queues, or once for each that is named."""
    return [("queue = ? and", (queue,)) for queue in dict.fromkeys(queues)] or [("", ())]


def _named(cursor: apsw.Cursor, row: tuple[Any, ...]) -> dict[str, Any]:
    """A row by the names of its columns."""
    return dict(zip((name for name, _ in cursor.get_description()), row, strict=True))


def _marks(values: Collection[Any]) -> str:
    return ", ".join("?" * len(values))
