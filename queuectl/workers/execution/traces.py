"""The traces by which processes of an attempt are found from outside.

A command leaves three (R18): the lock on its output file, which each process holds that inherited fd 1, 2 or the extra
one (fd 2 may be that of a second file, for stderr, which is locked too); a tag in the environment; and its session. A
pid alone proves nothing, for it may be given to another process.
"""

import os
from collections.abc import Callable, Iterable

from queuectl.host import procfs

TAG = "QUEUECTL_TAG"
"""The environment variable that says which attempt a process belongs to: identity, job and lease."""

FREE = "none"
"""Its value for what belongs to none: a worker that was started by a job."""

OrphanFinder = Callable[[], Iterable[int]]
"""Returns the pids of untagged processes that this process has adopted: see `queuectl.workers.recovery.orphans`."""


def is_tagged(pid: int, tag: str, database: str | None = None) -> bool:
    """Whether the process was started with this tag (and for this database); False if its environment can't be read."""
    wanted = [f"{TAG}={tag}", *([f"QUEUECTL_DB={database}"] if database is not None else [])]
    environment = procfs.environment(pid)
    return all(os.fsencode(f"\0{each}\0") in environment for each in wanted)


def is_untagged(pid: int) -> bool:
    """Whether the process lives and no tag can be read in its environment."""
    environment = procfs.environment(pid)
    process = procfs.look(pid)  # read last: the environment of an ended process is empty
    return process is not None and process.lives and f"\0{TAG}=".encode() not in environment


def is_free(pid: int) -> bool:
    """Whether the process is a worker that was started by a job, or was started by such a one and is no attempt's."""
    return f"\0{TAG}={FREE}\0".encode() in procfs.environment(pid)


def by_tag(tag: str) -> list[int]:
    """The living processes that were started with this tag."""
    return [pid for pid in procfs.pids() if is_tagged(pid, tag)]


def tag_of(pid: int) -> str | None:
    """The tag with which a process was started; None if none can be read."""
    _, found, rest = procfs.environment(pid).partition(f"\0{TAG}=".encode())
    return os.fsdecode(rest.partition(b"\0")[0]) if found else None


def any_tagged(tags: Iterable[str]) -> str | None:
    """One of these tags with which a living process was started; None if there is none."""
    wanted = set(tags)
    return next((found for pid in procfs.pids() if (found := tag_of(pid)) in wanted), None)
