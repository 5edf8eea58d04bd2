"""Control groups of version 2 (cgroups(7)) with a limit of memory, each made for what one command starts.

A process may make groups only in one that was delegated to it: by a service manager (`Delegate=yes`), or because it is
the root of all that the process can see, as in a container. A group with limits below it can't have processes itself,
unless it is the root of all; so what runs in the delegated one is moved into a group beside the new ones.
"""

import errno
import os
from contextlib import suppress

from queuectl.host.oom import count_in

ROOT = "/sys/fs/cgroup"
"""Where the groups are mounted."""
OWN = "/proc/self/cgroup"
"""The file that names those of this process."""

_TRIES = 20
"""How often a group is emptied: a process in it may start another one meanwhile."""


def delegated(resting: str) -> str | None:
    """The group in which this process may make others with a limit, as an absolute path; None where there is none.

    `resting`: the name of the group in it into which `prepare` may have moved this process.
    """
    path = next((line[3:] for line in _read(OWN).splitlines() if line.startswith("0::/")), None)
    if path is None:
        return None
    here = ROOT + path.rstrip("/")
    above, _, name = here.rpartition("/")
    if here == ROOT or _is_delegated(here):
        found = here
    elif _is_delegated(above) or (above == ROOT and name == resting):
        found = above  # `DelegateSubgroup=`, or `prepare`, has put it beside the new ones
    else:
        return None
    parts = ("", "/cgroup.procs", "/cgroup.subtree_control")
    usable = "memory" in _read(f"{found}/cgroup.controllers").split()
    return found if usable and all(os.access(found + part, os.W_OK) for part in parts) else None


def prepare(group: str, resting: str) -> None:
    """Enable limits of memory in the groups below a delegated one; what runs in it is moved to the one named `resting`.

    Raises OSError where that can't be done.
    """
    if "memory" in _read(f"{group}/cgroup.subtree_control").split():
        return
    if os.path.exists(f"{group}/cgroup.type"):  # every group has one but the root, which may have processes as well
        beside = f"{group}/{resting}"
        with suppress(FileExistsError):
            os.mkdir(beside)
        for _ in range(_TRIES):
            pids = _read(f"{group}/cgroup.procs").split()
            for pid in pids:
                _move(pid, beside)
            if not pids:
                break
    _write(f"{group}/cgroup.subtree_control", "+memory")


def make(group: str, most: int) -> None:
    """Make a group whose processes may use `most` bytes of memory together, none of it swapped out.

    When they need more, all of them are killed. Raises OSError where it can't be made, or exists.
    """
    os.mkdir(group)
    try:
        _write(f"{group}/memory.max", str(most))
        for name, value in (("memory.swap.max", "0"), ("memory.oom.group", "1")):
            with suppress(FileNotFoundError):  # a kernel that does not count swap; one before Linux 4.19
                _write(f"{group}/{name}", value)
    except OSError:
        remove(group)
        raise


def has_run_out(group: str) -> bool:
    """Whether the kernel has killed any of its processes for memory."""
    return bool(count_in(f"{group}/memory.events"))


def remove(group: str) -> bool:
    """Remove a group; False where a process is still in it."""
    try:
        os.rmdir(group)
    except FileNotFoundError:
        pass
    except OSError:
        return False
    return True


def _is_delegated(group: str) -> bool:
    """Whether systemd, since version 251, says so."""
    try:
        return os.getxattr(group, "user.delegate") == b"1"
    except OSError:
        return False


def _move(pid: str, group: str) -> None:
    if pid == "0":  # a process of another pid namespace: it can't be named, and 0 means whoever writes it
        raise OSError(errno.EPERM, "a process of another pid namespace is in the group")
    with suppress(ProcessLookupError):  # it has ended
        _write(f"{group}/cgroup.procs", pid)


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read()
    except OSError:
        return ""


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
