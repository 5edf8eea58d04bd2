"""The check of hosts: whether all that have workers were heard of lately, and whether their clocks are right (R48)."""

import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from projections.workers import Worker
from queuectl.clock import text
from queuectl.doctor.finding import Finding, fine, some, warning
from queuectl.host_lease import CLOCK_OFF, told_clock
from queuectl.liveness import lease_left
from queuectl.units import counted, span

if TYPE_CHECKING:
    from projections.replay import ProgressBars
    from queuectl.doctor import InspectedQueue


def hosts(queue: "InspectedQueue", bars: "ProgressBars") -> Iterator[Finding]:
    """Check each host that has workers up, by the log."""
    by_host: dict[str, list[Worker]] = {}
    with queue.engine.snapshot() as view:
        for worker in view.workers():
            by_host.setdefault(worker.host, []).append(worker)
        held = {host: sum(len(view.jobs_of(worker.id)) for worker in on_it) for host, on_it in by_host.items()}
    found = [*_silent(by_host, held, queue.engine.now()), *_wrong_clocks(by_host)]
    if not found:
        heard = [f"{host} ({counted(len(on_it), 'worker')})" for host, on_it in sorted(by_host.items())]
        yield fine(some(heard, most=8) if heard else "none has a worker up", hosts=sorted(by_host))
    yield from found


def _silent(by_host: dict[str, list[Worker]], held: dict[str, int], now: int) -> Iterator[Finding]:
    """Hosts of which no worker was heard for longer than its lease."""
    for host, workers in by_host.items():
        lefts = [left for worker in workers if (left := lease_left(worker, now)) is not None]
        if lefts and len(lefts) == len(workers) and max(lefts) <= 0:
            silence = min((worker.lease or 0.0) - left for worker, left in zip(workers, lefts, strict=True))
            yield warning(
                f"host {host} was not heard for {span(round(silence))}, longer than the lease of its"
                f" {counted(len(workers), 'worker')}, which {_hold(held[host])}",
                f"if it is gone for good: queuectl recover --gone {shlex.quote(host)}; any worker that is up elsewhere"
                " takes over by itself what it held",
                host=host,
                workers=[worker.id for worker in workers],
                jobs=held[host],
                heard_at=text(max(worker.heartbeat_at for worker in workers)),
            )


def _wrong_clocks(by_host: dict[str, list[Worker]]) -> Iterator[Finding]:
    for host, workers in by_host.items():
        ahead = _latest(workers).clock_ahead
        if ahead is not None and abs(ahead) > CLOCK_OFF:
            yield warning(
                f"the clock of host {host} {told_clock(ahead)}, as its latest worker has seen when it started",
                "set it right: what commands are told, and the stamps of their files, are by that clock",
                host=host,
                clock_ahead=ahead,
            )


def _latest(workers: Sequence[Worker]) -> Worker:
    return max(workers, key=lambda worker: worker.started_at)


def _hold(jobs: int) -> str:
    return f"hold {counted(jobs, 'job')}" if jobs else "hold nothing"
