"""Which jobs a list shows, in which order: asked of the indexes alone, as far as the list goes."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import islice
from typing import Any

import apsw

from projections.jobs import ENDED, WAITING
from queuectl.engines.view import JobFilter, View

# All priorities of waiting jobs, highest first: one step in the index for each, however many jobs wait.
PRIORITIES = f"""
with recursive waiting (priority) as (
    select max(priority) from jobs where {WAITING}
    union all
    select (select max(priority) from jobs where {WAITING} and priority < waiting.priority)
    from waiting where priority is not null
)
"""

Question = tuple[str, tuple[Any, ...]]
"""A query and its values. Its rows are in order, the last column is the seq of a job."""


class SqliteList(View):
    """The part of a view that makes lists."""

    _db: apsw.Connection

    def job_seqs(self, where: JobFilter, now: int, limit: int | None = None) -> Sequence[int]:
        order = (seq for questions in self._questions(where, now) for seq in self._merged(questions))
        return array("q", islice(order, limit))

    def count_jobs(self, where: JobFilter) -> int:
        if where.since is where.until is where.ended_since is None:
            counts = self.counts((where.queue,) if where.queue is not None else ())
            return sum(jobs for state, jobs in counts.items() if where.states is None or state in where.states)
        questions = [question for questions in self._questions(where, None) for question in questions]
        return sum(self._db.execute(f"select count(*) from ({sql})", values).get for sql, values in questions)

    def _merged(self, questions: Iterable[Question]) -> Iterator[int]:
        """The seqs in the order of all rows, which are read no further than they are asked for."""
        cursors = [self._db.execute(sql, values) for sql, values in questions]
        try:
            for row in merge(*cursors):
                yield row[-1]
        finally:
            for cursor in cursors:
                cursor.close()

    def _questions(self, where: JobFilter, now: int | None) -> Iterator[list[Question]]:
        """What gives the jobs of a list, part after part: the rows of each part are to be merged.

        Without `now` it is not told which of the waiting jobs are due: they are counted only.
        """
        # Jobs come as their first events do, so moments are bounds of seqs, which every index has. The plus keeps
        # SQLite from reading the table in their order instead.
        scope, values = "+seq between ? and ?", [0, 1 << 62]
        if where.since is not None:
            values[0] = self.seq_at(where.since - 1) + 1
        if where.until is not None:
            values[1] = self.seq_at(where.until)
        bounds: tuple[Any, ...] = tuple(values)
        if where.queue is not None:
            scope, bounds = f"queue = ? and {scope}", (where.queue, *bounds)

        def wanted(*states: str) -> list[str]:
            return [state for state in states if where.states is None or state in where.states]

        if where.ended_since is None:
            if wanted("processing"):
                yield [(f"select claimed_at, seq from jobs where worker is not null and {scope} order by 1, 2", bounds)]
            if states := wanted("pending", "failed"):
                which = {"pending": f"{WAITING} and state = 'pending'", "failed": "state = 'failed'"}
                yield from self._waiting(which[states[0]] if len(states) == 1 else WAITING, scope, bounds, now)
            if wanted("blocked"):
                yield [(f"select seq from jobs where state = 'blocked' and {scope} order by 1", bounds)]
        # What was enqueued since then has not ended earlier.
        least = max(where.ended_since or 0, where.since or 0)
        sql = f"""
            select -finished_at, seq from jobs
            where {ENDED} and state = ? and finished_at >= ? and {scope} order by finished_at desc
        """
        yield [(sql, (state, least, *bounds)) for state in wanted("completed", "dead", "cancelled")]

    def _waiting(self, which: str, scope: str, bounds: tuple[Any, ...], now: int | None) -> Iterator[list[Question]]:
        if now is None:
            yield [(f"select seq from jobs where {which} and {scope}", bounds)]
            return
        rows = self._db.execute(f"{PRIORITIES} select priority from waiting where priority is not null")
        priorities = [priority for (priority,) in rows]
        one = f"from jobs where {which} and priority = ? and {scope} and run_at"
        for priority in priorities:
            yield [(f"select run_at, seq {one} <= ? order by run_at, seq", (priority, *bounds, now))]
        yield [
            (f"select run_at, -priority, seq {one} > ? order by run_at, seq", (priority, *bounds, now))
            for priority in priorities
        ]
