"""Long and short jobs mixed: how long a job waits behind another while a slot is idle."""

import random
from collections.abc import Iterator, Sequence

from bench.measure import Figure, Options
from bench.scratch import Scratch
from bench.workers import workers
from projections.attempts import Attempt
from queuectl import Queue, clock

WORKERS = 2
SHORT = ["true"] * 8
LONG = ["sleep 0.5"]

Span = tuple[int, int]
"""From and to, microseconds UTC."""


def run(options: Options, scratch: Scratch) -> list[Figure]:
    """Milliseconds: of all jobs of a round the longest wait, without a break, beside a slot that had nothing to do."""
    rounds = range(options.rounds)
    return [
        Figure(
            name="wait while a slot is idle, long and short mixed",
            unit="ms",
            better="lower",
            ours=[longest(scratch.database(), options.of(10, 3), seed) for seed in rounds],
            goal=150.0,
            judge="worst",
        )
    ]


def longest(database: str, bursts: int, seed: int) -> float:
    """The longest such wait of several bursts, in each of which a long job stands somewhere among short ones."""
    draw = random.Random(seed)
    with workers(database, WORKERS), Queue(database) as queue:
        began = clock.now()
        for _ in range(bursts):
            commands = SHORT + LONG
            draw.shuffle(commands)
            queue.enqueue_many(commands)
            queue.wait()
        ended = clock.now()
        enqueued = {job.id: job.enqueued_at for job in queue.jobs()}
        attempts = [attempt for attempt in queue.all_attempts() if attempt.started_at is not None]
        idle = [span for worker in queue.workers() for span in gaps(attempts, worker.id, began, ended)]
    waits = [(enqueued[attempt.job], attempt.started_at or 0) for attempt in attempts]
    return max(min(wait[1], gap[1]) - max(wait[0], gap[0]) for wait in waits for gap in idle) / 1000


def gaps(attempts: Sequence[Attempt], worker: str, began: int, ended: int) -> Iterator[Span]:
    """When the only slot of a worker had nothing to do."""
    mine = sorted((each.started_at or 0, each.run_seconds or 0.0) for each in attempts if each.worker == worker)
    free = began
    for started, run in mine:
        yield free, started
        free = started + round(run * 1e6)
    yield free, ended
