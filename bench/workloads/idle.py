"""What a worker costs that has nothing to do: memory, and CPU time."""

import os
import time
from contextlib import ExitStack

from bench.measure import Figure, Options
from bench.scratch import Scratch
from bench.workers import workers
from queuectl import Queue, clock

SETTLE = 2.5
"""Seconds until a worker has tidied up behind itself and really idles."""


def run(options: Options, scratch: Scratch) -> list[Figure]:
    """Of one worker in each of several queues; they idle side by side, and so does this process."""
    databases = [scratch.database() for _ in range(options.rounds)]
    with ExitStack() as stack:
        parents = [stack.enter_context(workers(database)) for database in databases]
        pids = [only_worker(database) for database in databases]
        time.sleep(SETTLE)
        before = [cpu(pid) for pid in pids]
        began = clock.monotonic()
        time.sleep(options.of(20.0, 3.0))
        used = [cpu(pid) - earlier for pid, earlier in zip(pids, before, strict=True)]
        took = clock.monotonic() - began
        memory = [resident(pid) for pid in pids]
        above = [resident(pid) for pid in parents]
    shares = [100 * each / took for each in used]
    return [
        Figure(name="idle worker, resident", unit="MB", better="lower", ours=memory, goal=30.0, judge="worst"),
        Figure(name="idle worker, CPU", unit="%", better="lower", ours=shares, goal=0.2),
        Figure(name="its parent, resident", unit="MB", better="lower", ours=above),
    ]


def only_worker(database: str) -> int:
    """The pid of a queue's worker."""
    with Queue(database) as queue:
        (worker,) = queue.workers()
    return worker.pid


def cpu(pid: int) -> float:
    """Seconds that a process of one thread has been on a processor, to the nanosecond."""
    with open(f"/proc/{pid}/schedstat", encoding="ascii") as file:
        return int(file.read().split()[0]) / 1e9


def resident(pid: int) -> float:
    """Megabytes of memory that a process has in use."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
