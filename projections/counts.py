"""Counts: the number of jobs by queue and state, so that `status` costs the same with any number of jobs."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from projections.jobs import WAITING, Job
from projections.store import Questions, Store, marks
from projections.table import Table

if TYPE_CHECKING:
    from projections import Change


class Count(msgspec.Struct, frozen=True, order=True):
    """How many jobs of a queue are in a state."""

    queue: str
    state: str
    held: bool
    """Whether they wait and are held."""
    jobs: int


name = "counts"
version = 3
tables = ("counts",)
reads = None
TABLE = Table("counts", Count, ("queue", "state", "held"), merge={"jobs": "counts.jobs + excluded.jobs"})
schema = TABLE.schema


def fold(changes: Sequence["Change"], store: Store) -> None:
    """Sum the changes of the batch, then write one row for each (queue, state) that changed."""
    moves: dict[tuple[Any, ...], int] = {}
    for change in changes:
        before, after = change.before, change.after
        if isinstance(after, Job):
            if before is None:
                move = (None, None, False, after.queue, after.state, after.held)
            else:
                move = (before.queue, before.state, before.held, after.queue, after.state, after.held)
        elif isinstance(before, Job):
            move = (before.queue, before.state, before.held, None, None, False)
        else:
            continue
        moves[move] = moves.get(move, 0) + 1
    delta: dict[tuple[Any, ...], int] = {}
    for move, jobs in moves.items():
        left, entered = move[:3], move[3:]
        delta[left] = delta.get(left, 0) - jobs
        delta[entered] = delta.get(entered, 0) + jobs
    changed = sorted(Count(key[0], key[1], key[2], jobs) for key, jobs in delta.items() if jobs and key[0] is not None)
    store.upsert(TABLE, changed)
    if any(count.jobs < 0 for count in changed):
        store.delete(TABLE, "jobs", [0])


class CountQuestions(Questions):
    """What is asked of the counts."""

    def counts(self, queues: Sequence[str] = ()) -> dict[str, int]:
        """Jobs by state, of all queues or of some; states without jobs are left out."""
        where = f"where queue in ({marks(queues)})" if queues else ""
        return dict(self._store.execute(f"select state, sum(jobs) from counts {where} group by state", queues))

    def waiting_by_queue(self) -> dict[str, int]:
        """How many jobs wait (pending or failed) and are not held in each queue that has any."""
        sql = f"select queue, sum(jobs) from counts where {WAITING} and held = 0 group by queue having sum(jobs) > 0"
        return dict(self._store.execute(sql))

    def queues_with(self, state: str) -> list[str]:
        """The queues that have jobs in a state."""
        sql = "select distinct queue from counts where state = ? and jobs > 0 order by queue"
        return [queue for (queue,) in self._store.execute(sql, (state,))]

    def held_jobs(self, queues: Sequence[str] = ()) -> int:
        """How many waiting jobs are held, of all queues or of some."""
        where = f"and queue in ({marks(queues)})" if queues else ""
        return self._store.execute(f"select coalesce(sum(jobs), 0) from counts where held = 1 {where}", queues)[0][0]

    def all_counts(self, queues: Sequence[str] = ()) -> list[Count]:
        """Jobs by queue, state and whether they are held, of all queues or of some; by queue."""
        where = f"and queue in ({marks(queues)})" if queues else ""
        sql = f"select {', '.join(TABLE.columns)} from counts where jobs > 0 {where} order by queue, state, held"
        return [TABLE.read(row) for row in self._store.rows(sql, queues)]
