"""`queuectl recover`: the jobs of workers that died."""

import shlex
from typing import TYPE_CHECKING, Annotated

import msgspec

from queuectl.cli import opening
from queuectl.cli import parameters as p
from queuectl.cli.job_selection import Yes
from queuectl.cli.ui import output
from queuectl.cli.ui.confirmation import confirmed
from queuectl.errors import Invalid
from queuectl.liveness import lease_left
from queuectl.units import counted

if TYPE_CHECKING:
    from queuectl.queue import Queue
    from queuectl.workers.recovery.rescuer import RecoveryReport


def recover(
    *,
    hung: Annotated[
        bool,
        p.Parameter(name="--hung", help="First listen for 20 seconds, and kill workers that live but say nothing."),
    ] = False,
    gone: Annotated[
        str | None,
        p.option("--gone", "HOST", "Take over at once what workers on this other host hold: it is gone for good."),
    ] = None,
    reason: p.Reason = None,
    yes: Yes = False,
    json: p.Json = False,
    logs: p.Logs = None,
    db: p.Database = None,
) -> int:
    """Bring back the jobs of dead workers, once: they run again, or are called dead (--on-lost).

    $ queuectl recover
    $ queuectl recover --hung

    $ queuectl recover --gone node7 --reason 'its power supply burnt'

    What such a worker left running is ended first. Workers do all this by themselves; this is for when none is up.
    Exit code 1: something could not be ended, and its jobs stay as they are.

    Of workers on other hosts only their heartbeats tell that they live: others take over what they hold once their
    leases have run out (the setting `lease`). --gone does not wait for that: jobs of a host that is only cut off may
    run twice until then.
    """
    from queuectl.workers import monitor
    from queuectl.workers.recovery import rescuer
    from queuectl.workers.recovery.hang_detector import unseen_workers

    _check(hung, gone, reason)
    with opening.open_queue(db, logs) as q:
        if gone is not None:
            report = _take_over(q, gone, reason, yes=yes)
            if report is None:
                return 0
        else:
            report = monitor.recover_hung(q) if hung else rescuer.recover(q, courtesy=monitor.COURTESY)
        unreachable = [] if hung or gone is not None else unseen_workers(q)
        moment = q.engine.now()
    if json:
        output.document(msgspec.structs.asdict(report))
    else:
        print_report(report)
        if not (report.jobs or report.workers or report.left):
            output.line("nothing to recover")
    for worker, jobs in unreachable:
        if (lease_left(worker, moment) or 0.0) > 0:
            continue
        remedy = "--hung" if worker.lease is None else f"--gone {shlex.quote(worker.host)}"
        output.message(
            f"worker {output.escape(worker.id)} (on {output.escape(worker.host)}) can't be seen from here, and holds"
            f" {counted(len(jobs), 'job')}; if it lives no more, bring back what it holds: queuectl recover"
            f" {output.escape(remedy)}"
        )
    return 1 if report.left else 0


def _check(hung: bool, gone: str | None, reason: str | None) -> None:
    if hung and gone is not None:
        raise Invalid("--hung, --gone: give one of them")
    if reason is not None and gone is None:
        raise Invalid("--reason: goes with --gone")


def _take_over(q: "Queue", name: str, reason: str | None, *, yes: bool) -> "RecoveryReport | None":
    """Take over what the workers of a host hold; returns None where the user does not want it."""
    from queuectl.workers.recovery import gone_host

    host = gone_host.find(q, name)
    what = f"{counted(len(host.workers), 'worker')} with {counted(host.jobs, 'job')}"
    if not confirmed(f"take over {what} of host {output.escape(name)}, which run twice if it lives?", yes=yes):
        return None
    return gone_host.take_over(q, host, reason)


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
