"""`queuectl enqueue true` as a person calls it, beside the imports that it can't do without."""

import os
import sys

from bench.measure import Figure, Options, pairs, queuectl, seconds
from bench.scratch import Scratch


def run(options: Options, scratch: Scratch) -> list[Figure]:
    """Milliseconds from start to exit, into a queue that exists already."""
    database = os.path.join(scratch.fresh(), "q.db")
    enqueue = [*queuectl(), "enqueue", "true", "--db", database]
    imports = [sys.executable, "-c", "import apsw, msgspec, cyclopts"]
    for argv in (enqueue, imports):  # compiles what is not compiled yet, and makes the queue
        seconds(argv)
    ours, floor = pairs(
        10 if options.quick else 40, lambda: 1000 * seconds(enqueue), lambda: 1000 * seconds(imports), what="startup"
    )
    return [
        Figure(
            name="queuectl enqueue true",
            floor_name="python -c 'import apsw, msgspec, cyclopts'",
            unit="ms",
            better="lower",
            ours=ours,
            floor=floor,
            wanted_ratio=1.25,
        )
    ]
