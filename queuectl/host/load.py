"""How busy this machine is, and how much memory it has left (proc(5))."""

import os
import re

MEMINFO = "/proc/meminfo"


def load() -> float:
    """The load average of the last minute: how many processes run or wait for a disk."""
    return os.getloadavg()[0]


def free_memory() -> int | None:
    """Bytes that new processes may use without any being swapped out; None where the kernel does not tell."""
    return _memory("MemAvailable")


def whole_memory() -> int | None:
    """Bytes of memory that this machine has; None where the kernel does not tell."""
    return _memory("MemTotal")


def _memory(name: str) -> int | None:
    try:
        with open(MEMINFO, encoding="ascii") as file:
            found = re.search(rf"^{name}: *(\d+) kB$", file.read(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) * 1024 if found else None
