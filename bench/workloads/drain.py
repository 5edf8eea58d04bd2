"""3,000 jobs `true` by a real `queuectl worker start --drain`, from its start to its exit, beside `xargs -P`."""

import os
from collections.abc import Callable

from bench.measure import Figure, Options, pairs, queuectl, seconds
from bench.scratch import Scratch
from queuectl import Queue


def run(options: Options, scratch: Scratch) -> list[Figure]:
    """Jobs a second with 2 and with 8 slots. The jobs are enqueued beforehand; every transition is durable."""
    jobs = 300 if options.quick else 3_000
    return [measure(slots, jobs, 3 if options.quick else 5, scratch.fresh) for slots in (2, 8)]


def measure(slots: int, jobs: int, count: int, fresh: Callable[[], str]) -> Figure:
    """One number of slots."""
    ours, floor = pairs(
        count,
        lambda: jobs / worker(fresh(), slots, jobs),
        lambda: jobs / xargs(slots, jobs),
        what=f"drain, {slots} slots",
    )
    return Figure(
        name=f"drain of {jobs:,}, {slots} slots",
        floor_name=f"xargs -P {slots} -n1 sh -c true, for as many",
        unit="jobs/s",
        better="higher",
        ours=ours,
        floor=floor,
        wanted_ratio=0.7,
    )


def worker(folder: str, slots: int, jobs: int) -> float:
    """Ours, in seconds. Raises RuntimeError unless each job completed in one attempt."""
    database = os.path.join(folder, "q.db")
    with Queue(database) as queue:
        queue.enqueue_many(["true"] * jobs)
    took = seconds([*queuectl(), "worker", "start", "--drain", "--slots", str(slots), "--db", database])
    with Queue(database) as queue:
        completed = queue.status().counts["completed"]
        claims = sum(1 for _ in queue.events(type="claimed"))
        released = sum(1 for _ in queue.events(type="released"))
    if completed != jobs or claims - released != jobs:
        raise RuntimeError(f"of {jobs} jobs {completed} completed, in {claims - released} attempts: see {folder}")
    return took


def xargs(slots: int, jobs: int) -> float:
    """The floor, in seconds: as many `sh -c true`, and nothing written down."""
    return seconds(["sh", "-c", f"seq {jobs} | xargs -P {slots} -n1 sh -c true"])
