"""`queuectl recover` and `queuectl monitor`: what becomes of the jobs of workers that died."""

from typing import TYPE_CHECKING, Annotated

import msgspec
from cyclopts import Parameter

from queuectl.cli import opening
from queuectl.cli import parameters as p
from queuectl.cli.ui import output

if TYPE_CHECKING:
    from queuectl.workers.recovery.rescuer import Report


def recover(
    *,
    hung: Annotated[
        bool,
        Parameter(name="--hung", help="First listen for 20 seconds, and kill workers that live but say nothing."),
    ] = False,
    json: Annotated[bool, Parameter(name="--json", help="Answer as JSON.")] = False,
    logs: p.Logs = None,
    db: p.Database = None,
) -> int:
    """Bring back the jobs of dead workers, once: they run again, or are called dead (--on-lost).

    $ queuectl recover
    $ queuectl recover --hung

    What such a worker left running is ended first. Workers do all this by themselves; this is for when none is up.
    Exit code 1: something could not be ended, and its jobs stay as they are.
    """
    from queuectl.workers.chores import recovery_watch
    from queuectl.workers.recovery import rescuer
    from queuectl.workers.recovery.hang_detector import unseen

    with opening.opened(db, logs) as q:
        report = recovery_watch.recover_hung(q) if hung else rescuer.recover(q, courtesy=recovery_watch.COURTESY)
        silent = [] if hung else unseen(q)
    if json:
        output.document(msgspec.structs.asdict(report))
    else:
        _tell(report)
        if not (report.jobs or report.workers or report.left):
            output.line("nothing to recover")
    for worker, jobs in silent:
        held = "1 job" if len(jobs) == 1 else f"{len(jobs):,} jobs"
        output.note(
            f"worker {output.safe(worker.id)} (on {output.safe(worker.host)}) can't be seen from here, and holds"
            f" {held}; if it lives no more, bring back what it holds: queuectl recover --hung"
        )
    return 1 if report.left else 0


def monitor(*, json: p.JsonLines = False, logs: p.Logs = None, db: p.Database = None) -> None:
    """Watch for dead workers and bring back their jobs, until Ctrl-C.

    $ queuectl monitor

    Every worker does this too; a monitor is for when none may be up for a while.
    """
    import sys

    from queuectl.workers.chores import recovery_watch

    with opening.opened(db, logs, follow=True) as q:
        if sys.stderr.isatty():
            output.note("watching for dead workers; Ctrl-C stops it")
        for report in recovery_watch.monitor(q):
            if json:
                output.documents([msgspec.structs.asdict(report)], flush=True)
            else:
                _tell(report)
                sys.stdout.flush()


def _tell(report: "Report") -> None:
    for worker in report.workers:
        output.line(f"worker {output.safe(worker)} is dead")
    heads = ("JOB", "ATTEMPT", "WORKER", "OUTCOME", "NOW", "WHY")
    output.table(
        heads,
        [
            (job.job, str(job.attempt), job.worker, job.outcome, output.Cell(job.then, job.then), job.error or "")
            for job in report.jobs
        ],
        right=("ATTEMPT",),
    )
    for line in report.left:
        output.line(output.safe(line))
