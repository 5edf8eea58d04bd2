"""Enqueueing through the library, beside its own statements: many jobs in one call, and one durable job at a time."""

from collections.abc import Callable

from bench.measure import Figure, Options, Side, rounds
from bench.postgres.cluster import Cluster, cluster
from bench.postgres.crew import Part, together
from bench.postgres.recording import Played, begin, recorded, taken
from bench.postgres.workloads.claims import PLAYED, players
from bench.scratch import Scratch
from bench.workloads.enqueue import check
from queuectl import Queue

Enqueue = Callable[[Queue, int], object]

WARM = 20
"""Jobs that are enqueued in the same way before anything is timed."""


def run(options: Options, scratch: Scratch) -> list[Figure]:
    """Jobs a second, each durable before the next call."""
    many, few = options.of(50_000, 5_000), options.of(500, 50)

    def bulk(queue: Queue, jobs: int) -> None:
        queue.enqueue_many(["true"] * jobs)

    def single(queue: Queue, jobs: int) -> None:
        for _ in range(jobs):
            queue.enqueue("true")

    with cluster(scratch) as server:
        return [
            measure(options, server, f"bulk enqueue of {many:,}", many, bulk),
            measure(options, server, "single durable enqueue", few, single),
        ]


def measure(options: Options, server: Cluster, name: str, jobs: int, enqueue: Enqueue) -> Figure:
    """One way of enqueueing so many jobs into an empty queue."""
    origin = server.database()
    Queue(server.url(origin)).close()
    played = record(server.url(server.database(origin)), jobs, enqueue)

    def trial(part: Callable[[str], Part]) -> Callable[[], float]:
        def once() -> float:
            database = server.database(origin)
            took = together([part(database)])
            with Queue(server.url(database)) as queue:
                check(queue, WARM + jobs)
            return jobs / took

        return once

    def ours(database: str) -> Part:
        def prepare() -> Callable[[], object]:
            queue = Queue(server.url(database))
            enqueue(queue, WARM)
            return lambda: enqueue(queue, jobs)

        return prepare

    def floor(database: str) -> Part:
        (part,) = players(server.dsn(database), [played])
        return part

    values, least = rounds(options.of(5, 1), trial(ours), trial(floor), what=name)
    return Figure(name=name, unit="jobs/s", better="higher", ours=values, floor=Side(PLAYED, least), goal=0.6)


def record(url: str, jobs: int, enqueue: Enqueue) -> Played:
    """What is sent."""
    with recorded() as scripts, Queue(url) as queue:
        (settings,) = begin(scripts)
        enqueue(queue, WARM)
        before = taken(scripts[0])
        enqueue(queue, jobs)
        return Played(settings, before, taken(scripts[0]))
