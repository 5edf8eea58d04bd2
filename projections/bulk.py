"""Many new jobs at once: the rows that folding their `enqueued` events makes, without a Change for each."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from projections import counts, numbers
from projections.counts import Count
from projections.jobs import TABLE, Job
from projections.numbers import HighestNumber
from projections.store import Store

Alike = tuple[Job, list[tuple[int, str, str | None]]]
"""A new job, and the seq, id and command line (None: as its own) of others that are the same in all else."""

_ROWS = TABLE.part(TABLE.columns, ())
_COMMAND = TABLE.columns.index("command")


def insert(groups: Sequence[Alike], store: Store) -> None:
    """Write these jobs into all tables that `enqueued` has a part in."""
    rows: list[tuple[Any, ...]] = []
    entered: Counter[tuple[str, str]] = Counter()
    for job, alike in groups:
        row = TABLE.row(job)
        rows.append(row)
        if alike:
            middle, end = row[2:_COMMAND], row[_COMMAND + 1 :]
            rows += [(seq, id, *middle, line or job.command, *end) for seq, id, line in alike]
        entered[job.queue, job.state] += 1 + len(alike)
    store.insert(_ROWS, rows)
    store.upsert(counts.TABLE, sorted(Count(*key, jobs) for key, jobs in entered.items()))
    if last := max((int(row[1]) for row in rows if row[1].isdecimal()), default=0):
        store.upsert(numbers.TABLE, [HighestNumber("job", last)])
