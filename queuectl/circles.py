"""Circles: no job waits for itself, by whatever jobs and batches in between."""

from collections.abc import Mapping, Sequence

from projections.dependencies import DEPENDENCY_KINDS
from projections.jobs import Job
from queuectl.engines.view import View
from queuectl.errors import Invalid
from queuectl.events import BATCH, Enqueued
from queuectl.job_fields import Spec


def refuse_circle(view: View, job: Job, asked: Spec | Enqueued) -> None:
    """Raise Invalid where a job, or one of its batch, would wait for itself if it depended on what is asked.

    Jobs that do not wait just now count: they may be run again together.
    """
    own = {job.id, *([BATCH + job.batch] if job.batch is not None else [])}
    path = path_up(view, references_of(asked), own)
    if not path:
        return
    words = f"after: {' -> '.join([job.id, *path])}"
    if path[-1] != job.id:
        raise Invalid(f"{words}, of which it is: they wait for each other")
    raise Invalid(f"{words}: {'it waits for itself' if len(path) == 1 else 'they wait for each other'}")


def path_up(view: View, references: Sequence[str], wanted: set[str], own: Mapping[str, Spec] = {}) -> list[str]:
    """How one comes from these jobs and batches, by what they depend on, to one of the jobs that are wanted.

    The ids from the first to that one; none: one does not. `own` has the new jobs, which are in no table yet.
    """
    came: dict[str, str | None] = dict.fromkeys(references)
    left = list(came)
    while left:
        at = left.pop()
        if at in wanted:
            path: list[str] = []
            step: str | None = at
            while step is not None:
                path.append(step)
                step = came[step]
            return path[::-1]
        for above in _depends_on(view, at, own):
            if above not in came:
                came[above] = at
                left.append(above)
    return []


def _depends_on(view: View, reference: str, own: Mapping[str, Spec]) -> list[str]:
    """What a job depends on; of a batch its jobs, but for those that depend on none."""
    if reference.startswith(BATCH):
        name = reference.removeprefix(BATCH)
        new = [id for id, spec in own.items() if spec.batch == name]
        return [*new, *(job.id for job in view.dependent_members(name))]
    if (spec := own.get(reference)) is not None:
        return references_of(spec)
    job = view.job(reference)
    return references_of(job.policy) if job is not None else []


def references_of(asked: Spec | Enqueued) -> list[str]:
    """The jobs and batches that it depends on."""
    return [id for kind in DEPENDENCY_KINDS for id in getattr(asked, kind)]
