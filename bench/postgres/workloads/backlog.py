"""What a claim and `status` cost where much waits."""

from bench.measure import Figure, Options, rounds
from bench.postgres.cluster import cluster
from bench.scratch import Scratch
from bench.workloads.backlog import asking, beside_few
from queuectl import Queue


def run(options: Options, scratch: Scratch) -> list[Figure]:
    """A claim and `status` with 1,000,000 jobs beside 1,000; and `status` by itself, in milliseconds."""
    jobs, calls = options.of(1_000_000, 10_000), options.of(200, 50)
    with (
        cluster(scratch) as server,
        Queue(server.url(server.database())) as long,
        Queue(server.url(server.database())) as short,
    ):
        figures = beside_few(options, long, short, jobs, calls)
        name = f"status, {jobs:,} waiting, here"
        asked = asking(long, calls)
        (values,) = rounds(options.of(5, 1), lambda: asked() / 1000, what=name)
        return [*figures, Figure(name=name, unit="ms", better="lower", ours=values, goal=5.0)]
