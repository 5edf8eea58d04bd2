"""What a key does to a job or a queue: the same as the command of that name, by the same method of the queue."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from projections.jobs import Job
    from queuectl.job_fields import Changes
    from queuectl.overview import Overview
    from queuectl.queue import Queue


def _given(reason: str | None) -> "Changes":
    """Return the fields of a job that are given, where that is the reason alone."""
    return {"reason": reason} if reason is not None else {}


class Request(msgspec.Struct, frozen=True):
    """A change that is asked for, before its reason is."""

    verb: str
    """The command, as it would be typed: `retry 17`."""
    make: "Callable[[Queue, str | None], object]"
    """Makes it, with a reason. What it returns is false where nothing was changed. Raises QueueError."""
    done: str
    """What to say then."""


def retry(job: "Job") -> Request:
    """Run a job again that has ended."""
    return Request(f"retry {job.id}", lambda q, reason: q.retry(job.id, **_given(reason)), f"{job.id} runs again")


def cancel(job: "Job") -> Request:
    """Cancel a job."""
    done = f"{job.id} is being cancelled" if job.state == "processing" else f"{job.id} was cancelled"
    return Request(f"cancel {job.id}", lambda q, reason: q.cancel(job.id, reason=reason), done)


def hold(job: "Job") -> Request:
    """Hold a job that waits, or release it where it is held."""
    if job.held:
        return Request(f"release {job.id}", lambda q, reason: q.release(job.id, reason=reason), f"{job.id} was let go")
    return Request(f"hold {job.id}", lambda q, reason: q.hold(job.id, reason=reason), f"{job.id} is held")


def start(job: "Job") -> Request:
    """Have a job that waits start next."""
    return Request(f"start {job.id}", lambda q, reason: q.start(job.id, reason=reason), f"{job.id} starts next")


def suspend(job: "Job") -> Request:
    """Suspend a job that runs, or continue it where it is suspended."""
    if job.suspended_at is not None:
        return Request(f"continue {job.id}", lambda q, reason: q.continue_(job.id, reason=reason), f"{job.id} goes on")
    return Request(f"suspend {job.id}", lambda q, reason: q.suspend(job.id, reason=reason), f"{job.id} is suspended")


def pause(seen: "Overview | None", name: str) -> Request:
    """Pause a queue, or all of them where the name is empty; resume it where it was seen paused."""
    named, words = (f"queue {name}", f" {name}") if name else ("all queues", "")
    queue = name or None
    if seen is not None and any(each.name == name and each.is_paused for each in seen.queues):
        return Request(f"resume{words}", lambda q, reason: q.resume(queue, reason=reason), f"{named} resumed")
    return Request(f"pause{words}", lambda q, reason: q.pause(queue, reason=reason), f"{named} paused")
