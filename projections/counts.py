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
    jobs: int


name = "counts"
version = 2
tables = ("counts",)
reads = None
TABLE = Table("counts", Count, ("queue", "state"), merge={"jobs": "counts.jobs + excluded.jobs"})
schema = TABLE.schema


def fold(changes: Sequence["Change"], store: Store) -> None:
    """Sum the changes of the batch, then write one row for each (queue, state) that changed."""
    moves: dict[tuple[Any, Any, Any, Any], int] = {}
    for change in changes:
        before, after = change.before, change.after
        if isinstance(after, Job):
            if before is None:
                move = (None, None, after.queue, after.state)
            else:
                move = (before.queue, before.state, after.queue, after.state)
        elif isinstance(before, Job):
            move = (before.queue, before.state, None, None)
        else:
            continue
        moves[move] = moves.get(move, 0) + 1
    delta: dict[tuple[Any, Any], int] = {}
    for (left_queue, left, queue, state), jobs in moves.items():
        delta[left_queue, left] = delta.get((left_queue, left), 0) - jobs
        delta[queue, state] = delta.get((queue, state), 0) + jobs
    changed = sorted(Count(queue, state, jobs) for (queue, state), jobs in delta.items() if jobs and state is not None)
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
        """How many jobs wait (pending or failed) in each queue that has any."""
        sql = f"select queue, sum(jobs) from counts where {WAITING} group by queue having sum(jobs) > 0"
        return dict(self._store.execute(sql))
