"""Whether the kernel has been killing for want of memory: what to say of a SIGKILL that QueueCTL did not send.

The kernel does not report which process it killed, but it counts: for the control group (cgroup) of a process, of
version 2 or 1, and for the whole machine.
"""

import re

PERHAPS = "killed, perhaps for memory"


class OomKills:
    """The kernel's count of processes killed for want of memory, as near to this process as it can be read."""

    def __init__(self, cgroup: str = "/proc/self/cgroup", root: str = "/sys/fs/cgroup", stat: str = "/proc/vmstat"):
        self._path = self._where = ""
        places = [(path, "in this control group") for path in _groups(cgroup, root)]
        for path, where in [*places, (stat, "on this machine")]:
            if count_in(path) is not None:
                self._path, self._where = path, where
                break

    def count(self) -> int | None:
        """How many so far; None where that can't be read."""
        return count_in(self._path) if self._path else None

    def since(self, before: int | None) -> str:
        """What the kernel counts since it counted `before`, to stand behind a suspicion; nothing where that can't be
        told."""
        now = self.count()
        if now is None or before is None:
            return ""
        return f"; the kernel counts {now - before} killed for memory {self._where} meanwhile"


def _groups(cgroup: str, root: str) -> list[str]:
    """The files in which the control groups of this process count."""
    found: list[str] = []
    for line in _read(cgroup).splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            found.append(f"{root}{path.rstrip('/')}/memory.events")
        elif "memory" in controllers.split(","):
            # In a container the group's path is the host's, and what is mounted begins at the group itself.
            found += [f"{root}/memory{path.rstrip('/')}/memory.oom_control", f"{root}/memory/memory.oom_control"]
    return found


def count_in(path: str) -> int | None:
    """How many the kernel counts in this file; None where it can't be read."""
    found = re.search(r"^oom_kill (\d+)$", _read(path), re.MULTILINE)
    return int(found[1]) if found else None


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
