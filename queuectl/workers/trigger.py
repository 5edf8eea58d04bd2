"""What a job is told of its trigger: a callback of the end that added it, the job of a schedule of its moment."""

from projections.jobs import Job, evolve
from queuectl.bounds import LONGEST_ARGUMENT
from queuectl.clock import micros, second_text
from queuectl.engines.view import View
from queuectl.events import Claimed
from queuectl.home import Home

PREFIX = "QUEUECTL_TRIGGER_"
"""What the names of the variables of callbacks begin with."""
SCHEDULED_FOR = "QUEUECTL_SCHEDULED_FOR"
"""The variable that tells a command the moment for which a schedule has enqueued its job."""


def trigger_variables(view: View, job: Job, home: Home) -> dict[str, str]:
    """The variables of a job that a schedule has enqueued, or of a callback: the job that ended, as it was then.

    What is not known, as of a job that was archived since, is empty.
    """
    trigger = job.policy.trigger
    if trigger is not None and trigger.moment is not None:
        return {SCHEDULED_FOR: second_text(micros(trigger.moment))}
    if trigger is None or not trigger.is_callback or trigger.job is None:
        return {}
    of: Job | None = None
    output = ""
    for record in view.stream(f"job:{trigger.job}"):
        if record.seq > job.seq:
            break  # it was retried since
        of = evolve(of, record, record.event)
        if isinstance(record.event, Claimed):
            worker = view.worker(record.event.worker)
            identity = worker.identity if worker is not None else home.identity()
            output = home.output_of(identity, trigger.job, record.version)
    found = {"JOB": trigger.job, "STATE": trigger.event, "EXIT": _exit_code(of), "COMMAND": _command(of)}
    return {PREFIX + name: value or "" for name, value in found.items()} | {PREFIX + "OUTPUT": output}


def _exit_code(job: Job | None) -> str:
    """Of its latest attempt, as a shell has it; empty where there was none."""
    code = job.exit_code if job is not None else None
    if job is not None and job.signal is not None:
        code = 128 + job.signal
    return str(code) if code is not None else ""


def _command(job: Job | None) -> str:
    """Its command, cut where it is too long for a variable."""
    room = LONGEST_ARGUMENT - len(PREFIX + "COMMAND=")
    return job.command.encode()[:room].decode(errors="ignore") if job is not None else ""
