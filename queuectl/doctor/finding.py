"""The result of a check: a `Finding`, with two sentences for people and facts for programs."""

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
"""The states in /proc that explain why a process makes no progress."""


class Finding(msgspec.Struct, frozen=True):
    """One result of a check."""

    severity: Severity
    """`ok`: nothing to do; `warning`: may become a problem; `problem`: the queue is not healthy."""
    what: str
    do: str | None = None
    """What to do about it; None: nothing."""
    facts: dict[str, Any] = {}
    """Details for programs: sizes in bytes, times in RFC 3339, ids and paths."""

    def json(self) -> dict[str, Any]:
        """The finding as in the output of `doctor --json`."""
        return {"severity": self.severity, "what": self.what, "do": self.do, **self.facts}


def fine(what: str, **facts: Any) -> Finding:
    """A finding of severity `ok`."""
    return Finding("ok", what, None, facts)


def warning(what: str, do: str, **facts: Any) -> Finding:
    """A finding of severity `warning`."""
    return Finding("warning", what, do, facts)


def problem(what: str, do: str, **facts: Any) -> Finding:
    """A finding of severity `problem`."""
    return Finding("problem", what, do, facts)


def some(names: list[str], most: int = 3) -> str:
    """The first names and the number of others: `a, b, c and 4 more`."""
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


class ProcessSummary(msgspec.Struct, frozen=True):
    """A process as findings name it."""

    pid: int
    command: str
    state: str
    """The letter in /proc."""

    def __str__(self) -> str:
        state = f", {STATES[self.state]}" if self.state in STATES else ""
        command = self.command if len(self.command) <= 60 else self.command[:59] + "…"
        return f"process {self.pid} ({command}{state})"


def process(pid: int) -> ProcessSummary:
    """A process as /proc shows it now, with its whole command line where that can be read."""
    return ProcessSummary(pid, procfs.command_line(pid) or "?", processes.state(pid) or "?")
