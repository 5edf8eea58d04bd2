"""Which jobs a list shows, in which order: asked of the indexes alone, as far as the list goes."""

from array import array
from collections.abc import Iterable, Iterator, Sequence
from heapq import merge
from itertools import islice
from typing import Any

import msgspec

from projections.claimable import PRIORITIES
from projections.counts import CountQuestions
from projections.jobs import ENDED, WAITING

Question = tuple[str, tuple[Any, ...]]
"""A query and its values. Its rows are in order, the last column is the seq of a job."""


class JobFilter(msgspec.Struct, frozen=True, kw_only=True):
    """Which jobs are asked for; every None lets all pass. Moments are microseconds UTC."""

    states: tuple[str, ...] | None = None
    queue: str | None = None
    batch: str | None = None
    since: int | None = None
    """Enqueued at this moment or later."""
    until: int | None = None
    """Enqueued at this moment or earlier."""
    ended_since: int | None = None
    """Ended (completed, dead or cancelled, and not retried since) at this moment or later."""


class JobLists(CountQuestions):
    """What lists of jobs ask."""

    _LATEST_END = "finished_at desc"
    """The order of what has ended. SQLite gives what ended at once in that of the index: the last queue first, the last
    seq first."""

    def job_seqs(self, where: JobFilter, now: int, limit: int | None = None) -> Sequence[int]:
        """The seqs of these jobs, in the order of lists; at most `limit`, for which no more than those are read.

        What is processing comes first, by its claim. Then what waits, in the order in which it will run: what is due at
        `now` as `due` has it, then the rest by `run_at`, priority and seq. Then what is blocked, as it came, and what
        has ended, the latest end first.
        """
        order = (seq for questions in self._questions(where, now) for seq in self._merged(questions, limit))
        return array("q", islice(order, limit))

    def count_jobs(self, where: JobFilter) -> int:
        """How many jobs there are of these."""
        if where.since is where.until is where.ended_since is None:
            counts = self.counts((where.queue,) if where.queue is not None else ())
            return sum(jobs for state, jobs in counts.items() if where.states is None or state in where.states)
        questions = [question for questions in self._questions(where, None) for question in questions]
        counted = (self._store.execute(f"select count(*) from ({sql}) q", values) for sql, values in questions)
        return sum(jobs for [(jobs,)] in counted)

    def _merged(self, questions: Iterable[Question], limit: int | None) -> Iterator[int]:
        """The seqs in the order of all rows, which are read no further than they are asked for."""
        most = f"limit {int(limit)}" if limit is not None else ""
        cursors = [self._store.rows(f"{sql} {most}", values) for sql, values in questions]
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

        if where.batch is not None:
            scope, bounds = f"seq in (select seq from jobs where batch = ?) and {scope}", (where.batch, *bounds)

        def wanted(*states: str) -> list[str]:
            return [state for state in states if where.states is None or state in where.states]

        if where.ended_since is None:
            if wanted("processing"):
                yield [(f"select claimed_at, seq from jobs where worker is not null and {scope} order by 1, 2", bounds)]
            if states := wanted("pending", "failed"):
                which = {"pending": f"{WAITING} and state = 'pending'", "failed": "state = 'failed'"}
                yield from self._waiting(which[states[0]] if len(states) == 1 else WAITING, scope, bounds, now)
            if wanted("blocked"):  # by queue, as the index of the few that are blocked has them
                sql = f"select seq from jobs where state = 'blocked' and queue = ? and {scope} order by 1"
                yield [(sql, (queue, *bounds)) for queue in self.queues_with("blocked")]
        # What was enqueued since then has not ended earlier.
        least = max(where.ended_since or 0, where.since or 0)
        sql = f"""
            select -finished_at, seq from jobs
            where {ENDED} and state = ? and finished_at >= ? and {scope} order by {self._LATEST_END}
        """
        yield [(sql, (state, least, *bounds)) for state in wanted("completed", "dead", "cancelled")]

    def _waiting(self, which: str, scope: str, bounds: tuple[Any, ...], now: int | None) -> Iterator[list[Question]]:
        if now is None:
            yield [(f"select seq from jobs where {which} and {scope}", bounds)]
            return
        for held in (0, 1):  # what is held will run after what is not
            sql = f"{PRIORITIES} select priority from waiting where priority is not null"
            priorities = sorted((priority for (priority,) in self._store.execute(sql, (held, held))), reverse=True)
            one = f"from jobs where {which} and held = {held} and priority = ? and {scope} and run_at"
            for priority in priorities:
                yield [(f"select run_at, seq {one} <= ? order by run_at, seq", (priority, *bounds, now))]
            yield [
                (f"select run_at, -priority, seq {one} > ? order by run_at, seq", (priority, *bounds, now))
                for priority in priorities
            ]
