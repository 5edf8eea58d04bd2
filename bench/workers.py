"""Workers to measure with: one that only takes its turns with the log, and real ones that stay up."""

import os
import signal
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager

from bench.measure import environment, queuectl
from queuectl import Queue, clock
from queuectl.decisions import Outcome, Report
from queuectl.workers.turn import TurnWriter

PATIENCE = 30.0
"""Seconds within which workers must be up."""


def writer(queue: Queue, name: str = "bench") -> TurnWriter:
    """Writes the turns of a worker that has no processes. It must `start` once in each database."""
    return TurnWriter(queue, name, (), name)


def turns(writer: TurnWriter, count: int, batch: int) -> int:
    """So many transactions, each finishing what the one before has claimed and claiming anew; then the last finish.

    Returns how many jobs were finished.
    """
    return sum(turning(writer, count, batch))


def turning(writer: TurnWriter, count: int, batch: int) -> Iterator[int]:
    """The same, one transaction at a time: how many jobs each has finished."""
    reports: list[Report] = []
    for want in (*[batch] * count, 0):
        turn = writer.turn(reports, [], want)
        yield len(reports)
        outcome = Outcome(exit_code=0, started_at=clock.now(), run_seconds=0.001, cpu_seconds=0.001, output_bytes=0)
        reports = [Report(claim.lease, outcome) for claim in turn.claims]


@contextmanager
def workers(database: str, count: int = 1, **variables: str) -> Generator[int]:
    """Real workers of one slot in one queue, up until the context is left; gives the pid of their parent.

    They have these environment variables beside ours.
    """
    argv = [*queuectl(), "worker", "start", "--count", str(count), "--db", database]
    null = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1)]
    parent = os.posix_spawn(argv[0], argv, environment() | variables, file_actions=null)
    try:
        deadline = clock.monotonic() + PATIENCE
        with Queue(database) as queue:
            while len(queue.workers()) < count:
                if clock.monotonic() > deadline:
                    raise RuntimeError(f"{count} workers are not up after {PATIENCE:.0f} s: see {database}")
                time.sleep(0.02)
        yield parent
    finally:
        os.kill(parent, signal.SIGTERM)
        os.waitpid(parent, 0)
