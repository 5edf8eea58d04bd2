"""How a service is: what its manager knows of it, and which workers are its own."""

from typing import TYPE_CHECKING

import msgspec

from queuectl import clock
from queuectl.host import procfs
from queuectl.service.manager import ServiceManager

if TYPE_CHECKING:
    from queuectl.queue import Queue

_ASKED = (
    "ActiveState", "SubState", "Result", "UnitFileState", "StateChangeTimestampMonotonic", "NRestarts", "StatusText",
    "MainPID", "AssertResult",
)  # fmt: skip
_LINES = 5
"""Lines of its journal that are shown of a service that has failed."""


class ServiceState(msgspec.Struct, frozen=True):
    """The document of one service."""

    name: str
    path: str
    """The file of the unit."""
    system: bool
    database: str
    active: str
    """As systemd has it: active, inactive, failed, activating, deactivating."""
    detail: str
    """The same more closely: running, dead, auto-restart, stop-sigterm."""
    result: str
    """How it ended last, or why it failed: success, exit-code, signal, watchdog, timeout; `assert`: the database was
    missing."""
    enabled: bool
    """Whether it starts by itself."""
    lingers: bool | None
    """Whether that is at boot rather than at a login; of a unit of the system there is nothing to ask."""
    since: str | None
    """When its state changed last, RFC 3339."""
    restarts: int
    """How often it was restarted after a failure."""
    said: str
    """What it says of itself."""
    pid: int | None
    """Of the workers' parent."""
    workers: list[str]
    """The ids of those that are up."""
    journal: list[str]
    """Where it failed, the last lines that it wrote."""

    @property
    def is_up(self) -> bool:
        """Whether its workers run jobs, or are about to."""
        return self.active in ("active", "reloading")


def state(manager: ServiceManager, name: str, database: str, queue: "Queue | None") -> ServiceState:
    """How the service of this name is. `queue`: the one that it serves, where it can be opened. Raises QueueError."""
    known = manager.properties(name, *_ASKED)
    pid = int(known.get("MainPID") or 0) or None
    changed = int(known.get("StateChangeTimestampMonotonic") or 0)
    since = clock.now() - round(clock.monotonic() * 1_000_000) + changed if changed else None
    children = set(procfs.descendants(pid)) if pid is not None else set[int]()
    result = known.get("Result", "unknown")
    if pid is None and known.get("AssertResult") == "no":
        result = "assert"
    return ServiceState(
        name=name,
        path=manager.path(name),
        system=manager.is_system,
        database=database,
        active=known.get("ActiveState", "unknown"),
        detail=known.get("SubState", "unknown"),
        result=result,
        enabled=known.get("UnitFileState") == "enabled",
        lingers=None if manager.is_system else manager.lingers(),
        since=clock.text(since) if since is not None else None,
        restarts=int(known.get("NRestarts") or 0),
        said=known.get("StatusText", "") if pid is not None else "",
        pid=pid,
        workers=[worker.id for worker in queue.workers() if worker.pid in children] if queue is not None else [],
        journal=manager.journal(name, _LINES) if result != "success" else [],
    )
