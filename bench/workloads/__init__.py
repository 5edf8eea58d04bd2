"""What can be measured, by name."""

from collections.abc import Callable

from bench.measure import Figure, Options
from bench.scratch import Scratch
from bench.workloads import drain, enqueue, startup

Workload = Callable[[Options, Scratch], list[Figure]]

WORKLOADS: dict[str, Workload] = {"enqueue": enqueue.run, "drain": drain.run, "startup": startup.run}
