"""The attempts as a trace, in the Trace Event Format: for Perfetto (https://ui.perfetto.dev) and chrome://tracing.

Each worker is a process, and each of its slots a thread. The log does not have which slot an attempt ran in: it is put
into the first one that was free. Moments and durations are microseconds.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from queuectl import clock
from queuectl.clock import SECOND, micros
from queuectl.errors import NotFound
from queuectl.export.rows import Source

_LONGEST_NAME = 80
"""Characters of a command that name its attempts; the arguments of an event have it whole."""


def stream(source: Source) -> Iterator[bytes]:
    """The trace as one JSON object, in chunks; what runs lasts until now."""
    now = clock.now()
    hosts = {worker.id: worker.host for worker in source.queue.workers(all=True)}
    workers: dict[str, tuple[int, list[int]]] = {}
    between = b'{"displayTimeUnit":"ms","traceEvents":[\n'
    for page in source.pages():
        events: list[dict[str, Any]] = []
        for attempt in page:
            if (span := _span(attempt, now)) is None:
                continue
            start, duration = span
            if attempt.worker not in workers:
                workers[attempt.worker] = len(workers) + 1, []
                name = f"worker {attempt.worker} on {hosts.get(attempt.worker, 'an unknown host')}"
                events.append(_metadata("process_name", len(workers), 0, name))
            process, slots = workers[attempt.worker]
            free = next((place for place, end in enumerate(slots) if end <= start), len(slots))
            if free == len(slots):
                slots.append(0)
                events.append(_metadata("thread_name", process, free + 1, f"slot {free + 1}"))
            slots[free] = start + duration
            events.append(
                {"ph": "X", "pid": process, "tid": free + 1, "ts": start, "dur": duration} | _described(source, attempt)
            )
        if events:
            yield between + b",\n".join(map(msgspec.json.encode, events))
            between = b",\n"
    yield (b"\n" if between == b",\n" else between) + b"]}\n"


def _span(attempt: Any, now: int) -> tuple[int, int] | None:
    """When an attempt started, and how long it took; None where it did not start."""
    if attempt.outcome is None:
        start = micros(attempt.claimed_at)
        return start, max(0, now - start)
    if attempt.started_at is None:
        return None
    start = micros(attempt.started_at)
    if attempt.run_seconds is not None:
        return start, round(attempt.run_seconds * SECOND)
    return start, max(0, micros(attempt.ended_at) - start)


def _described(source: Source, attempt: Any) -> dict[str, Any]:
    """The name, the category and the arguments of an attempt."""
    arguments: dict[str, Any] = {
        name: value
        for name in attempt.__struct_fields__
        if name != "worker" and (value := getattr(attempt, name)) is not None
    }
    name = attempt.job
    try:
        job = source.queue.job(attempt.job)
    except NotFound:  # purged since
        pass
    else:
        name = job.command if len(job.command) <= _LONGEST_NAME else f"{job.command[: _LONGEST_NAME - 1]}…"
        arguments |= {
            "command": job.command, "queue": job.queue, "batch": job.batch, "tags": job.policy.tags,
            "enqueued_at": clock.text(job.enqueued_at),
        }  # fmt: skip
    return {"name": name, "cat": attempt.outcome or "running", "args": arguments}


def _metadata(kind: str, process: int, thread: int, name: str) -> dict[str, Any]:
    return {"ph": "M", "name": kind, "pid": process, "tid": thread, "args": {"name": name}}
