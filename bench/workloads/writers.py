"""16 processes that enqueue into one queue as fast as they can: how many get in, and how fairly they take turns."""

import os
import subprocess
import sys
from collections.abc import Callable

import msgspec

from bench import floor
from bench.measure import Figure, Options, Side, environment, rounds
from bench.scratch import Scratch
from bench.workloads.enqueue import sample
from queuectl import Queue


class Crowd(msgspec.Struct, frozen=True):
    """What the processes did together."""

    rate: float
    """Jobs a second."""
    longest: float
    """Milliseconds that the slowest of all enqueues took."""
    spread: float
    """Turns of the process that had most for each of the one that had least."""


def run(options: Options, scratch: Scratch) -> list[Figure]:
    """Jobs a second; beside it the longest wait of any enqueue, and how fairly the turns were shared."""
    seconds, processes = options.of((5.0, 16), (1.0, 8))
    rows = sample(scratch, 1)
    crowds: tuple[list[Crowd], list[Crowd]] = ([], [])

    def ours() -> float:
        database = scratch.database()
        Queue(database).close()
        crowds[0].append(crowd("ours", processes, database, seconds))
        return crowds[0][-1].rate

    def plain() -> float:
        database = scratch.database()
        connection = floor.tables(database, rows)
        floor.write_all(connection, rows)
        connection.close()
        crowds[1].append(crowd("plain", processes, database, seconds))
        return crowds[1][-1].rate

    rounds(options.of(5, 2), ours, plain, what="writers")
    name = f"{processes} writers"
    beside = "the same rows, begin immediate with a busy timeout, apsw"

    def both(of: Callable[[Crowd], float]) -> tuple[list[float], Side]:
        return [of(each) for each in crowds[0]], Side(beside, [of(each) for each in crowds[1]])

    rate, least_rate = both(lambda crowd: crowd.rate)
    longest, least_longest = both(lambda crowd: crowd.longest)
    spread, least_spread = both(lambda crowd: crowd.spread)
    return [
        Figure(name=f"{name}, together", unit="jobs/s", better="higher", ours=rate, floor=least_rate),
        Figure(name=f"{name}, longest wait", unit="ms", better="lower", ours=longest, floor=least_longest),
        Figure(name=f"{name}, most turns to least", unit="", better="lower", ours=spread, floor=least_spread),
    ]


def crowd(kind: str, processes: int, database: str, seconds: float) -> Crowd:
    """All of them at once, on one database; they begin when the pipe that all of them read from is closed."""
    argv = [sys.executable, "-m", "bench.writer", kind, database, str(seconds)]
    start, ready = os.pipe()
    writers = [
        subprocess.Popen(argv, stdin=start, stdout=subprocess.PIPE, text=True, env=environment())
        for _ in range(processes)
    ]
    os.close(start)
    outputs = [writer.stdout for writer in writers if writer.stdout is not None]
    for output in outputs:
        output.readline()
    os.close(ready)
    told = [writer.communicate()[0].split() for writer in writers]
    if any(writer.returncode for writer in writers):
        raise RuntimeError(f"a writer failed: see {database}")
    counts = [int(count) for count, _ in told]
    return Crowd(sum(counts) / seconds, 1000 * max(float(longest) for _, longest in told), max(counts) / min(counts))
