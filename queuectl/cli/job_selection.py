"""Which jobs `cancel`, `retry` and `dlq` change: those that are named, or all of some kind, after a question."""

import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec
from cyclopts import Parameter

from queuectl.cli.ui import output
from queuectl.errors import Invalid

if TYPE_CHECKING:
    from queuectl.queue import Queue

Ids = Annotated[str, Parameter(name="ID", help="The jobs; all of them are changed, or none.")]
All = Annotated[bool, Parameter(name="--all", help="All that it can be done to (of --state and --queue, if given).")]
Yes = Annotated[bool, Parameter(name=["--yes", "-y"], help="Don't ask on a terminal whether so many are meant.")]


class JobSelection(msgspec.Struct, frozen=True):
    """What was said of the jobs to change."""

    ids: Sequence[str]
    all: bool
    queue: str | None
    yes: bool
    states: Sequence[str] | None = None

    def check(self, verb: str, possible: Sequence[str]) -> None:
        """Raises Invalid where nothing is named, or both jobs and a kind of them, or a state in which it can't be."""
        some = self.all or self.states is not None or self.queue is not None
        if self.ids and some:
            raise Invalid(f"give IDs or {_named(possible)}, not both")
        if not self.ids and not some:
            raise Invalid(f"{verb} needs an ID, or {_named(possible)}")
        for state in self.states or ():
            if state not in possible:
                raise Invalid(f"--state: {verb} is for jobs that are {', '.join(possible)}, not {state}")


def _named(possible: Sequence[str]) -> str:
    return "--all" if len(possible) == 1 else "--all, --state or --queue"


class SelectedJobs(msgspec.Struct, frozen=True):
    """The jobs to change, and the states in which they must be still; None for those that were named."""

    ids: Sequence[str]
    among: Sequence[str] | None


def select(q: "Queue", wanted: JobSelection, verb: str, usual: Sequence[str]) -> SelectedJobs | None:
    """The jobs that are meant: of a kind, those in the `usual` states unless others are named.

    On a terminal it asks first, with their number. None where none is, or where the answer is no: that is said.
    """
    if wanted.ids:
        return SelectedJobs(list(dict.fromkeys(wanted.ids)), None)
    states = wanted.states if wanted.states is not None else usual
    ids = [job.id for job in q.jobs(state=states, queue=wanted.queue)]
    if not ids:
        output.message("no job matches")
        return None
    jobs = f"{len(ids):,} job{'s' if len(ids) != 1 else ''}"
    if not wanted.yes and sys.stdin.isatty() and output.stderr_is_terminal() and not _yes(f"{verb} {jobs}?"):
        output.message("nothing was changed")
        return None
    return SelectedJobs(ids, states)


def _yes(question: str) -> bool:
    sys.stderr.write(f"queuectl: {question} [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def print_changed(q: "Queue", ids: Iterable[str], json: bool) -> None:
    """Print what has become of jobs: id and state."""
    if json:
        from queuectl.documents import job_document

        output.documents(job_document(q.job(id)) for id in ids)
        return
    for id in ids:
        job = q.job(id)
        now = "being cancelled" if job.state == "processing" and job.cancel_requested else job.state
        output.line(f"{output.escape(id)}  {output.paint(now, job.state)}")
