"""Jobs that do nothing, beside other queues on PostgreSQL; and commands that do nothing, by a real worker.

The others call a function within their worker, whose start is not counted. What compares to that is what our worker
does without its processes: claim and finish. A drain of commands is timed from the worker's start to its exit.
"""

from bench.measure import Figure, Options, Side, Trial, rounds
from bench.postgres import peers
from bench.postgres.cluster import Cluster, cluster
from bench.postgres.crew import together
from bench.postgres.peers import BATCH, Rival
from bench.postgres.workloads.claims import Load, prepared, worker
from bench.scratch import Scratch
from bench.workloads.drain import drained, shell
from queuectl import Queue

SLOTS = 2


def run(options: Options, scratch: Scratch) -> list[Figure]:
    """Jobs a second."""
    with cluster(scratch) as server:
        return [*beside_others(options, scratch, server), commands(options, server)]


def beside_others(options: Options, scratch: Scratch, server: Cluster) -> list[Figure]:
    """One worker of each queue."""
    load = Load(1, BATCH, options.of(50, 5))
    origin = prepared(server, load)
    others = peers.installed(options)

    def ours() -> float:
        url = server.url(server.database(origin))
        return load.jobs / together([worker(url, scratch.fresh(), 0, load)])

    def theirs(rival: Rival) -> Trial:
        return lambda: rival.jobs / together([rival.part(server.dsn(server.database()))])

    name = "drain of no-op jobs, 1 worker"
    values, *rest = rounds(options.of(5, 1), ours, *map(theirs, others), what=name)
    sides = [Side(rival.name, mine, "power cut, as ours") for rival, mine in zip(others, rest, strict=True)]
    return [
        Figure(name=name, unit="jobs/s", better="higher", ours=values, peers=sides),
        *(
            Figure(name=f"{name}, to {side.name}", unit="jobs/s", better="higher", ours=values, floor=side, goal=1.0)
            for side in sides
        ),
    ]


def commands(options: Options, server: Cluster) -> Figure:
    """Commands, by a real worker."""
    jobs = options.of(1_000, 200)
    xargs = f"xargs -P {SLOTS} -n1 sh -c true"

    def ours() -> float:
        url = server.url(server.database())
        Queue(url).close()
        return jobs / drained(url, 1, SLOTS, jobs)

    name = f"drain of {jobs:,} commands, slots {SLOTS}"
    values, least = rounds(options.of(5, 1), ours, lambda: jobs / shell(f"seq {jobs} | {xargs}"), what=name)
    floor = Side(f"{xargs}, for as many; nothing is written down", least)
    return Figure(name=name, unit="jobs/s", better="higher", ours=values, floor=floor)
