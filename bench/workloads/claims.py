"""Claim and finish without a process: what the queue itself costs a worker, beside its own statements in plain apsw."""

from bench import floor, peers
from bench.floor import Script
from bench.measure import Figure, Options, Side, Trial, rounds, timed
from bench.peers import Peer
from bench.scratch import Scratch
from bench.workers import turns, writer
from queuectl import Queue

FEW = 100
"""Jobs of a peer: some of them are slow."""


def run(options: Options, scratch: Scratch) -> list[Figure]:
    """Jobs a second in batches of 1 and of 64; a transaction finishes one batch and claims the next."""
    return [
        measure(options, scratch, 1, options.of(500, 100), peers.installed(options)),
        measure(options, scratch, 64, options.of(100, 20), []),
    ]


def measure(options: Options, scratch: Scratch, batch: int, count: int, others: list[Peer]) -> Figure:
    """One size of batches."""
    jobs = batch * count
    origin = scratch.database()
    with Queue(origin) as queue:
        queue.enqueue_many(["true"] * jobs)
        writer(queue).start(1)
    script = recorded(scratch.copy(origin), batch, count)

    def ours() -> float:
        with Queue(scratch.copy(origin)) as queue:
            hand = writer(queue)
            took = timed(lambda: turns(hand, count, batch))
            check(queue, jobs)
        return jobs / took

    def plain() -> float:
        database = scratch.copy(origin)
        connection = floor.plain(database)
        took = timed(lambda: floor.play(connection, script))
        connection.close()
        with Queue(database) as queue:
            check(queue, jobs)
        return jobs / took

    def theirs(peer: Peer) -> Trial:
        return lambda: FEW / peer.take(scratch.fresh(), FEW)

    values, least, *rest = rounds(options.rounds, ours, plain, *map(theirs, others), what=f"claims, batches of {batch}")
    return Figure(
        name=f"claim + finish, batches of {batch}",
        unit="jobs/s",
        better="higher",
        ours=values,
        floor=Side("the same statements, played back by plain apsw", least),
        goal=0.5,
        peers=peers.sides(others, rest),
    )


def recorded(database: str, batch: int, count: int) -> Script:
    """What SQLite is told while so many turns are taken."""
    with floor.watched() as watch, Queue(database) as queue:
        hand = writer(queue)
        script = watch()
        turns(hand, count, batch)
        return list(script)


def check(queue: Queue, jobs: int) -> None:
    """Raises RuntimeError unless so many jobs are completed."""
    if (completed := queue.status().counts["completed"]) != jobs:
        raise RuntimeError(f"{jobs} jobs claimed, {completed} completed")
