"""What a claim and `status` cost where much waits, beside themselves where little does."""

from collections.abc import Callable, Iterable

from bench.measure import Figure, Options, Side, Trial, rounds, timed
from bench.scratch import Scratch
from bench.workers import turns, writer
from queuectl import Queue, Spec

BATCH = 64
TURNS = 15
OLDEST = 1_000
"""Jobs of one turn in which the oldest of the long backlog are taken before anything is measured. Their ids are shorter
than the others', so that in the index over streams, which is ordered as text, each lies on a page of its own among
those: the first 12,000 of a million that were enqueued at once take 1.3 to 1.4 times as long."""
PART = 100_000
"""Jobs that are enqueued in one call."""
READY = BATCH * TURNS
"""Jobs that are put in before each measuring and taken within it, so that the backlog stays what it is."""


def run(options: Options, scratch: Scratch) -> list[Figure]:
    """A claim, and `status`, with a backlog of 1,000,000 jobs against one of 1,000."""
    jobs = options.of(1_000_000, 30_000)
    with Queue(scratch.database()) as long, Queue(scratch.database()) as short:
        return beside_few(options, long, short, jobs, options.of(500, 100))


def beside_few(options: Options, long: Queue, short: Queue, jobs: int, calls: int) -> list[Figure]:
    """A claim, and so many calls of `status`, in a new queue with so many jobs and in one with 1,000."""
    for queue, size in ((long, jobs), (short, 1_000)):
        for part in range(0, size, PART):
            queue.enqueue_many(["true"] * min(PART, size - part))
        writer(queue).start(1)
    turns(writer(long), options.of(12, 4), OLDEST)
    return [
        compared(
            options, f"claim + finish, {jobs:,} waiting", "1,000 waiting", 1.25,
            claiming(long, plainly), claiming(short, plainly),
        ),
        compared(
            options, f"status, {jobs:,} waiting", "1,000 waiting", 1.25,
            asking(long, calls), asking(short, calls),
        ),
    ]  # fmt: skip


def queues(options: Options, scratch: Scratch) -> list[Figure]:
    """A claim over 1,000 queues and past 100,000 delayed jobs of higher priority, against one queue with neither."""
    delayed, many = options.of(100_000, 10_000), options.of(1_000, 100)

    def spread(count: int) -> Iterable[Spec]:
        return (Spec(command="true", queue=f"queue-{number % many}") for number in range(count))

    with Queue(scratch.database()) as full, Queue(scratch.database()) as empty:
        full.enqueue_many(
            Spec(command="true", queue=f"queue-{number % many}", priority=1 + number % 5, delay=86_400.0)
            for number in range(delayed)
        )
        for queue, ready in ((full, spread), (empty, plainly)):
            queue.enqueue_many(ready(1_000))
            writer(queue).start(1)
        name = f"claim + finish, {delayed:,} delayed, {many:,} queues"
        return [
            compared(options, name, "one queue, none delayed", 1.5, claiming(full, spread), claiming(empty, plainly))
        ]


def plainly(count: int) -> Iterable[Spec]:
    """Jobs of the default queue."""
    return (Spec(command="true") for _ in range(count))


def claiming(queue: Queue, ready: Callable[[int], Iterable[Spec]]) -> Trial:
    """Microseconds for a job, in batches."""
    hand = writer(queue)

    def trial() -> float:
        queue.enqueue_many(ready(READY))
        return 1e6 * timed(lambda: turns(hand, TURNS, BATCH)) / READY

    return trial


def asking(queue: Queue, calls: int) -> Trial:
    """Microseconds for one `status`."""
    return lambda: 1e6 * timed(lambda: [queue.status() for _ in range(calls)]) / calls


def compared(options: Options, name: str, other: str, goal: float | None, ours: Trial, floor: Trial) -> Figure:
    """The same thing under two conditions."""
    for trial in (ours, floor):  # so that both have in memory what they need
        trial()
    values, least = rounds(options.of(11, 5), ours, floor, what=name)
    return Figure(
        name=name, unit="us", better="lower", ours=values, floor=Side(f"itself, {other}", least), goal=goal
    )  # fmt: skip
