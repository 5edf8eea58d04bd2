"""The decision on the end of a single job, for tests that append its events themselves."""

from collections.abc import Sequence

from projections.jobs import Job
from queuectl.decisions import Cancel, Ending, Lease, Outcome, Refusal, Release, Report, finish
from queuectl.errors import Fenced
from queuectl.events import Event


def report(job: Job, lease: Lease, outcome: Outcome, now: int, draw: float) -> list[Event]:
    """The events of a report. Raises Fenced where the lease is not held."""
    return _decided(job, Report(lease, outcome), now, draw)


def release(job: Job, lease: Lease, reason: str | None = None, now: int = 0, *, repeats: bool = False) -> list[Event]:
    """The events of a claim that is given back. Raises Fenced where the lease is not held."""
    return _decided(job, Release(lease, reason, repeats), now)


def refuse_to_run(job: Job, lease: Lease, missing: Sequence[str]) -> list[Event]:
    """The events of a claimed job that can't be run. Raises Fenced where the lease is not held."""
    return _decided(job, Refusal(lease, missing))


def cancel(job: Job, reason: str | None = None, signal: str | None = None) -> list[Event]:
    """The events of a cancel; none where it was requested already."""
    return _decided(job, Cancel(job.id, reason, signal))


def _decided(job: Job, ending: Ending, now: int = 0, draw: float = 0.0) -> list[Event]:
    ends = finish([ending], {job.id: job}.get, now, lambda: draw)
    if ends.fenced:
        raise Fenced(f"{ends.fenced} is no longer held")
    return ends.jobs[0].events if ends.jobs else []
