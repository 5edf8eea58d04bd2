"""`queuectl recover`: the jobs of workers that died."""

from typing import TYPE_CHECKING, Annotated

import msgspec

from queuectl.cli import opening
from queuectl.cli import parameters as p
from queuectl.cli.ui import output

if TYPE_CHECKING:
    from queuectl.workers.recovery.rescuer import RecoveryReport


def recover(
    *,
    hung: Annotated[
        bool,
        p.Parameter(name="--hung", help="First listen for 20 seconds, and kill workers that live but say nothing."),
    ] = False,
    json: p.Json = False,
    logs: p.Logs = None,
    db: p.Database = None,
) -> int:
    """Bring back the jobs of dead workers, once: they run again, or are called dead (--on-lost).

    $ queuectl recover
    $ queuectl recover --hung

    What such a worker left running is ended first. Workers do all this by themselves; this is for when none is up.
    Exit code 1: something could not be ended, and its jobs stay as they are.
    """
    from queuectl.workers import monitor
    from queuectl.workers.recovery import rescuer
    from queuectl.workers.recovery.hang_detector import unseen_workers

    with opening.open_queue(db, logs) as q:
        report = monitor.recover_hung(q) if hung else rescuer.recover(q, courtesy=monitor.COURTESY)
        unreachable = [] if hung else unseen_workers(q)
    if json:
        output.document(msgspec.structs.asdict(report))
    else:
        print_report(report)
        if not (report.jobs or report.workers or report.left):
            output.line("nothing to recover")
    for worker, jobs in unreachable:
        held = "1 job" if len(jobs) == 1 else f"{len(jobs):,} jobs"
        output.message(
            f"worker {output.escape(worker.id)} (on {output.escape(worker.host)}) can't be seen from here, and holds"
            f" {held}; if it lives no more, bring back what it holds: queuectl recover --hung"
        )
    return 1 if report.left else 0


def print_report(report: "RecoveryReport") -> None:
    """Print the dead workers, what became of each of their attempts, and what could not be ended."""
    for worker in report.workers:
        output.line(f"worker {output.escape(worker)} is dead")
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
        output.line(output.escape(line))
