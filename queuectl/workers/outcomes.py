"""What is reported of an attempt, by how its command ended."""

import shlex

from projections.jobs import Job
from queuectl import decisions
from queuectl.decisions import Stop
from queuectl.units import span
from queuectl.workers.execution.attempt import CommandOutcome


def reported(job: Job, outcome: CommandOutcome, stop: Stop | None) -> decisions.Outcome:
    """The outcome as the log records it. `stop` is what the worker was told to stop by, None where it was not."""
    cause = None if outcome.cause == "exit" and outcome.exit_code == 0 else outcome.cause
    if cause == "interrupted" and stop is None:
        cause = "lost"  # with the files of its queue, not by an order
    error = outcome.error
    if cause == "timeout" and job.timeout is not None:
        error = _ran_out(job, job.timeout)
    return decisions.Outcome(
        cause=cause,
        exit_code=outcome.exit_code,
        signal=outcome.signal,
        started_at=outcome.started_at,
        run_seconds=round(outcome.run_seconds, 6),
        cpu_seconds=round(outcome.cpu_seconds, 6),
        max_rss=outcome.max_rss,
        output_bytes=outcome.output_bytes,
        output_cut=outcome.output_cut or None,
        kept=outcome.kept,
        error=error,
        stop=stop if outcome.cause == "interrupted" else None,
    )


def _ran_out(job: Job, timeout: float) -> str:
    """What to say of a timeout: how to run the job without it, and those to come."""
    id = shlex.quote(job.id)
    first = f"queuectl cancel {id}; " if job.failures < job.max_retries else ""  # else it would be tried again first
    return (
        f"ran into its timeout of {span(timeout)}: `{first}queuectl retry {id} --timeout none` runs it without one, "
        "`queuectl config set timeout none` does so for all jobs to come"
    )
