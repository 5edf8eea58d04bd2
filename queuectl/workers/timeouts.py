"""What to say of an attempt that ran into the timeout of its job."""

import shlex

from projections.jobs import Job
from queuectl.units import span


def ran_out(job: Job) -> str:
    """How long the timeout is, and how to run the job, and those to come, without it."""
    id = shlex.quote(job.id)
    first = f"queuectl cancel {id}; " if job.failures < job.max_retries else ""  # else it would be tried again first
    return (
        f"ran into its timeout of {span(job.timeout or 0.0)}: `{first}queuectl retry {id} --timeout none` runs it "
        "without one, `queuectl config set timeout none` does so for all jobs to come"
    )
