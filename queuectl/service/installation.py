"""Installing a unit, and removing it: what can't be finished is undone."""

import os
from contextlib import suppress
from enum import Enum

from queuectl.errors import Invalid, QueueError, Refused, shown
from queuectl.host.atomic_file import sync, write_file
from queuectl.service import unit
from queuectl.service.manager import ServiceManager
from queuectl.service.unit import ServiceUnit

_TOLD = 20
"""Lines of the journal in which a reason is looked for."""


class Installed(Enum):
    """What became of an installation."""

    STARTED = "started"
    UNCHANGED = "unchanged"
    RESTART = "restart"
    """The workers that run are those of before."""


def require_free(manager: ServiceManager, wanted: ServiceUnit) -> None:
    """Raise Refused where the unit's name is that of another queue's service, or of a unit not written here."""
    text = manager.read(wanted.name)
    if text is None or (database := unit.database_of(text)) == wanted.database:
        return
    path = shown(manager.path(wanted.name))
    which = f"serves {shown(database)}" if database is not None else "was not written by `queuectl service install`"
    raise Refused(f"{path} {which}: give this one another name (--name), or remove that one first")


def install(manager: ServiceManager, wanted: ServiceUnit) -> Installed:
    """Write the unit, enable it, and start it unless it runs: then nothing that runs is interrupted.

    Raises Refused as `require_free` does, and QueueError with the service's own reason where it does not start; then
    all is as it was before.
    """
    require_free(manager, wanted)
    text, before = wanted.text(), manager.read(wanted.name)
    ran = _is_up(manager, wanted.name)
    try:
        if text != before:
            _write(manager.path(wanted.name), text)
        manager.call("daemon-reload")
        manager.call("enable", f"{wanted.name}.service")
        if not ran:
            manager.call("start", f"{wanted.name}.service")
    except QueueError as error:
        why = _reason(manager, wanted.name) or str(error)
        _undo(manager, wanted.name, before)
        raise QueueError(f"{wanted.name}.service did not start, and is not installed: {why}") from error
    return Installed.STARTED if not ran else Installed.UNCHANGED if text == before else Installed.RESTART


def uninstall(manager: ServiceManager, name: str) -> None:
    """Stop a service, which takes as long as what runs, and remove its unit. Raises QueueError."""
    manager.call("disable", f"{name}.service")
    manager.call("stop", f"{name}.service")
    _remove(manager, name)


def _is_up(manager: ServiceManager, name: str) -> bool:
    return manager.properties(name, "ActiveState").get("ActiveState") in ("active", "reloading")


def _reason(manager: ServiceManager, name: str) -> str | None:
    """The last thing that the service itself said."""
    said = [line for line in manager.journal(name, _TOLD) if line.startswith("queuectl: ")]
    return said[-1].removeprefix("queuectl: ") if said else None


def _undo(manager: ServiceManager, name: str, before: str | None) -> None:
    with suppress(QueueError):  # what failed first is what is told
        if before is None:
            manager.call("disable", "--now", f"{name}.service")
            _remove(manager, name)
        else:
            _write(manager.path(name), before)
            manager.call("daemon-reload")


def _write(path: str, text: str) -> None:
    try:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        write_file(path, text.encode(), replace=True)
        os.chmod(path, 0o644)
    except OSError as error:
        raise Invalid(f"can't write {shown(path)}: {error.strerror}") from error


def _remove(manager: ServiceManager, name: str) -> None:
    path = manager.path(name)
    with suppress(FileNotFoundError):
        os.unlink(path)
        sync(os.path.dirname(path))
    manager.call("daemon-reload")
    with suppress(QueueError):  # it fails where there is nothing to reset
        manager.call("reset-failed", f"{name}.service")
