"""The memory limit of an attempt (R47): a control group of its own where the worker may make one, else RLIMIT_AS.

A group limits what all processes of the attempt use together, and the kernel kills them and counts that. RLIMIT_AS
limits the address space of each process: it is refused more, which is for the command to notice.

Either is set by a small shell that then becomes the command. A command that were limited once it runs could have
started others before, or used more; and a limit that the worker sets itself for a moment would hold for the worker.
"""

import os
from typing import Literal

import msgspec

from queuectl.decisions import Outcome
from queuectl.host import cgroup
from queuectl.runnable import SHELL
from queuectl.units import size_text

RESTING = "queuectl-workers"
"""The group beside those of the attempts, for workers and what they run without a limit."""
_PREFIX = "queuectl-attempt-"
_JOIN = 'echo 0 >"$1" || exit 126; shift; exec "$@"'
_LOWER = 'ulimit -v "$1" 2>/dev/null; shift; exec "$@"'  # where that is refused, a lower one is in force


def group_of(base: str | None, output: str) -> str | None:
    """The group of the attempt with this output file, in `base`; None where there is no base."""
    return f"{base}/{_PREFIX}{os.path.basename(output)}" if base is not None else None


class MemoryLimit(msgspec.Struct, frozen=True):
    """The memory limit of one attempt."""

    most: int
    """Bytes."""
    group: str | None = None
    """The control group that keeps it; None: RLIMIT_AS does."""

    @property
    def kept_by(self) -> Literal["cgroup", "rlimit"]:
        """What keeps it, as events have it."""
        return "rlimit" if self.group is None else "cgroup"

    def words(self, argv: tuple[str, ...]) -> tuple[str, ...]:
        """The words of a process that limits itself, and becomes the command of these words."""
        if self.group is not None:
            return (SHELL, "-c", _JOIN, "queuectl", f"{self.group}/cgroup.procs", *argv)
        return (SHELL, "-c", _LOWER, "queuectl", str(self.most // 1024), *argv)

    def judged(self, outcome: Outcome) -> Outcome:
        """The outcome of a command that no worker ended: where the kernel did, for its memory, that is the cause."""
        if outcome.cause is None or self.group is None or not cgroup.has_run_out(self.group):
            return outcome
        error = f"killed: it used more than its memory limit ({size_text(self.most)})"
        return msgspec.structs.replace(outcome, cause="memory", error=error)


def limit(most: int | None, group: str | None) -> MemoryLimit | None:
    """The limit for a command that is about to start, so many bytes; its group is made, if that can be done."""
    if most is None:
        return None
    if group is not None:
        try:
            cgroup.make(group, most)
        except OSError:
            group = None
    return MemoryLimit(most, group)


def found(most: int | None, group: str | None) -> MemoryLimit | None:
    """The limit of a command that another worker has started: its group was made where it is still there."""
    if most is None:
        return None
    return MemoryLimit(most, group if group is not None and os.path.isdir(group) else None)


def lift(limit: MemoryLimit | None) -> bool:
    """Remove the group of a command that has ended; False where a process is still in it."""
    return limit is None or limit.group is None or cgroup.remove(limit.group)
