"""What users and workers do to a queue, done to an engine directly. Used by tests, also in processes of their own."""

from collections.abc import Sequence
from typing import Any

from projections.jobs import Job
from queuectl import decisions
from queuectl.clock import text
from queuectl.decisions import Lease, Outcome
from queuectl.engines.base import Engine
from queuectl.engines.view import Write
from queuectl.events import Enqueued, Event, WorkerStarted
from tests.support import ends

ACTOR = "test"


def policy(run_at: int, **more: Any) -> Enqueued:
    """What stands in the log for a job that says nothing special."""
    fields: dict[str, Any] = {"command": "true", "cwd": "/", "max_retries": 3, "backoff_base": 2.0, "backoff_max": 60.0}
    return Enqueued(**{**fields, "run_at": text(run_at), **more})


def add(engine: Engine, *ids: str, delay: int = 0, **more: Any) -> None:
    """Enqueue jobs in one transaction, due `delay` microseconds from now."""
    with engine.transaction() as tx:
        tx.append([Write(f"job:{id}", None, [policy(tx.now + delay, **more)]) for id in ids], ACTOR)


def claim(engine: Engine, worker: str, limit: int = 100, queues: Sequence[str] = ()) -> list[tuple[Job, Lease]]:
    """What a worker claims."""
    with engine.transaction() as tx:
        ready = tx.ready(queues, limit)
        changes = tx.append([Write(f"job:{job.id}", job, decisions.claim(job, worker, tx.now)) for job in ready], ACTOR)
    return [(change.after, decisions.lease(change.after)) for change in changes]


def report(engine: Engine, lease: Lease, cause: str | None = None, **seen: Any) -> None:
    """The outcome of an attempt, as a worker reports it."""
    with engine.transaction() as tx:
        job = tx.job(lease.job)
        assert job is not None
        events = ends.report(job, lease, Outcome(cause=cause, **seen), tx.now, 0.5)
        tx.append([Write(f"job:{job.id}", job, events)], ACTOR)
        if events[-1].type == "completed":
            tx.forget_secrets([job.id])


def change(engine: Engine, id: str, event: Event) -> None:
    """One event more for a job."""
    with engine.transaction() as tx:
        tx.append([Write(f"job:{id}", tx.job(id), [event])], ACTOR)


def start_worker(engine: Engine, id: str, slots: int = 1) -> None:
    """A worker says that it is up."""
    with engine.transaction() as tx:
        tx.append([Write(f"worker:{id}", None, [WorkerStarted(host="here", pid=1, slots=slots)])], ACTOR)
