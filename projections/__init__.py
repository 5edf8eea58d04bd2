"""Projections: folds of the log into tables, which can be dropped and rebuilt from the log (R1).

A projection gets every change (the event, and the subject of its stream before and after it) and writes to its own
tables. It reads nothing but these, so it can be rebuilt alone. The built-in ones are listed here; users add theirs by
the entry point group `queuectl.projections`.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import msgspec

from projections import batches, config, environments, jobs, queues, resources, schedules, workers
from projections.store import Store as Store
from queuectl.events import Recorded

GROUP = "queuectl.projections"
"""The entry point group in which an installed package offers a projection."""

Subject = (
    jobs.Job
    | workers.Worker
    | config.Config
    | queues.QueueState
    | resources.ResourceState
    | batches.BatchState
    | schedules.ScheduleState
    | environments.Environment
)
"""What the events of a stream fold into."""

EVOLVE: dict[str, Callable[[Any, Recorded, Any], Any]] = {
    "job": jobs.evolve,
    "worker": workers.evolve,
    "config": config.evolve,
    "queue": queues.evolve,
    "queues": queues.evolve,
    "resource": resources.evolve,
    "batch": batches.evolve,
    "schedule": schedules.evolve,
    "env": environments.evolve,
}
"""The fold of each kind of stream. Streams of other kinds have no subject."""


class Change(msgspec.Struct, frozen=True, gc=False):
    """An event, with the subject of its stream before and after it (None: there is none)."""

    record: Recorded
    event: Any
    before: Any
    after: Any


class Projection(Protocol):
    """A fold into tables. Raise `version` when tables or fold change; the tables are then rebuilt by replay."""

    name: str
    version: int
    schema: str
    """`create table` and `create index` statements, separated by semicolons."""

    @property
    def tables(self) -> Sequence[str]:
        """The names of the tables that it owns."""
        ...

    def fold(self, changes: Sequence[Change], store: Store) -> None:
        """Fold these changes into the tables. Called within the transaction that appends the events."""
        ...


class Builtin(Projection, Protocol):
    """A projection of which each row follows from one stream alone (R45), so that whole streams can be folded."""

    @property
    def reads(self) -> frozenset[str] | None:
        """The types of the events that it must be given one by one. None: of each stream one change is enough, with the
        subject before its first event and after its last."""
        ...


def evolve(before: Any, record: Recorded, event: Any) -> Any:
    """The subject of a stream after one more event; None where the stream has no subject."""
    fold = EVOLVE.get(record.stream.partition(":")[0])
    return fold(before, record, event) if fold is not None else None


def builtin() -> tuple[Builtin, ...]:
    """The built-in projections, in the order in which they are folded."""
    from projections import attempts, counts, dependencies, grants, notes, numbers, starts

    return (
        jobs, attempts, counts, workers, config, queues, starts, resources, grants, dependencies, batches,
        schedules, notes, numbers,
    )  # fmt: skip
