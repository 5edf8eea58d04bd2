"""What ends do to the jobs that depend on those that ended: wave after wave, so many in one transaction (R32)."""

import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
from msgspec.structs import replace

from projections.dependencies import DEPENDENCY_KINDS, Parent
from projections.jobs import FINAL, Job, evolve
from queuectl.decisions import Cancel, Ends, JobEnd, Standing, refuse_never, standing, unblock
from queuectl.events import Archived, Cancelled, Cascaded, Event, Purged

if TYPE_CHECKING:
    from queuectl.engines.view import Transaction, View

MOST = 1000
"""How many dependants are looked at in one transaction; the rest is left to a later one."""


class Affected(msgspec.Struct):
    """A blocked job, to which the ends of others may matter."""

    job: Job
    ended: str
    """The id of one of these."""
    never: list[str]
    """Those of them because of which it never starts."""


class Dependants:
    """The jobs that depend on those that end within one transaction."""

    def __init__(self, tx: "Transaction") -> None:
        self._tx = tx
        self._room = MOST
        self.left = False
        """Whether any were left for later."""

    def end(self, ends: Ends, actor: str) -> None:
        """Append these ends, and what becomes of the jobs that wait for them."""
        while ends.jobs:
            affected = self._affected(ends.ended) if ends.ended else {}
            self._tx.append_ends(ends, actor)
            ends = self._settle(affected.values(), actor)

    def cascade(self, actor: str) -> bool:
        """Go on with the first job of which this was left for later; returns whether there was one."""
        job = self._tx.cascading()
        if job is None:
            return False
        found = self._of(job.id, job.state != "completed", self._room + 1)
        left, self._room = self._room, self._room - min(len(found), self._room)
        self.end(self._settle(found[:left], actor), actor)
        if len(found) <= left and (ended := self._tx.job(job.id)) is not None:
            self._tx.append_of_jobs([(ended, [Cascaded()])], actor)
        return True

    def _affected(self, ended: Sequence[JobEnd]) -> dict[str, Affected]:
        """The blocked jobs for which these ends matter, as far as there is room; the other ends are marked."""
        own = {end.job.id for end in ended}
        found: dict[str, Affected] = {}
        depended_on = self._tx.depended_on(own)
        for end in ended:
            if end.job.id not in depended_on:
                continue
            of = self._of(end.job.id, end.went_wrong, self._room + 1)
            if len(of) > self._room:
                end.cascade_later()
                self.left = True
                continue
            self._room -= len(of)
            for each in of:
                if each.job.id in own:
                    continue  # it ends itself
                if (known := found.setdefault(each.job.id, each)) is not each:
                    known.never += each.never
        return found

    def _of(self, parent: str, went_wrong: bool, limit: int) -> list[Affected]:
        """The blocked jobs to which the end of this one matters, which those that only count others are not."""
        found: dict[str, Affected] = {}
        if went_wrong:
            for job in self._tx.blocked_by(parent, ("after",), limit):
                found[job.id] = Affected(job, parent, [parent])
            for job in self._tx.blocked_by(parent, ("after_failure",), limit):
                found.setdefault(job.id, Affected(job, parent, []))
        for job in self._tx.watchers(parent, limit):
            found.setdefault(job.id, Affected(job, parent, []))
        return list(found.values())[:limit]

    def _settle(self, affected: Iterable[Affected], actor: str) -> Ends:
        """Let those start that may, have others wait on, and decide the ends of those that never start."""
        cancels: list[Cancel] = []
        decided: list[tuple[Job, list[Event]]] = []
        jobs: dict[str, Job] = {}
        for each in affected:
            job, never = each.job, tuple(dict.fromkeys(each.never))
            jobs[job.id] = job
            if not never:
                found = standing(parents(self._tx, job))
                never = found.never
                if not never:
                    decided.append((job, unblock(job, found, each.ended)))
            if never:
                cancels.append(Cancel(job.id, because=never))
        self._tx.append_of_jobs(decided, actor)
        return self._tx.decide_ends(cancels, jobs) if cancels else Ends([], [])


def parents(view: "View", job: Job) -> list[Parent]:
    """The jobs that this one depends on, each with its state, also those that are not in the tables any more."""
    return [each if each.state is not None else _gone(view, each) for each in view.parents(job.seq)]


def standing_again(view: "View", job: Job, again: Collection[str] = ()) -> Standing:
    """How a job that is to run again stands with its parents; `again` names those that are to run again, too.

    Raises Refused where it would never start.
    """
    if not job.policy.depends:
        return Standing()
    found = [replace(each, state="pending") if each.id in again else each for each in parents(view, job)]
    stands = standing(found)
    retry = f"queuectl retry {shlex.join(stands.never[:5])} --cascade"
    hint = f"; `{retry}` runs both again, and --ignore-dependencies runs it without them"
    refuse_never(job.id, stands, {each.id: each.state or "gone" for each in found}, hint)
    return stands


def cancelled_because(view: "View", jobs: Iterable[Job]) -> list[Job]:
    """The jobs that were cancelled because these had ended as they did, and those cancelled because of them in turn."""
    found: dict[str, Job] = {}
    wave = [job.id for job in jobs]
    seen = set(wave)
    while wave:
        next_wave: list[str] = []
        for id in wave:
            for child in view.children(id):
                if child.state != "cancelled" or child.id in seen:
                    continue
                if id in _because(view, child.id):
                    seen.add(child.id)
                    found[child.id] = child
                    next_wave.append(child.id)
        wave = next_wave
    return list(found.values())


def _because(view: "View", id: str) -> tuple[str, ...]:
    """The jobs because of which this one was cancelled last."""
    last = view.last(f"job:{id}")
    if last is not None and last.type == Cascaded.type:  # of its own dependants
        last = next(each for each in reversed(view.stream(f"job:{id}")) if each.type != Cascaded.type)
    event = last.event if last is not None else None
    return event.because if isinstance(event, Cancelled) else ()


def named(view: "View", kinds: Mapping[str, Sequence[str]]) -> list[Parent]:
    """The jobs of these ids, by the kind of the dependency, each with its state; None where there never was one."""
    found = view.standings([id for ids in kinds.values() for id in ids])
    listed = [Parent(id, kind, *found.get(id, (None, ()))) for kind in DEPENDENCY_KINDS for id in kinds.get(kind, ())]
    return [each if each.state is not None else _gone(view, each) for each in listed]


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
