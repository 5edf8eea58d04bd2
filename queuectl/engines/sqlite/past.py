"""A queue as it was after one of its events: the log folded up to there, into tables of its own.

What was archived since is not in the log any more, but its tombstones tell when it was in which state: so it is
counted. What else it was stands in the archive alone: where jobs are listed that it would be among, that is said.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import apsw

from projections.job_list import JobFilter
from projections.jobs import ENDED, FINAL, Job
from queuectl.clock import micros
from queuectl.engines.sqlite.view import SqliteView
from queuectl.errors import NotFound, QueueError
from queuectl.events import Archived, Passed, Recorded, encode

PAGE = 1000


class PastView(SqliteView):
    """A view of scratch tables, beside which the live log is read for what jobs were enqueued with."""

    def __init__(self, scratch: apsw.Connection, live: SqliteView, path: str | None, seq: int) -> None:
        """`live` is a view of the database at `path`; the scratch tables have folded its log up to event `seq`.

        Without a path, the scratch database has the log itself.
        """
        super().__init__(scratch)
        self._end = live.head()[0]
        if path is not None:
            scratch.execute("attach ? as live", (path,))
        row = scratch.execute(
            """
            select * from (select seq, at from events where seq <= ?1 order by seq desc limit 1)
            union all select * from (select seq, at from leaves where seq <= ?1 order by seq desc limit 1)
            order by seq desc limit 1
            """,
            (seq,),
        ).get
        self._head = row if row is not None else (0, 0)
        self._workers = 0
        scratch.execute("create table gone (seq integer primary key, queue, state, enqueued_at, ended_at, file)")
        for page in _tombstones(live, seq):
            self._take_in(page, seq)
        scratch.execute(
            """
            insert into counts (queue, state, held, jobs)
            select queue, state, 0, count(*) from gone where true group by 1, 2
            on conflict (queue, state, held) do update set jobs = counts.jobs + excluded.jobs
            """
        )

    def _take_in(self, tombstones: list[Recorded], seq: int) -> None:
        """What was there after event `seq` and was archived since."""
        rows: list[tuple[int, str | None, str, int, int | None, str]] = []
        for record in tombstones:
            event = record.event
            if not isinstance(event, Archived) or (last := _last(event.passed, seq)) is None or last.state == "purged":
                continue
            if record.stream.startswith("job:"):
                first = event.passed[0]
                ended_at = micros(last.at) if last.state in FINAL else None
                queue = next((each.queue for each in event.moved if each.seq > seq), event.queue)
                rows.append((first.seq, queue, last.state, micros(first.at), ended_at, event.file))
            elif last.state in ("running", "stopping") and event.slots:
                self._workers += 1
        self._db.executemany("insert into gone values (?, ?, ?, ?, ?, ?)", rows)

    def close(self) -> None:
        """Let go of the scratch tables."""
        self._db.close()

    def head(self) -> tuple[int, int]:
        return self._head

    def running_workers(self) -> int:
        return super().running_workers() + self._workers

    def job_seqs(self, where: JobFilter, now: int, limit: int | None = None) -> Sequence[int]:
        """As ever. Raises NotFound where jobs that were archived would be among them.

        Of one that waited its place is not known: it would.
        """
        seqs = super().job_seqs(where, now, limit)
        terms, values = self._gone(where)
        if limit is not None and len(seqs) == limit:
            last = self.jobs(seqs[-1:])[0] if seqs else None
            if last is None:
                return seqs
            if last.state not in FINAL:
                terms += f" and not {ENDED}"
            else:
                terms += f" and (not {ENDED} or ended_at > ?)"
                values += (last.finished_at,)
        files = dict(
            self._db.execute(f"select file, count(*) from gone where {terms} group by 1 order by min(seq)", values)
        )
        if files:
            count = sum(files.values())
            raise NotFound(
                f"{count} of these jobs {'was' if count == 1 else 'were'} archived since, in {', '.join(files)}:"
                " import that into a new database to list them"
            )
        return seqs

    def count_jobs(self, where: JobFilter) -> int:
        if where.since is where.until is where.ended_since is None:  # the table of counts has them
            return super().count_jobs(where)
        terms, values = self._gone(where)
        return super().count_jobs(where) + self._db.execute(f"select count(*) from gone where {terms}", values).get

    def _gone(self, where: JobFilter) -> tuple[str, tuple[Any, ...]]:
        """The condition for the archived jobs among these, and its values."""
        terms, values = "true", ()
        states = encode(where.states).decode() if where.states is not None else None
        for term, value in (
            ("state in (select value from json_each(?))", states),
            ("queue = ?", where.queue),
            ("enqueued_at >= ?", where.since),
            ("enqueued_at <= ?", where.until),
            ("ended_at >= ?", where.ended_since),
        ):
            if value is not None:
                terms, values = f"{terms} and {term}", (*values, value)
        return terms, values

    def jobs(self, seqs: Sequence[int]) -> list[Job]:
        """As ever. Raises QueueError where some were archived since this view was made: what they were is gone."""
        page = super().jobs(seqs)
        if any_archived(self, self._end):
            raise QueueError("jobs were archived while they were listed: ask again")
        return page


def any_archived(view: SqliteView, after: int) -> bool:
    """Whether anything was archived after that event."""
    return bool(view.tombstones(after=after, limit=1))


def _tombstones(view: SqliteView, after: int) -> Iterator[list[Recorded]]:
    """What was archived after that event, in pages."""
    while page := view.tombstones(after=after, limit=PAGE):
        yield page
        after = page[-1].seq


def _last(passed: list[Passed], seq: int) -> Passed | None:
    """The last change of state up to that event, None before the first."""
    return next((each for each in reversed(passed) if each.seq <= seq), None)
