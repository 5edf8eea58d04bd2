"""The events of the streams of resources: `resource:NAME`."""

from typing import ClassVar

from queuectl.events.payload import Payload


class ResourceSet(Payload, frozen=True, kw_only=True):
    """There is so much of the resource from now on, over all workers but those that offer their own."""

    type: ClassVar[str] = "resource_set"
    wakes_workers: ClassVar[bool] = True
    capacity: int
    """How much: pieces, or bytes."""
    indices: str | None = None
    """The numbers of its pieces, as `0-3,7`; None: they have none."""
    reason: str | None = None


class ResourceUnset(Payload, frozen=True, kw_only=True):
    """Nothing is said of the resource any more: there is one of it."""

    type: ClassVar[str] = "resource_unset"
    wakes_workers: ClassVar[bool] = True
    reason: str | None = None
