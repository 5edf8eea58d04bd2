"""Replay of 1,000,000 events, of jobs that were enqueued, claimed and completed, beside reading the same rows."""

from bench import floor
from bench.measure import Figure, Options, Side, rounds, timed
from bench.scratch import Scratch
from bench.workers import turns, writer
from queuectl import Queue

BATCH = 1_000


def run(options: Options, scratch: Scratch) -> list[Figure]:
    """Events a second: all projections dropped and folded anew, in one durable transaction."""
    batches = options.of(334, 10)
    database = scratch.database()
    with Queue(database) as queue:
        queue.enqueue_many(["true"] * batches * BATCH)
        hand = writer(queue)
        hand.start(1)
        turns(hand, batches, BATCH)
        events = queue.status().seq

    def ours() -> float:
        with Queue(database) as queue:
            return events / timed(queue.replay)

    def plain() -> float:
        connection = floor.plain(database)
        took = timed(lambda: floor.read(connection))
        connection.close()
        return events / took

    values, least = rounds(options.rounds, ours, plain, what="replay")
    name = f"replay of {events:,} events"
    reading = Side("reading the same rows, apsw", least)
    return [
        Figure(name=name, unit="events/s", better="higher", ours=values, floor=reading, goal=0.15),
        Figure(name=f"{name}, here", unit="events/s", better="higher", ours=values, goal=250_000),
    ]
