"""`queuectl enqueue true` as a person calls it, beside the import of the libraries that QueueCTL is built on."""

import sys

from bench.measure import Figure, Options, Side, queuectl, rounds, seconds
from bench.scratch import Scratch


def run(options: Options, scratch: Scratch) -> list[Figure]:
    """Milliseconds from start to exit, into a queue that exists already."""
    enqueue = [*queuectl(), "enqueue", "true", "--db", scratch.database()]
    imports = [sys.executable, "-c", "import apsw, msgspec, cyclopts"]
    for argv in (enqueue, imports):  # compiles what is not compiled yet, and makes the queue
        seconds(argv)
    values, least = rounds(
        options.of(40, 10), lambda: 1000 * seconds(enqueue), lambda: 1000 * seconds(imports), what="startup"
    )
    return [
        Figure(
            name="queuectl enqueue true",
            unit="ms",
            better="lower",
            ours=values,
            floor=Side("python -c 'import apsw, msgspec, cyclopts'", least),
            goal=0.6,
        )
    ]
