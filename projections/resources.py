"""Resources: how much there is of each, where anybody has said so."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from projections.store import Questions, Store
from projections.table import Table
from queuectl.events import Recorded, ResourceSet, ResourceUnset, Unreadable

if TYPE_CHECKING:
    from projections import Change


class ResourceState(msgspec.Struct, frozen=True, gc=False):
    """The fold of a resource's events. Moments are microseconds UTC."""

    name: str
    version: int
    capacity: int | None = None
    """How much there is; None: nobody says so any more."""
    indices: str | None = None
    """The numbers of its pieces, as `0-3,7`; None: they have none."""
    set_at: int | None = None
    set_by: str | None = None
    reason: str | None = None


def evolve(resource: ResourceState | None, record: Recorded, event: Any) -> ResourceState:
    """The resource after one more event. Raises Unreadable where it is none of a resource."""
    if resource is None:
        resource = ResourceState(record.subject, 0)
    match event:
        case ResourceSet():
            capacity, indices = event.capacity, event.indices
        case ResourceUnset():
            capacity = indices = None
        case _:
            raise Unreadable(
                f"{record.stream} has a {record.type!r} event (seq {record.seq}), which is none of a resource"
            )
    return replace(
        resource, version=record.version, capacity=capacity, indices=indices, set_at=record.at, set_by=record.actor,
        reason=event.reason,
    )  # fmt: skip


name = "resources"
version = 1
tables = ("resources",)
reads = frozenset({"resource_set", "resource_unset"})
TABLE = Table("resources", ResourceState, ("name",))
schema = TABLE.schema


def fold(changes: Sequence["Change"], store: Store) -> None:
    """Write the latest state of each resource in the batch."""
    latest = {change.after.name: change.after for change in changes if isinstance(change.after, ResourceState)}
    store.upsert(TABLE, latest.values())


_SELECT = f"select {TABLE.select('r')} from resources r"


class ResourceQuestions(Questions):
    """What is asked of the resources."""

    def resource_state(self, name: str) -> ResourceState | None:
        """What was said of a resource; None where nothing ever was."""
        rows = self._store.execute(f"{_SELECT} where r.name = ?", (name,))
        return TABLE.read(rows[0]) if rows else None

    def resource_states(self) -> list[ResourceState]:
        """Those of which anything was ever said, by name."""
        return [TABLE.read(row) for row in self._store.rows(f"{_SELECT} order by r.name")]
