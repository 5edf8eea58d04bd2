"""What a worker leaves of its host: while the load is too high, or too little memory is free, it claims nothing."""

from typing import TYPE_CHECKING

import msgspec

from queuectl import units
from queuectl.errors import Invalid
from queuectl.host.load import free_memory, load, whole_memory
from queuectl.host.procfs import boot_id

if TYPE_CHECKING:
    from projections.workers import Worker

HIGHEST_LOAD = 1e6


class HostLimits(msgspec.Struct, frozen=True, omit_defaults=True):
    """The limits of one worker; None: there is none."""

    max_load: float | None = None
    """The load average of the last minute from which on it claims nothing."""
    min_free_memory: int | None = None
    """Bytes of memory below which it claims nothing."""

    def __bool__(self) -> bool:
        return self.max_load is not None or self.min_free_memory is not None

    def exceeded(self) -> str | None:
        """What a worker of this host has to wait for just now, in words; None: for nothing."""
        if self.max_load is not None and (now := load()) >= self.max_load:
            return f"load {now:.2f}, limit {units.plain(self.max_load)}"
        least = self.min_free_memory
        if least is not None and (free := free_memory()) is not None and free < least:
            return f"{units.size_text(free)} of memory free, limit {units.size_text(least)}"
        return None


UNLIMITED = HostLimits()
"""It claims whatever the host is at."""


def max_load(text: str) -> float:
    """A load above 0. Raises Invalid."""
    try:
        found = units.number(text, 0, HIGHEST_LOAD)
    except Invalid:
        found = 0.0
    if not found:
        raise Invalid(f"{text!r} is not a load: a number above 0, as 4 or 0.5 (`uptime` shows the present one)")
    return found


def min_free_memory(text: str) -> int:
    """Bytes from 1 to what this machine has. Raises Invalid."""
    found, most = units.size(text), whole_memory()
    if not found or (most is not None and found > most):
        has = f" up to the {units.size_text(most)} that this machine has" if most is not None else ""
        raise Invalid(f"{text!r} is not a size above 0{has}")
    return found


def holds_back(worker: "Worker") -> str | None:
    """What keeps a worker from claiming, in words; None: nothing, or it runs on another machine."""
    if worker.boot_id != boot_id():
        return None
    return HostLimits(worker.max_load, worker.min_free_memory).exceeded()
