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
    moves: dict[tuple[str | None, ...], int] = {}
    for change in changes:
        before, after = change.before, change.after
        if isinstance(after, Job):
            queue, state = (None, None) if before is None else (before.queue, before.state)
            move = (queue, state, after.queue, after.state)
        elif isinstance(before, Job):
            move = (before.queue, before.state, None, None)
        else:
            continue
        moves[move] = moves.get(move, 0) + 1
    delta: Counter[tuple[str | None, ...]] = Counter()
    for move, jobs in moves.items():
        delta[move[:2]] -= jobs
        delta[move[2:]] += jobs
    rows = sorted((*place, jobs) for place, jobs in delta.items() if jobs and place != (None, None))
    if rows:
        store.executemany(
            """
            insert into counts (queue, state, jobs) values (?, ?, ?)
            on conflict (queue, state) do update set jobs = counts.jobs + excluded.jobs
            """,
            rows,
        )
        if any(jobs < 0 for *_, jobs in rows):
            store.execute("delete from counts where jobs = 0")
