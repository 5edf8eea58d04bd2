"""`queuectl doctor`: what is wrong with a queue, and what to do about it.

Every check is a small function that looks at one thing and yields findings. None writes to the queue, none waits for a
worker or holds one up. A new check is a function, and its name in `CHECKS`.
"""

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

import msgspec

from queuectl import dotenv, engines
from queuectl.doctor.checks import environment, log, workers
from queuectl.doctor.finding import Finding, Severity, problem
from queuectl.engines.base import Progress
from queuectl.errors import QueueError, shown
from queuectl.queries import Reading

Bars = Callable[[str], Progress]
"""Gives the bar for a piece of work, by what it is."""

CHECKS: dict[str, Callable[["InspectedQueue", Bars], Iterator[Finding]]] = {
    "file": log.file,
    "log": log.log,
    "replay": log.replayed,
    "projections": log.projections,
    "clock": log.clock,
    "settings": environment.settings,
    "permissions": environment.permissions,
    "wal": environment.wal,
    "gate": environment.gate,
    "disk": environment.disk,
    "workers": workers.workers,
    "outputs": environment.outputs,
    "leftovers": environment.leftovers,
}
"""All checks by name, in the order in which they are made."""


class InspectedQueue(Reading):
    """A queue that is looked at, and never made. A context manager."""

    def __init__(self, url: str, *, progress: Progress | None = None) -> None:
        """`url` and `progress` are as for `Queue`. Raises Unusable (Absent where there is none), Invalid."""
        self._engine = engines.connect(url, create=False, progress=progress)
        self.logs = self.home.logs
        self._env_file = dotenv.read()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engine.close()


class Check(msgspec.Struct, frozen=True):
    """A check that was made."""

    name: str
    findings: list[Finding]

    @property
    def severity(self) -> Severity:
        """The worst of its findings'."""
        found = {finding.severity for finding in self.findings}
        return "problem" if "problem" in found else "warning" if "warning" in found else "ok"

    def json(self) -> dict[str, Any]:
        """As it stands in the document of `doctor --json`."""
        findings = [finding.json() for finding in self.findings]
        return {"check": self.name, "ok": self.severity != "problem", "findings": findings}


def examine(queue: InspectedQueue, bars: Bars = lambda what: lambda done, total: None) -> Iterator[Check]:
    """Make every check, one after another. One that can't be made is a problem itself, and stops none."""
    for name, check in CHECKS.items():
        yield Check(name, list(_made(check, queue, bars)))


def _made(
    check: Callable[[InspectedQueue, Bars], Iterator[Finding]], queue: InspectedQueue, bars: Bars
) -> Iterator[Finding]:
    started: list[Progress] = []

    def bar(what: str) -> Progress:
        started.append(bars(what))
        return started[-1]

    try:
        yield from check(queue, bar)
    except (QueueError, OSError) as error:
        why = str(error)
        if isinstance(error, OSError):
            why = f"{shown(str(error.filename))}: {error.strerror}" if error.filename is not None else why
        yield problem(f"could not be looked at: {why}", "mend that first, then ask again")
    except (ValueError, TypeError, AttributeError, LookupError, OverflowError) as error:
        why = f"the database holds what queuectl does not write ({error})"
        yield problem(f"could not be looked at: {why}", "see queuectl audit verify; a backup or an export has the log")
    finally:
        for each in started:
            each(1, 1)  # where it was broken off
