"""`queuectl worker`: the processes that run jobs."""

import os
import shlex
from typing import TYPE_CHECKING, Annotated, Any

from queuectl import amounts, host_limits
from queuectl.cli import opening
from queuectl.cli import parameters as p
from queuectl.cli.completion import values as v
from queuectl.cli.ui import output
from queuectl.errors import shown
from queuectl.liveness import lease_left
from queuectl.units import span

if TYPE_CHECKING:
    from collections.abc import Sequence

    from projections.jobs import Job
    from projections.workers import Worker
    from queuectl.queue import Queue

Now = Annotated[bool, p.Parameter(name="--now", help="End what they run; it then runs again.")]
Timeout = Annotated[
    float | None,
    p.option("--timeout", "DURATION", "Wait at most so long for them (exit code 124).", p.positive_duration),
]
Count = Annotated[int, p.option("--count", "N", "How many worker processes.", p.integer(1, 1000))]
Slots = Annotated[int, p.option("--slots", "M", "How many commands each runs at once.", p.integer(1, 10_000))]
Offered = Annotated[
    list[str] | None,
    p.Parameter(
        name="--resource",
        metavar="NAME=LIST|N|SIZE",
        help="What this host has, for jobs that start here (may be repeated): gpu=0-1 or port=80,443 names the pieces, "
        "gpu=0-0 a single one, mem=64G says how much.",
        read_all=amounts.offers,
    ),
]


def _outbox(url: str) -> str:
    """Return the URL of an outbox. Raises Invalid, which repeats no password."""
    from queuectl.outbox.place import locate

    locate(url)
    return url


Outboxes = Annotated[
    list[str] | None,
    p.Parameter(
        name="--outbox",
        metavar="URL|PATH",
        help="Enqueue the rows of the outbox in this database of an application, a SQLite file or postgresql://… (may "
        "be repeated).",
        read_all=p.each(_outbox),
    ),
]
MaxLoad = Annotated[
    float | None,
    p.option(
        "--max-load", "X", "Claim nothing while the load average of this host is X or more.", host_limits.max_load
    ),
]
MinFreeMemory = Annotated[
    int | None,
    p.option(
        "--min-free-memory",
        "SIZE",
        "Claim nothing while less memory than that is free: 4G, 512M.",
        host_limits.min_free_memory,
    ),
]

StopTimeout = Annotated[
    float | None,
    p.option(
        "--stop-timeout",
        "DURATION",
        "How long what runs may take to finish once workers are told to stop; then it is ended, and runs again.",
        p.positive_duration,
    ),
]


def start(
    *,
    count: Count = 1,
    slots: Slots = 1,
    queue: p.QueueList = None,
    resource: Offered = None,
    max_load: MaxLoad = None,
    min_free_memory: MinFreeMemory = None,
    drain: Annotated[
        bool, p.Parameter(name="--drain", help="Stop when nothing is left to do (delayed jobs are left).")
    ] = False,
    for_: Annotated[float | None, p.option("--for", "DURATION", "Stop after so long.", p.positive_duration)] = None,
    stop_timeout: StopTimeout = None,
    outbox: Outboxes = None,
    detach: Annotated[
        bool,
        p.Parameter(name="--detach", help="In the background, out of reach of this terminal; `worker stop` ends it."),
    ] = False,
    logs: p.Logs = None,
    db: p.Database = None,
) -> int:
    """Run jobs until told to stop, or in the background.

    $ queuectl worker start --count 2
    $ queuectl worker start --slots 8 --drain
    $ queuectl worker start --queue mail --detach
    $ queuectl worker start --slots 2 --resource gpu=0-1
    $ queuectl worker start --slots 8 --max-load 6 --min-free-memory 4G
    $ queuectl worker start --outbox app.db

    Ctrl-C, SIGTERM and SIGHUP let what runs finish, claim no more, and exit 0; a second one ends what runs,
    which then runs again. A worker that crashes is started anew.
    In a service of systemd with Type=notify it says when it is up, that it stops, and that it is alive (WatchdogSec=).
    """
    from queuectl.host.notify_socket import NotifySocket
    from queuectl.workers.inheritance import leave_job

    leave_job()
    # The one place where workers make a queue: none comes back by them.
    with opening.open_queue(db, logs, create=True) as q:
        from queuectl.workers.supervisor import supervise

        queues = list(dict.fromkeys(queue or ()))
        offered: Any = resource  # as `offers` has read it
        return supervise(
            q,
            count=count,
            slots=slots,
            queues=queues,
            drain=drain,
            seconds=for_,
            detach=detach,
            resources=offered or {},
            max_load=max_load,
            min_free_memory=min_free_memory,
            outboxes=outbox or (),
            stop_timeout=stop_timeout,
            notify=NotifySocket(os.environ),
        )


