"""Why the jobs of a queue wait, summed up: each first reason, and how many jobs it keeps."""

from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from projections.jobs import Job
from queuectl.admission import Facts, Reason, first
from queuectl.clock import text
from queuectl.engines.view import View

OF_ONE_JOB = ("held", "dependency", "delayed", "backoff", "postponed")
"""Kinds of reasons that each job has for itself; of the others many have the same."""


class Wait(msgspec.Struct):
    """The jobs that wait for the same first reason."""

    reason: Reason
    jobs: int
    oldest: int
    """When the first of them was enqueued (µs UTC)."""

    def json(self) -> dict[str, Any]:
        """The document."""
        return {"jobs": self.jobs, "oldest": text(self.oldest), **self.reason.json()}


def waits(jobs: Iterable[Job], facts: Facts, now: int, count: Callable[[Job], int] = lambda job: 1) -> list[Wait]:
    """Sum up the first reasons of these jobs, as far as they wait; the reason that keeps most of them first.

    `count`: for how many jobs each of them stands.
    """
    found: dict[tuple[str, str], Wait] = {}
    for job in jobs:
        reason = first(job, facts, now)
        if reason is None:
            continue
        key = (reason.kind, "" if reason.kind in OF_ONE_JOB else reason.text)
        if (wait := found.get(key)) is None:
            found[key] = Wait(reason, count(job), job.enqueued_at)
            continue
        wait.jobs += count(job)
        wait.oldest = min(wait.oldest, job.enqueued_at)
        if reason.when is not None:
            wait.reason = min(wait.reason, reason, key=lambda each: each.when if each.when is not None else 1 << 62)
    for wait in found.values():
        if wait.jobs > 1 and wait.reason.kind in OF_ONE_JOB:
            wait.reason = Reason(kind=wait.reason.kind, text=_common(wait.reason), when=wait.reason.when)
    return sorted(found.values(), key=lambda wait: -wait.jobs)


def _common(reason: Reason) -> str:
    """What the reasons of several jobs share."""
    return "they start after others" if reason.kind == "dependency" else reason.text


def first_waits(view: View, facts: Facts, now: int, queue: str | None = None) -> list[Wait]:
    """The same of the first job of each queue, or of one, however many wait there: all are counted with it.

    What is held or blocked is not among them.
    """
    found = view.waiting_by_queue()
    heads = [job for name in found if queue in (None, name) for job in _head(view, name, now)]
    return waits(heads, facts, now, lambda job: found[job.queue])


def _head(view: View, queue: str, now: int) -> list[Job]:
    """The first job that waits in a queue: one that is due, or else the one that will be; none that is held."""
    due = view.due((queue,), 1, now)
    if not due and (later := view.next_due((queue,))) is not None:
        return view.due((queue,), 1, later)
    return due
