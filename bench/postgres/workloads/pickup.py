"""How soon an idle worker of another host starts what was just enqueued."""

import random
import statistics
import time

from bench.measure import Figure, Options
from bench.postgres.cluster import cluster
from bench.scratch import Scratch
from bench.workers import workers
from queuectl import Queue, clock


def run(options: Options, scratch: Scratch) -> list[Figure]:
    """Milliseconds from the acknowledgement of the enqueue to the start of the command. Nobody else writes."""
    jobs = options.of(200, 20)
    with cluster(scratch) as server:
        waits = [waited(server.url(server.database()), scratch.fresh(), jobs) for _ in range(options.of(5, 1))]
    return [
        Figure(
            name=f"pickup by an idle worker of another host, p{percent}",
            unit="ms",
            better="lower",
            ours=[statistics.quantiles(each, n=100, method="inclusive")[percent - 1] for each in waits],
        )
        for percent in (50, 99)
    ]


def waited(url: str, home: str, jobs: int) -> list[float]:
    """The wait of each of so many jobs, with a pause before each in which the worker falls idle.

    The worker has another home than we do, as on another host; it connects by TCP, as all do here.
    """
    pauses = random.Random(1)
    waits: list[float] = []
    with Queue(url) as queue, workers(url, XDG_STATE_HOME=home):
        for _ in range(jobs):
            time.sleep(pauses.uniform(0.005, 0.030))
            id = queue.enqueue("true")
            acknowledged = clock.now()
            (job,) = queue.wait(id)
            (attempt,) = queue.attempts(id)
            if attempt.started_at is None:
                raise RuntimeError(f"job {id} is {job.state}, and was never started")
            waits.append((attempt.started_at - acknowledged) / 1000)
    return waits
