"""What can be measured on PostgreSQL, by name."""

from bench.postgres.workloads import backlog, claims, drain, enqueue, pickup
from bench.workloads import Workload

WORKLOADS: dict[str, Workload] = {
    "claims": claims.run,
    "hosts": claims.hosts,
    "enqueue": enqueue.run,
    "pickup": pickup.run,
    "backlog": backlog.run,
    "drain": drain.run,
}
