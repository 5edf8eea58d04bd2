"""What a job depends on: each job with its state, also those that are not in the tables any more."""

import shlex
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from projections.dependencies import Parent
from projections.jobs import FINAL, Job, evolve
from queuectl.decisions import WENT_WRONG, Standing, refuse_never, standing
from queuectl.errors import Refused
from queuectl.events import BATCH, Archived, Purged

if TYPE_CHECKING:
    from queuectl.engines.view import View

NAMED = 5
"""Of the jobs of a batch that ended so that another one never starts, so many are looked for."""


def parents(view: "View", job: Job, most: int = NAMED) -> list[Parent]:
    """The jobs that this one depends on. For a batch stand a few of its jobs (see `batch_parents`)."""
    return [known for each in view.parents(job.seq) for known in _known(view, each, most)]


def named(view: "View", references: Sequence[str], kind: str) -> dict[str, list[Parent]]:
    """The jobs of these ids, by reference, each with its state; None where there never was one.

    For `batch:NAME` stand a few of its jobs (see `batch_parents`).
    """
    found = view.standings(references)
    return {id: [*_known(view, Parent(id, kind, *found.get(id, (None, ()))), NAMED)] for id in references}


def standing_again(view: "View", job: Job, again: Collection[str] = ()) -> Standing:
    """How a job that is to run again stands with its parents; `again` names those that are to run again, too.

    Raises Refused where it would never start, and for parents that are not here: an archive has none but its own jobs.
    """
    if not job.policy.depends:
        return Standing()
    found = [
        replace(each, state="pending") if each.id in again else each for each in parents(view, job, NAMED + len(again))
    ]
    if missing := [each.id for each in found if each.state is None]:
        names = ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "")
        raise Refused(
            f"job {job.id} depends on what this database has never had: {names}; --ignore-dependencies runs it without"
        )
    stands = standing(found)
    retry = f"queuectl retry {shlex.join(stands.never[:5])} --cascade"
    hint = f"; `{retry}` runs both again, and --ignore-dependencies runs it without them"
    refuse_never(job.id, stands, {each.id: each.state or "gone" for each in found}, hint)
    return stands


def _known(view: "View", parent: Parent, most: int) -> Iterator[Parent]:
    if parent.id.startswith(BATCH):
        yield from batch_parents(view, parent, most)
    else:
        yield parent if parent.state is not None else _gone(view, parent)


def batch_parents(view: "View", parent: Parent, most: int) -> list[Parent]:
    """What stands for all jobs of a batch: the last of those that have not ended, and `most` that ended wrongly.

    For those that were archived stands the batch itself. Its state is None where there never was one.
    """
    name = parent.id.removeprefix(BATCH)
    if view.batch_state(name) is None:
        return [parent]
    members = [Parent(id, parent.kind, state, place) for id, state, place in view.deciding_members(name, most)]
    counts = view.batch_counts(name)
    wrong = next((state for state in sorted(WENT_WRONG) if counts.get(state)), None)
    if wrong is not None and not any(each.state == wrong for each in members):
        members.append(replace(parent, state=wrong))
    return members or [replace(parent, state="completed")]


def _gone(view: "View", parent: Parent) -> Parent:
    """A parent that was purged or archived, as it had ended; as it is where there never was one."""
    last = view.last(f"job:{parent.id}")
    state = last.event if last is not None else None
    if isinstance(state, Purged):
        return replace(parent, state=state.state or _before(view, parent.id))
    if isinstance(state, Archived):
        ends = [each.state for each in state.passed if each.state in FINAL]
        return replace(parent, state=ends[-1] if ends else state.state)
    return parent


def _before(view: "View", id: str) -> str | None:
    """How a job had ended that was purged before that was recorded with it."""
    job: Job | None = None
    for record in view.stream(f"job:{id}"):
        if record.type != "purged":
            job = evolve(job, record, record.event)
    return job.state if job is not None else None
