"""What every event has: a type, a version, and a frozen payload."""

from typing import ClassVar

import msgspec


class Payload(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True, gc=False):
    """The payload of an event. `type` and `v`, the schema version of that type, name its form."""

    type: ClassVar[str] = ""
    v: ClassVar[int] = 1
    readable_from: ClassVar[int] = 0
    """The oldest version whose payloads are read as they are, since later ones only have more fields; 0: `v`."""
    wakes_workers: ClassVar[bool] = False
    """Whether a worker may have something to do after it."""
