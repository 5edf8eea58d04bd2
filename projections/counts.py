"""Counts: the number of jobs by queue and state, so that `status` costs the same with any number of jobs."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from projections.jobs import Job

if TYPE_CHECKING:
    from projections import Change, Store

name = "counts"
version = 2
tables = ("counts",)
schema = """
create table counts (
    queue text not null,
    state text not null,
    jobs integer not null,
    primary key (queue, state)
) without rowid;
"""


def fold(changes: Sequence["Change"], store: "Store") -> None:
    """Sum the changes of the batch, then write one row for each (queue, state) that changed."""
    moves: dict[tuple[str, str | None, str | None], int] = {}
    for change in changes:
        before, after = change.before, change.after
        if isinstance(after, Job):
            move = (after.queue, before.state if before is not None else None, after.state)
        elif isinstance(before, Job):
            move = (before.queue, before.state, None)
        else:
            continue
        moves[move] = moves.get(move, 0) + 1
    delta: Counter[tuple[str, str | None]] = Counter()
    for (queue, left, entered), jobs in moves.items():
        delta[queue, left] -= jobs
        delta[queue, entered] += jobs
    rows = sorted((queue, state, jobs) for (queue, state), jobs in delta.items() if jobs and state is not None)
    if rows:
        store.executemany(
            """
            insert into counts (queue, state, jobs) values (?, ?, ?)
            on conflict (queue, state) do update set jobs = counts.jobs + excluded.jobs
            """,
            rows,
        )
        if any(jobs < 0 for _, _, jobs in rows):
            store.execute("delete from counts where jobs = 0")
