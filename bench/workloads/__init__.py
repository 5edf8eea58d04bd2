"""What can be measured, by name."""

from collections.abc import Callable

from bench.measure import Figure, Options
from bench.scratch import Scratch
from bench.workloads import (
    backlog,
    claims,
    dependencies,
    drain,
    enqueue,
    idle,
    passing,
    pickup,
    replay,
    size,
    startup,
    waiting,
    writers,
)

Workload = Callable[[Options, Scratch], list[Figure]]

WORKLOADS: dict[str, Workload] = {
    "enqueue": enqueue.bulk,
    "single": enqueue.single,
    "cpu": enqueue.cost,
    "writers": writers.run,
    "claims": claims.run,
    "backlog": backlog.run,
    "queues": backlog.queues,
    "passing": passing.run,
    "dependencies": dependencies.run,
    "drain": drain.run,
    "waiting": waiting.run,
    "pickup": pickup.run,
    "replay": replay.run,
    "startup": startup.run,
    "size": size.run,
    "idle": idle.run,
}
