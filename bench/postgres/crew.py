"""Processes that work at the same time, as the workers of several hosts do."""

import multiprocessing
import threading
from collections.abc import Callable, Sequence

from queuectl import clock

Part = Callable[[], Callable[[], object]]
"""What a process does: it prepares, and returns the work that is timed."""

PATIENCE = 300.0
"""Seconds within which all must be prepared, and again within which all must be done."""

FORK = multiprocessing.get_context("fork")


def together(parts: Sequence[Part]) -> float:
    """Seconds from when all are prepared until all have done their work. Raises RuntimeError where any fails."""
    barrier = FORK.Barrier(len(parts) + 1)

    def run(part: Part) -> None:
        try:
            work = part()
            barrier.wait(PATIENCE)
            work()
            barrier.wait(PATIENCE)
        except BaseException:
            barrier.abort()
            raise

    processes = [FORK.Process(target=run, args=(part,), daemon=True) for part in parts]
    for process in processes:
        process.start()
    try:
        barrier.wait(PATIENCE)
        began = clock.monotonic()
        barrier.wait(PATIENCE)
        return clock.monotonic() - began
    except threading.BrokenBarrierError as error:
        raise RuntimeError("a process of the benchmark failed: see above") from error
    finally:
        for process in processes:
            process.join(PATIENCE)
