"""Starts in queues with a rate: of each the theoretical arrival time after it (R36). The newest of a queue counts.

A row goes when its job is archived: what a purged job has started still counts.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from projections.store import Store
from projections.table import Table
from queuectl.clock import micros

if TYPE_CHECKING:
    from projections import Change


class QueueStart(msgspec.Struct, frozen=True, gc=False):
    """A start in a queue with a rate, or one that did not come to be."""

    queue: str
    seq: int
    """Of the event that says so."""
    job: str
    next: int
    """The theoretical arrival time after it, µs UTC."""


name = "starts"
version = 1
tables = ("starts",)
reads = frozenset({"claimed", "released", "archived"})
TABLE = Table("starts", QueueStart, ("queue", "seq"))
schema = f"""
{TABLE.schema}
create index starts_by_job on starts (job);
"""


def fold(changes: Sequence["Change"], store: Store) -> None:
    """Add what the events state; remove what belongs to archived jobs."""
    new: list[QueueStart] = []
    gone: list[str] = []
    for change in changes:
        kind = change.record.type
        if kind == "claimed" or kind == "released":
            for queue, arrival in change.event.rates.items():
                new.append(QueueStart(queue, change.record.seq, change.record.subject, micros(arrival)))
        elif kind == "archived" and change.record.stream.startswith("job:"):
            gone.append(change.record.subject)
    store.insert(TABLE, new)
    store.delete(TABLE, "job", gone)
