"""What tests of archives have in common: a worker's work in a moment, and what is left of it."""

import os
from pathlib import Path

from queuectl import Queue
from queuectl.decisions import Outcome, Report
from queuectl.events import Archived, Recorded
from queuectl.workers.turn import TurnWriter


def work(queue: Queue, worker: str, *, cause: str | None = None, limit: int = 1000, stop: bool = True) -> list[str]:
    """A worker runs what is ready, leaves an output of each attempt, and stops."""
    identity = queue.home.identity()
    writer = TurnWriter(queue, worker, (), identity)
    writer.start(1)
    claims = writer.turn([], [], limit).claims
    for claim in claims:
        Path(queue.home.output_of(identity, claim.job.id, claim.lease.version)).write_text("done\n")
    outcome = Outcome(cause=cause, exit_code=0 if cause is None else 1)
    writer.turn([Report(claim.lease, outcome) for claim in claims], [], 0)
    if stop:
        writer.stop("drained")
    return [claim.job.id for claim in claims]


def log(queue: Queue) -> list[Recorded]:
    return list(queue.events())


def tombstones(queue: Queue) -> dict[str, Archived]:
    found = {record.stream: record.event for record in queue.events(type="archived")}
    return {stream: event for stream, event in found.items() if isinstance(event, Archived)}


def outputs(queue: Queue) -> set[str]:
    return {name.partition(".")[0] for name in os.listdir(queue.home.output)}
