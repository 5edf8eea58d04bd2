"""The jobs that `cancel`, `retry`, `edit` and `dlq` change: those named, or all that match, after a confirmation."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec

from queuectl import filters
from queuectl.cli import parameters as p
from queuectl.cli.completion import values as v
from queuectl.cli.ui import output
from queuectl.cli.ui.confirmation import confirmed
from queuectl.errors import Invalid
from queuectl.units import counted

if TYPE_CHECKING:
    from projections.jobs import Job
    from queuectl.queue import Queue

All = Annotated[
    bool, p.Parameter(name="--all", help="All jobs that it applies to (of --state, --queue and --where, if given).")
]
Yes = Annotated[bool, p.Parameter(name=["--yes", "-y"], help="Don't ask for confirmation on a terminal.")]


def ids_of(group: str) -> p.Parameter:
    """Return the argument for the ids of the jobs to change; those of a group are suggested (`values.jobs`)."""
    return p.Parameter(name="ID", help="The jobs; all of them are changed, or none.", values=v.jobs(group))


class JobSelection(msgspec.Struct, frozen=True):
    """The options that select the jobs to change."""

    ids: Sequence[str]
    all: bool
    queue: str | None
    yes: bool
    states: Sequence[str] | None = None
    where: str | None = None

    def check(self, verb: str, possible: Sequence[str], filters: str | None = None) -> None:
        """Raise Invalid for no selection, for IDs together with a filter, and for a state that is not `possible`.

        `filters` names the options that filter; left out, they follow from how many states are possible.
        """
        filters = filters or ("--all or --where" if len(possible) == 1 else "--all, --where, --state or --queue")
        filtered = self.all or self.states is not None or self.queue is not None or self.where is not None
        if self.ids and filtered:
            raise Invalid(f"give IDs or {filters}, not both")
        if self.where is not None and not self.where.strip():
            raise Invalid("--where: is empty, which is all there are: give --all for these")
        if not self.ids and not filtered:
            raise Invalid(f"{verb} needs an ID, or {filters}")
        for state in self.states or ():
            if state not in possible:
                raise Invalid(f"--state: {verb} is for jobs that are {', '.join(possible)}, not {state}")
        for state in self.named_states or ():
            if state not in possible:
                raise Invalid(f"--where: {verb} is for jobs that are {', '.join(possible)}, not {state}")

    def refuse_beside(self, flag: str) -> None:
        """Raise Invalid if anything selects jobs, beside a flag that does so."""
        if self.ids or self.all or self.states is not None or self.queue is not None or self.where is not None:
            raise Invalid(f"{flag}: names the jobs; give nothing else that selects some")

    @property
    def named_states(self) -> Sequence[str] | None:
        """The states that the filter names, None for none. Raises Invalid for a wrong filter."""
        return filters.states(filters.parse(self.where or ""))


class SelectedJobs(msgspec.Struct, frozen=True):
    """The ids of the jobs to change, and the states that they must still have (`among`); None if IDs were given."""

    ids: Sequence[str]
    among: Sequence[str] | None


def select(q: "Queue", selection: JobSelection, verb: str, default: Sequence[str]) -> SelectedJobs | None:
    """Return the selected jobs; a filter without states selects those in the `default` states.

    On a terminal a filter is confirmed first, with the number of jobs. Returns None, with a message, if no job matches
    or the answer is no.
    """
    if selection.ids:
        return SelectedJobs(list(dict.fromkeys(selection.ids)), None)
    named = selection.states if selection.states is not None else selection.named_states
    states = named if named is not None else default
    ids = [job.id for job in q.jobs(state=states, queue=selection.queue, where=selection.where or "")]
    if not ids:
        output.message("no job matches")
        return None
    jobs = counted(len(ids), "job")
    return SelectedJobs(ids, states) if confirmed(f"{verb} {jobs}?", yes=selection.yes) else None


def print_changed(
    q: "Queue", ids: Iterable[str], json: bool, state: str | None = None, unless: str | None = None
) -> None:
    """Print the changed jobs; of each the id and `state`, which a worker may have changed since, or the present one.

    `unless`: of a job that is in this state now, that one.
    """
    if json:
        from queuectl.documents import job_document

        output.documents(job_document(q.job(id)) for id in ids)
        return
    for id in ids:
        now = _present(q.job(id)) if state is None or unless is not None else state
        if unless is not None and now != unless:
            now = state or now
        output.line(f"{output.escape(id)}  {output.paint(now, now.removeprefix('being '))}")


def _present(job: "Job") -> str:
    return "being cancelled" if job.state == "processing" and job.cancel_requested else job.state
