"""What to say of attempts that ran into their timeout, or were killed by somebody else."""

import shlex
import signal

from projections.jobs import Job
from queuectl.decisions import Outcome
from queuectl.host.oom import PERHAPS, OomKills
from queuectl.units import span

COUNT = 1.0
"""Seconds after which the kernel's count of those killed for memory is read anew when a command starts."""


class Explanations:
    """Makes the errors of outcomes that have none. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._oom_kills = OomKills()
        self._next_count = 0.0
        self._killed: int | None = None

    def oom_kills(self, now: float) -> int | None:
        """How many the kernel has killed for memory, for `error` of what starts now; None where that can't be read."""
        if now >= self._next_count:
            self._next_count = now + COUNT
            self._killed = self._oom_kills.count()
        return self._killed

    def error(self, job: Job, outcome: Outcome, oom_kills: int | None) -> str | None:
        """The error to report where the outcome has none: a timeout, or a SIGKILL that queuectl did not send, to the
        command or, as a shell tells it, to a process of it. `oom_kills`: how many there were when it started."""
        if outcome.cause == "timeout":
            return _ran_out(job)
        within = outcome.cause == "exit" and outcome.exit_code == 128 + signal.SIGKILL
        if not within and (outcome.cause, outcome.signal) != ("signal", signal.SIGKILL):
            return None
        self._next_count = 0.0  # what starts now has not lived through it
        told = self._oom_kills.since(oom_kills)
        if not within:
            return f"{PERHAPS}: queuectl did not send this SIGKILL{told}"
        if oom_kills is not None and oom_kills != self._oom_kills.count():
            return f"perhaps a process of it was killed for memory{told}"
        return None


def _ran_out(job: Job) -> str:
    """How long the timeout is, and how to run the job, and those to come, without it."""
    id = shlex.quote(job.id)
    first = f"queuectl cancel {id}; " if job.failures < job.max_retries else ""  # else it would be tried again first
    return (
        f"ran into its timeout of {span(job.timeout or 0.0)}: `{first}queuectl retry {id} --timeout none` runs it "
        "without one, `queuectl config set timeout none` does so for all jobs to come"
    )
