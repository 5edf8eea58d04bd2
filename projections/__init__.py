"""What the log means: read models, each a fold of the events into tables, dropped and replayed at will.

A projection is told every change (the event, and the subject of its stream before and after it) and writes what it
wants to know into tables of its own. It reads nothing but what it is given and its own tables, so it can be rebuilt
alone, from the log, at any time. Ours are listed here; a user's come by the entry point group `queuectl.projections`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import msgspec

from projections import config, environments, jobs, workers
from queuectl.events import Recorded

GROUP = "queuectl.projections"
"""The entry point group by which an installed package offers a projection of its own."""

Subject = jobs.Job | workers.Worker | config.Config | environments.Environment
"""What a stream's events fold into."""

EVOLVE: dict[str, Callable[[Any, Recorded, Any], Any]] = {
    "job": jobs.evolve,
    "worker": workers.evolve,
    "config": config.evolve,
    "env": environments.evolve,
}
"""The fold of each kind of stream; a stream of another kind has no subject."""


class Change(msgspec.Struct, frozen=True, gc=False):
    """One event with what its stream's subject was before it and is after it (None: there was or is none)."""

    record: Recorded
    event: Any
    before: Any
    after: Any


class Store(Protocol):
    """The tables, as a projection sees them: SQL with `?` for values, kept to what SQLite and PostgreSQL share."""

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and give all its rows."""
        ...

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Run one statement for each row of values."""
        ...

    def rows(self, sql: str) -> Iterator[tuple[Any, ...]]:
        """Run one statement and give its rows one by one, however many; write nothing meanwhile."""
        ...


class Projection(Protocol):
    """A read model. Raise `version` when the tables or the fold change: the tables are then rebuilt by replay."""

    name: str
    version: int
    schema: str
    """`create table` and `create index` statements, separated by semicolons."""

    @property
    def tables(self) -> Sequence[str]:
        """The tables it owns."""
        ...

    def fold(self, changes: Sequence[Change], store: Store) -> None:
        """Write what these changes mean. Called within the transaction that appends the events."""
        ...


def evolve(before: Any, record: Recorded, event: Any) -> Any:
    """The subject of a stream after one more of its events; None for a stream that has no subject."""
    fold = EVOLVE.get(record.stream.partition(":")[0])
    return fold(before, record, event) if fold is not None else None


def builtin() -> tuple[Projection, ...]:
    """Our own projections, in the order in which they are folded."""
    from projections import attempts, counts, numbers

    return (jobs, attempts, counts, workers, config, numbers)
