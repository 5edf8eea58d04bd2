"""Enqueueing through the library, beside plain apsw: 100,000 jobs in one call, one durable job at a time, its CPU."""

from bench import floor, peers
from bench.floor import Written
from bench.measure import Figure, Options, Side, Trial, cpu, rounds, timed
from bench.peers import Peer
from bench.scratch import Scratch
from queuectl import Queue


def bulk(options: Options, scratch: Scratch) -> list[Figure]:
    """Jobs a second, opening and closing of the database not counted on either side."""
    jobs = options.of(100_000, 10_000)
    rows = sample(scratch, jobs)

    def ours() -> float:
        with Queue(scratch.database()) as queue:
            took = timed(lambda: queue.enqueue_many(["true"] * jobs))
            check(queue, jobs)
        return jobs / took

    def plain() -> float:
        connection = floor.tables(scratch.database(), rows)
        took = timed(lambda: floor.write_all(connection, rows))
        connection.close()
        return jobs / took

    values, least = rounds(options.rounds, ours, plain, what="bulk enqueue")
    return [
        Figure(
            name=f"bulk enqueue of {jobs:,}",
            unit="jobs/s",
            better="higher",
            ours=values,
            floor=Side("the same rows into a log and a jobs table with the same indexes, one transaction, apsw", least),
            goal=0.7,
        )
    ]


def single(options: Options, scratch: Scratch) -> list[Figure]:
    """Jobs a second where each is durable before the next is begun; and beside the rival."""
    jobs = options.of(500, 100)
    rows = sample(scratch, jobs)

    def ours() -> float:
        with Queue(scratch.database()) as queue:
            took = timed(lambda: [queue.enqueue("true") for _ in range(jobs)])
            check(queue, jobs)
        return jobs / took

    def plain() -> float:
        connection = floor.tables(scratch.database(), rows)
        took = timed(lambda: floor.write_each(connection, rows))
        connection.close()
        return jobs / took

    def theirs(peer: Peer) -> Trial:
        return lambda: jobs / peer.put(scratch.fresh(), jobs)

    others = peers.installed(options)
    values, least, *rest = rounds(options.rounds, ours, plain, *map(theirs, others), what="single enqueue")
    name, beside = "single durable enqueue", peers.sides(others, rest)
    same = Side("the same rows, a transaction for each job, apsw", least)
    rivals = [side for side in beside if side.name == peers.RIVAL]
    return [
        Figure(name=name, unit="jobs/s", better="higher", ours=values, floor=same, goal=0.6, peers=beside),
        *(
            Figure(name=f"{name} to {rival.name}", unit="jobs/s", better="higher", ours=values, floor=rival, goal=1.0)
            for rival in rivals
        ),
    ]


def cost(options: Options, scratch: Scratch) -> list[Figure]:
    """Microseconds of CPU for each job that is enqueued alone, where a commit is not synced."""
    jobs = options.of(3_000, 300)
    rows = sample(scratch, jobs)

    def ours() -> float:
        database = scratch.database()
        with Queue(database) as queue:
            queue.set_config("synchronous", "normal")
        with Queue(database) as queue:
            took = cpu(lambda: [queue.enqueue("true") for _ in range(jobs)])
            check(queue, jobs)
        return took / jobs * 1e6

    def plain() -> float:
        connection = floor.tables(scratch.database(), rows)
        connection.pragma("synchronous", 1)
        took = cpu(lambda: floor.write_each(connection, rows))
        connection.close()
        return took / jobs * 1e6

    values, least = rounds(options.rounds, ours, plain, what="CPU of an enqueue")
    name = "CPU of an enqueue, not synced"
    same = Side("the same rows, a transaction for each job, apsw, NORMAL", least)
    return [
        Figure(name=name, unit="us", better="lower", ours=values, floor=same, goal=2.5),
        Figure(name=f"{name}, here", unit="us", better="lower", ours=values, goal=120.0),
    ]


def sample(scratch: Scratch, jobs: int) -> Written:
    """What QueueCTL writes for so many jobs."""
    database = scratch.database()
    with Queue(database) as queue:
        queue.enqueue_many(["true"] * jobs)
    return floor.written(database, jobs)


def check(queue: Queue, jobs: int) -> None:
    """Raises RuntimeError unless so many jobs are pending."""
    if (pending := queue.status().counts["pending"]) != jobs:
        raise RuntimeError(f"{jobs} jobs enqueued, {pending} pending")
