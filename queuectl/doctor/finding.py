"""What a check has to say: a `Finding`, for people in two sentences and for programs with the figures."""

from typing import Any, Literal

import msgspec

from queuectl.host import processes, procfs

Severity = Literal["ok", "warning", "problem"]

STATES = {
    "D": "waiting for a device, or frozen",
    "T": "stopped",
    "t": "held by a debugger",
    "Z": "ended, not reaped",
}
"""The states of processes that explain why one does not go on, as /proc has them."""


class Finding(msgspec.Struct, frozen=True):
    """One thing that a check has found."""

    severity: Severity
    """`ok` is nothing to do; a `warning` may wait; with a `problem` the queue is not healthy."""
    what: str
    do: str | None = None
    """What to do about it."""
    facts: dict[str, Any] = {}
    """For programs: sizes in bytes, moments in RFC 3339, ids and paths."""

    def json(self) -> dict[str, Any]:
        """As it stands in the document of `doctor --json`."""
        return {"severity": self.severity, "what": self.what, "do": self.do, **self.facts}


def fine(what: str, **facts: Any) -> Finding:
    """All is well."""
    return Finding("ok", what, None, facts)


def warning(what: str, do: str, **facts: Any) -> Finding:
    """Something that may become a problem."""
    return Finding("warning", what, do, facts)


def problem(what: str, do: str, **facts: Any) -> Finding:
    """Something that must be mended."""
    return Finding("problem", what, do, facts)


def some(names: list[str], most: int = 3) -> str:
    """The first of them, and how many more there are: `a, b, c and 4 more`."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


class Process(msgspec.Struct, frozen=True):
    """A process that is in the way."""

    pid: int
    command: str
    state: str
    """The letter that /proc has."""

    def __str__(self) -> str:
        state = f", {STATES[self.state]}" if self.state in STATES else ""
        command = self.command if len(self.command) <= 60 else self.command[:59] + "…"
        return f"process {self.pid} ({command}{state})"


def process(pid: int) -> Process:
    """A process as /proc shows it now, with its whole command line where that can be read."""
    return Process(pid, procfs.command_line(pid) or "?", processes.state(pid) or "?")
