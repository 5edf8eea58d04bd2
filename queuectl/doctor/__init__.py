"""The checks of `queuectl doctor`: what is wrong with a queue, and what to do about it.

A check is a function that examines one thing and yields findings. It never writes to the queue and never delays a
worker. To add a check, write the function and add it to `CHECKS`.
"""

from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from projections.replay import Progress, ProgressBars
from queuectl import dotenv, engines
from queuectl.doctor.checks import environment, flow, growth, hosts, log, schedules, server, workers
from queuectl.doctor.finding import Finding, Severity, problem
from queuectl.errors import QueueError, shown
from queuectl.flow_queries import FlowQueries

CHECKS: dict[str, Callable[["InspectedQueue", ProgressBars], Iterator[Finding]]] = {
    "file": log.file,
    "log": log.log,
    "server": server.server,
    "replay": log.replayed,
    "projections": log.projections,
    "clock": log.clock,
    "settings": environment.settings,
    "permissions": environment.permissions,
    "wal": environment.wal,
    "gate": environment.gate,
    "disk": environment.disk,
    "growth": growth.growth,
    "retention": growth.retention,
    "workers": workers.workers,
    "hosts": hosts.hosts,
    "flow": flow.flow,
    "schedules": schedules.schedules,
    "outputs": environment.outputs,
    "leftovers": environment.leftovers,
}
"""All checks by name, in the order in which they run."""


class InspectedQueue(FlowQueries):
    """An existing queue, opened for examination; a context manager."""

    def __init__(self, url: str, *, progress: Progress | None = None) -> None:
        """Open the queue; arguments as for `Queue`. Raises Unusable, Absent if there is none, Invalid."""
        self._engine = engines.connect(url, create=False, progress=progress)
        self._engine.set_durability("normal")  # nothing is written, and where nothing becomes durable it is to say why
        self.logs = self.home.logs
        self._env_file = dotenv.read()


class Check(msgspec.Struct, frozen=True):
    """The result of one check."""

    name: str
    findings: list[Finding]

    @property
    def severity(self) -> Severity:
        """The worst severity of its findings."""
        found = {finding.severity for finding in self.findings}
        return "problem" if "problem" in found else "warning" if "warning" in found else "ok"

    def json(self) -> dict[str, Any]:
        """As it stands in the document of `doctor --json`."""
        findings = [finding.json() for finding in self.findings]
        return {"check": self.name, "ok": self.severity != "problem", "findings": findings}


def examine(queue: InspectedQueue, bars: ProgressBars = lambda what: lambda done, total: None) -> Iterator[Check]:
    """Run all checks in order. A check that fails with an error is a problem itself; the others still run.

    One that finds nothing to look at is left out: the WAL of a server, the server of a file.
    """
    for name, check in CHECKS.items():
        if findings := list(_made(check, queue, bars)):
            yield Check(name, findings)


def _made(
    check: Callable[[InspectedQueue, ProgressBars], Iterator[Finding]], queue: InspectedQueue, bars: ProgressBars
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
        yield problem(f"could not be checked: {why}", "fix that first, then run doctor again")
    except (ValueError, TypeError, AttributeError, LookupError, OverflowError) as error:
        why = f"the database holds what queuectl does not write ({error})"
        yield problem(f"could not be checked: {why}", "see queuectl audit verify; a backup or an export has the log")
    finally:
        for each in started:
            each(1, 1)  # in case the check ended early
