"""Unique keys: what is asked for a second time, while the first is still to be done, is not added again."""

from collections.abc import Sequence

import msgspec

from projections.jobs import Job
from queuectl.engines.view import View
from queuectl.errors import Exists, Invalid, Refused
from queuectl.job_fields import Spec


class Duplicates(msgspec.Struct):
    """Of the jobs that are asked for those that are not added."""

    there: dict[int, str]
    """By place: the id of the job that is there already."""
    again: dict[int, int]
    """By place: the place of the first that asks for the same."""
    replaced: dict[int, Job]
    """By place: the waiting job that is changed to it."""

    def is_new(self, place: int) -> bool:
        """Whether the job at this place is to be added."""
        return place not in self.there and place not in self.again

    def ids(self, specs: Sequence[Spec], numbers: Sequence[str]) -> list[str]:
        """The id of each job; `numbers` are for those that are new and have none of their own."""
        left = iter(numbers)
        if not self.there and not self.again:
            return [next(left) if spec.id is None else spec.id for spec in specs]
        ids: list[str] = []
        for place, spec in enumerate(specs):
            if place in self.there:
                ids.append(self.there[place])
            elif place in self.again:
                ids.append(ids[self.again[place]])
            else:
                ids.append(spec.id if spec.id is not None else next(left))
        return ids


def find_duplicates(view: View, specs: Sequence[Spec], folder: str) -> Duplicates:
    """Find out which of these jobs are there already; `folder` is where those run that name none.

    Raises Exists where a key is another job's, or the job is not to be there at all.
    """
    found = Duplicates({}, {}, {})
    first: dict[str, int] = {}
    ids: dict[str, int] = {}
    for place, spec in enumerate(specs):
        if spec.if_absent:
            if spec.id is None:
                raise Invalid("if_absent: is for a job with an id of your own")
            if view.last(f"job:{spec.id}") is not None:
                found.there[place] = spec.id
                continue
            if spec.id in ids:
                found.again[place] = ids[spec.id]
                continue
        if spec.unique is not None:
            if (before := first.setdefault(spec.unique, place)) != place:
                _refuse_second(spec, specs[before], folder)
                found.again[place] = before
            elif (holder := view.holder(spec.unique)) is not None:
                _settle(found, place, spec, holder, folder)
        if spec.id is not None and found.is_new(place):
            ids[spec.id] = place
    return found


def _refuse_second(spec: Spec, first: Spec, folder: str) -> None:
    """Raise Refused where of two jobs with one key, asked for together, the second is not the first again."""
    if _what(spec, folder) != _what(first, folder):
        raise Refused(f"unique: {spec.unique!r} is given to two jobs that run different commands")
    if spec.on_duplicate == "fail":
        raise Refused(f"unique: {spec.unique!r} is given to two jobs, and the second is to fail (on_duplicate)")


def _settle(found: Duplicates, place: int, spec: Spec, holder: Job, folder: str) -> None:
    """What becomes of a job whose key is taken."""
    what = f"unique: job {holder.id} has the key {spec.unique!r}"
    if spec.on_duplicate == "fail":
        raise Exists(f"{what} and is {holder.state}", holder.id)
    if spec.on_duplicate == "replace":
        if holder.state == "processing":
            raise Exists(f"{what} and runs: it can't be replaced any more; cancel it first", holder.id)
        found.replaced[place] = holder
    elif _what(spec, folder) != (holder.policy.command, tuple(holder.policy.argv or ()), holder.policy.cwd):
        hint = "choose another key, or --on-duplicate replace"
        raise Exists(f"{what} and runs another command: {holder.command}; {hint}", holder.id)
    found.there[place] = holder.id


def _what(spec: Spec, folder: str) -> tuple[str | None, tuple[str, ...], str]:
    """What a job runs, and where."""
    return spec.command, spec.argv or (), spec.cwd or folder


def is_key_free(view: View, job: Job, keys: dict[str, str], *, bulk: bool) -> bool:
    """Whether a job that is to run again may have its unique key, if it has one.

    `keys` has, by key, the ids of those that were asked before it, and is added to. Raises Exists where another job has
    it by now, unless this is one of a `bulk`.
    """
    key = job.policy.unique
    if key is None:
        return True
    holder = view.holder(key)
    taken = keys.setdefault(key, holder.id if holder is not None else job.id)
    if taken != job.id and not bulk:
        raise Exists(f"job {job.id} can't run again: job {taken} has its unique key {key!r} by now", taken)
    return taken == job.id
