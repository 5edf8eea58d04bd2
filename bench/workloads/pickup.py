"""How soon an idle worker in another process starts what was just enqueued."""

import random
import statistics
import time

from bench.measure import Figure, Options
from bench.scratch import Scratch
from bench.workers import workers
from queuectl import Queue


def run(options: Options, scratch: Scratch) -> list[Figure]:
    """Milliseconds from the write lock of the enqueue (its sync is to come) to the start of the command."""
    jobs = options.of(200, 50)
    waits = [waited(scratch.database(), jobs) for _ in range(options.rounds)]
    return [
        Figure(
            name=f"pickup by an idle worker, p{percent}",
            unit="ms",
            better="lower",
            ours=[statistics.quantiles(each, n=100, method="inclusive")[percent - 1] for each in waits],
            goal=goal,
        )
        for percent, goal in ((50, 5.0), (99, 25.0))
    ]


def waited(database: str, jobs: int) -> list[float]:
    """The wait of each of so many jobs, with a pause before each in which the worker falls idle."""
    pauses = random.Random(1)
    waits: list[float] = []
    with workers(database), Queue(database) as queue:
        for _ in range(jobs):
            time.sleep(pauses.uniform(0.005, 0.030))
            id = queue.enqueue("true")
            (job,) = queue.wait(id)
            (attempt,) = queue.attempts(id)
            if attempt.started_at is None:
                raise RuntimeError(f"job {id} is {job.state}, and was never started: see {database}")
            waits.append((attempt.started_at - job.enqueued_at) / 1000)
    return waits