def list_workers(
    *,
    all: Annotated[bool, p.Parameter(name="--all", help="Also those that have ended.")] = False,
    json: p.JsonLines = False,
    db: p.Database = None,
) -> None:
    """List the workers that are up, and what each runs.

    $ queuectl worker list
    $ queuectl worker list --json | jq -r .pid
    """
    with opening.open_queue(db) as q:
        workers = [(worker, q.held(worker.id), worker.live and q.sees(worker)) for worker in q.workers(all=all)]
        database, moment = q.url, q.engine.now()
    if not workers:
        output.message(f"no worker is up in {shown(database)}; start one with `queuectl worker start`")
        return
    if json:
        from queuectl.documents import worker_document

        output.documents(worker_document(*each, database, moment) for each in workers)
        return
    from queuectl.cli.ui import wording

    bounds = [
        wording.host_limits(worker, host_limits.holds_back(worker) if alive else None) for worker, _, alive in workers
    ]
    limited = any(bounds)  # few are
    hosts = len({worker.host for worker, _, _ in workers}) > 1
    rows = [
        (
            worker.id,
            output.Cell(state := _state(worker, alive, moment), state),
            str(worker.pid),
            worker.host,
            str(worker.slots),
            "one job" if worker.private else ",".join(worker.queues) or "all",
            wording.relative_time(worker.started_at),
            *([_lease(worker, moment)] if hosts else []),
            *([bound] if limited else []),
            ", ".join(_runs(q, worker, held)),
        )
        for (worker, held, alive), bound in zip(workers, bounds, strict=True)
    ]
    more = [*(["LEASE"] if hosts else []), *(["LIMITS"] if limited else [])]
    heads = ("ID", "STATE", "PID", "HOST", "SLOTS", "QUEUES", "STARTED", *more, "RUNS")
    output.table(heads, rows, right=("PID", "SLOTS"))
    output.database(database)


def _runs(q: "Queue", worker: "Worker", held: "Sequence[Job]") -> list[str]:
    """Return the jobs that a worker runs; those claimed ahead, beyond its slots, have not started."""

    def not_started(job: "Job") -> bool:
        return job.lease is None or not os.path.isfile(q.home.output_of(worker.identity, job.id, job.lease))

    return [job.id for job in sorted(held, key=not_started)[: worker.slots]]


def _state(worker: "Worker", alive: bool | None, now: int) -> str:
    """Return the state in the log, or `dead` for a process that is gone.

    Of one that can't be seen from here it is `unseen`, or where it has a lease, `silent` once that has run out.
    """
    if not worker.live or alive:
        return worker.state
    if alive is not None:
        return "dead"
    left = lease_left(worker, now)
    return "unseen" if left is None else worker.state if left > 0 else "silent"


def _lease(worker: "Worker", now: int) -> str:
    """Return how much of its lease is left, or since when it has not been heard."""
    left = lease_left(worker, now)
    if worker.lease is None or left is None:
        return ""
    return f"{span(round(left))} left" if left >= 1 else f"not heard for {span(round(worker.lease - left))}"


def _tell_suspended(q: "Queue", ids: "Sequence[str]", own: "Sequence[str]") -> None:
    """Say which suspended jobs the workers wait for that are about to be stopped."""
    for worker in q.workers():
        jobs = [job.id for job in q.held(worker.id) if job.suspended_at is not None]
        if jobs and worker.id not in own and (not ids or worker.id in ids):
            go_on = f"`queuectl continue {shlex.join(jobs)}` lets it go on, --now ends it"
            output.message(f"worker {worker.id} waits for what is suspended ({', '.join(jobs)}): {go_on}")


def stop(
    *ids: Annotated[str, p.Parameter(name="ID", help="These workers; all, where none is named.", values=v.WORKERS)],
    now: Now = False,
    timeout: Timeout = None,
    reason: p.Reason = None,
    json: p.JsonLines = False,
    db: p.Database = None,
) -> None:
    """Stop workers, and return when they are gone.

    $ queuectl worker stop
    $ queuectl worker stop 3f2a91bc --now --reason 'the machine goes down'
    """
    with opening.open_queue(db) as q:
        for id in (own := [id for id in q.hosting() if not ids or id in ids]):
            output.message(f"worker {id} runs this job: it is asked to stop too, and not waited for")
        if not now:
            _tell_suspended(q, ids, own)
        gone = q.stop_workers(*ids, now=now, reason=reason, timeout=timeout)
    if json:
        output.documents({"id": id} for id in gone)
    else:
        for id in gone:
            output.line(f"{output.escape(id)}  stopped")
    if not gone and not own:
        output.message("no worker is up")
