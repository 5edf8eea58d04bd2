"""New jobs: the rows that folding their `enqueued` events makes, without a Change for each."""

from collections.abc import Sequence
from operator import itemgetter
from typing import Any

import msgspec

from projections import batches, counts, dependencies, numbers
from projections.batches import BatchCount
from projections.counts import Count
from projections.jobs import TABLE, Job
from projections.store import Store
from queuectl.events import Enqueued, encode


class Alike(msgspec.Struct, frozen=True, gc=False):
    """New jobs that differ in nothing but their ids and command lines."""

    policy: Enqueued
    """That of the first."""
    jobs: list[tuple[str, str | None]]
    """The id of each and its command line (None where the policy has an `argv`); numbers among the ids rise."""

    def payloads(self) -> list[str]:
        """The event of each as JSON. What they share is encoded once: all that stands behind the command."""
        first = encode(self.policy)
        if self.policy.command is None:
            return [first.decode()] * len(self.jobs)
        rest = first[len(_COMMAND) + len(encode(self.policy.command)) :]
        return [(_COMMAND + encode(command) + rest).decode() for _, command in self.jobs]


_COMMAND = b'{"command":'
_OWN = ("seq", "id", "command")
_ASKED = {"watching", "unique_key", "batch", "triggered_by"}
_NULL = {field.name for field in msgspec.structs.fields(Job) if field.default is None} - _ASKED
"""The columns that have no value before a job is claimed: not to name them takes less than to bind them."""
_SHARED = tuple(column for column in TABLE.columns if column not in _NULL.union(_OWN))
_ROWS = TABLE.part((*_OWN, *_SHARED), ())
_shared = itemgetter(*map(TABLE.columns.index, _SHARED))


def insert(new: Sequence[tuple[Job, Alike]], store: Store) -> None:
    """Write these jobs into all tables that `enqueued` has a part in.

    With those that are alike goes the first of them, as its event makes it; the seqs of the others follow its own.
    """
    rows: list[tuple[Any, ...]] = []
    entered: dict[tuple[str, str, bool], int] = {}
    batched: dict[tuple[str, str], int] = {}
    needed: list[dependencies.Dependency] = []
    for job, alike in new:
        shared, line = _shared(TABLE.row(job)), job.command
        rows += [(seq, id, command or line, *shared) for seq, (id, command) in enumerate(alike.jobs, job.seq)]
        key = (job.queue, job.state, job.held)
        entered[key] = entered.get(key, 0) + len(alike.jobs)
        if job.batch is not None:
            batched[job.batch, job.state] = batched.get((job.batch, job.state), 0) + len(alike.jobs)
        if alike.policy.depends:
            needed += [each for at in range(len(alike.jobs)) for each in dependencies.of(job.seq + at, alike.policy)]
    store.insert(_ROWS, rows)
    store.insert(dependencies.TABLE, needed)
    store.upsert(counts.TABLE, [Count(*key, jobs) for key, jobs in sorted(entered.items())])
    if batched:
        store.upsert(batches.COUNTS, [BatchCount(*key, jobs) for key, jobs in sorted(batched.items())])
    numbers.note(next((int(row[1]) for row in reversed(rows) if row[1].isdecimal()), 0), store)
