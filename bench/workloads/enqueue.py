"""100,000 jobs in one call of `Queue.enqueue_many`, durable at its end, beside the bare log rows in apsw."""

import os

import apsw

from bench.measure import Figure, Options, pairs
from bench.scratch import Scratch
from queuectl import Queue, clock

SCHEMA = """
pragma journal_mode = wal; pragma synchronous = full;
create table events(
  seq integer primary key autoincrement, stream text not null, version integer not null, type text not null,
  v integer not null, at integer not null, actor text not null, data text not null, unique(stream, version)) strict;
"""
ROW = "insert into events(stream, version, type, v, at, actor, data) values(?, 1, 'enqueued', 1, ?, 'bench', ?)"
DATA = '{"number":%d,"command":"true","cwd":"/tmp","max_retries":3,"backoff_base":2.0,"timeout":60.0}'


def run(options: Options, scratch: Scratch) -> list[Figure]:
    """Jobs a second, opening and closing of the database not counted on either side."""
    jobs = 10_000 if options.quick else 100_000
    ours, floor = pairs(
        3 if options.quick else 5,
        lambda: queue(scratch.fresh(), jobs),
        lambda: rows(scratch.fresh(), jobs),
        what="enqueue",
    )
    return [
        Figure(
            name=f"bulk enqueue of {jobs:,}",
            floor_name="as many rows into a bare log table in one transaction, apsw, synchronous=FULL",
            unit="jobs/s",
            better="higher",
            ours=ours,
            floor=floor,
            wanted=60_000,
        )
    ]


def queue(folder: str, jobs: int) -> float:
    """Ours: jobs a second."""
    commands = ["true"] * jobs
    with Queue(os.path.join(folder, "q.db")) as target:
        began = clock.monotonic()
        ids = target.enqueue_many(commands)
        took = clock.monotonic() - began
        pending = target.status().counts["pending"]
    if not len(set(ids)) == pending == jobs:
        raise RuntimeError(f"{jobs} jobs enqueued, {len(set(ids))} ids, {pending} pending")
    return jobs / took


def rows(folder: str, jobs: int) -> float:
    """The floor: rows a second."""
    connection = apsw.Connection(os.path.join(folder, "floor.db"))
    for _ in connection.execute(SCHEMA):  # apsw stops at a statement's row until it is taken
        pass
    began = clock.monotonic()
    with connection:
        connection.executemany(ROW, ((f"job:{number}", clock.now(), DATA % number) for number in range(jobs)))
    took = clock.monotonic() - began
    connection.close()
    return jobs / took
