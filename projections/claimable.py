"""Which waiting jobs may be claimed, best first: asked of the indexes alone, however many jobs wait."""

from collections.abc import Collection, Sequence
from typing import Any

from projections.jobs import SELECT, WAITING, Job, read
from projections.store import Questions, marks

PEEK = 64
"""Due jobs that are looked at beyond those wanted, before each queue is asked for its own."""

PRIORITIES = f"""
with recursive waiting (priority) as (
    select max(priority) from jobs where {WAITING} and held = ?
    union all
    select (select max(priority) from jobs where {WAITING} and held = ? and priority < waiting.priority)
    from waiting where priority is not null
)
"""
"""All priorities of waiting jobs that are held, or are not (given twice), highest first.

It takes one step in the index for each, however many jobs wait.
"""

LANES = f"""
with recursive lane (queue) as (
    select min(queue) from jobs where {WAITING} and held = 0 and priority = ?
    union all
    select (select min(queue) from jobs where {WAITING} and held = 0 and priority = ? and queue > lane.queue)
    from lane where queue is not null
)
"""
"""All queues that have waiting jobs of a priority (given twice) that are not held: one step in the index for each."""


class ClaimQuestions(Questions):
    """What claims ask. `queues`: of all where none are named."""

    def forced(self, queues: Sequence[str] = ()) -> list[Job]:
        """The waiting jobs that somebody had start next, in the order in which they came."""
        where = f"and j.queue in ({marks(queues)})" if queues else ""
        sql = f"{SELECT} where j.forced = 1 and j.{WAITING} {where} order by j.seq"
        return [read(row) for row in self._store.rows(sql, queues)]

    def due(self, queues: Sequence[str], limit: int, now: int, closed: Collection[str] = ()) -> list[Job]:
        """The jobs that may be claimed at `now`, in the order of claims, those of `closed` queues aside.

        First come those that are forced, also of closed queues.
        """
        forced = self.forced(queues)
        due = self._due(queues, limit, now) if not closed else self._due_elsewhere(queues, limit, now, closed)
        if forced:
            ids = {job.id for job in forced}
            due = [*forced, *(job for job in due if job.id not in ids)]
        return due[:limit]

    def _due_elsewhere(self, queues: Sequence[str], limit: int, now: int, closed: Collection[str]) -> list[Job]:
        """The jobs that are due, of none of the closed queues."""
        if queues:
            queues = [queue for queue in queues if queue not in closed]
            return self._due(queues, limit, now) if queues else []
        # Most often the first of all will do. Where too many of these are of closed queues, each queue is asked.
        page = self._due((), limit + PEEK, now)
        found = [job for job in page if job.queue not in closed]
        if len(found) >= limit or len(page) < limit + PEEK:
            return found
        return self._due_in_lanes(limit, now, closed)

    def _due(self, queues: Sequence[str], limit: int, now: int) -> list[Job]:
        found: list[Job] = []
        scopes = _scopes(queues)
        for scope, values in scopes:
            one = f"{WAITING} and held = 0 and {scope} priority = waiting.priority and run_at <= ?"
            sql = f"{PRIORITIES} select priority from waiting where exists (select 1 from jobs where {one})"
            left = limit
            for (priority,) in self._store.rows(sql, (0, 0, *values, now)):  # no further than there are jobs wanted
                where = f"{WAITING} and held = 0 and {scope} priority = ? and run_at <= ? order by j.run_at, j.seq"
                rows = self._store.rows(f"{SELECT} where {where} limit ?", (*values, priority, now, left))
                page = [read(row) for row in rows]
                found += page
                left -= len(page)
                if left <= 0:
                    break
        if len(scopes) > 1:
            found.sort(key=lambda job: (-job.priority, job.run_at, job.seq))
        return found[:limit]

    def _due_in_lanes(self, limit: int, now: int, closed: Collection[str]) -> list[Job]:
        """The same as `due` over all queues, with a look at each: it takes a step in the index for each closed one."""
        one = f"{WAITING} and held = 0 and priority = ? and queue = lane.queue and run_at <= ?"
        lanes = SELECT.replace("from jobs j", "from lane cross join jobs j")
        sql = f"""
            {LANES} {lanes}
            where lane.queue not in ({marks(closed)})
                and j.seq in (select seq from jobs where {one} order by run_at, seq limit ?)
            order by j.run_at, j.seq limit ?
        """
        found: list[Job] = []
        for (priority,) in self._store.execute(f"{PRIORITIES} select priority from waiting", (0, 0)):
            left = limit - len(found)
            values = (priority, priority, *sorted(closed), priority, now, left, left)
            found += [read(row) for row in self._store.rows(sql, values)]
            if len(found) >= limit:
                break
        return found

    def next_due(self, queues: Sequence[str] = (), closed: Collection[str] = ()) -> int | None:
        """The earliest `run_at` (µs UTC) of the waiting jobs that are not held, `closed` queues aside, or None."""
        if closed:
            queues = [queue for queue in queues or self.waiting_queues() if queue not in closed]
            if not queues:
                return None
        first = "select min(run_at) from jobs where {} and held = 0 and {} priority = waiting.priority"
        due = [
            moment
            for scope, values in _scopes(queues)
            for (moment,) in self._store.execute(
                f"{PRIORITIES} select min(({first.format(WAITING, scope)})) from waiting", (0, 0, *values)
            )
        ]
        return min((moment for moment in due if moment is not None), default=None)

    def waiting_queues(self) -> list[str]:
        """The queues that have waiting jobs which are not held."""
        sql = f"select distinct queue from counts where {WAITING} and held = 0 and jobs > 0"
        return [queue for (queue,) in self._store.rows(sql)]


def _scopes(queues: Sequence[str]) -> list[tuple[str, tuple[Any, ...]]]:
    """How to ask for waiting jobs: once over all queues, or once for each that is named."""
    return [("queue = ? and", (queue,)) for queue in dict.fromkeys(queues)] or [("", ())]
