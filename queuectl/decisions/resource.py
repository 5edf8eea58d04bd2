"""The decisions on resources: how much there is of each."""

from projections.resources import ResourceState
from queuectl.events import Event, ResourceSet, ResourceUnset


def set_resource(
    state: ResourceState | None, capacity: int, indices: str | None, reason: str | None = None
) -> list[Event]:
    """There is so much of it from now on; no events where nothing differs. Nothing is taken from who has it."""
    if state is not None and (state.capacity, state.indices) == (capacity, indices):
        return []
    return [ResourceSet(capacity=capacity, indices=indices, reason=reason)]


def unset_resource(state: ResourceState | None, reason: str | None = None) -> list[Event]:
    """Nothing is said of it any more; no events where nothing was."""
    return [ResourceUnset(reason=reason)] if state is not None and state.capacity is not None else []
