"""What ends do to other jobs, wave after wave, so many in one transaction (R32).

These are the jobs that depend on those that ended, and those of batches that are halted (see `halts`).
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from projections.jobs import Job
from queuectl.decisions import Cancel, Ends, JobEnd, standing, unblock
from queuectl.engines import halts
from queuectl.engines.callbacks import Callbacks, Called
from queuectl.engines.parents import parents
from queuectl.events import BATCH, Cancelled, Cascaded, Event

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
    """The jobs to which the ends within one transaction matter."""

    def __init__(self, tx: "Transaction") -> None:
        self._tx = tx
        self._room = MOST
        self._callbacks = Callbacks(tx)
        self.left = False
        """Whether any were left for later."""

    def end(self, ends: Ends, actor: str) -> None:
        """Append these ends, and what becomes of the jobs that wait for them or are in halted batches."""
        while ends.jobs:
            affected, callbacks = self._affected(ends.ended) if ends.ended else ({}, [])
            self._tx.append_ends(ends, actor)
            self._callbacks.add(callbacks, actor)
            ends = self._settle(affected.values(), self._halted(ends.jobs, actor), actor)

    def cascade(self, actor: str) -> bool:
        """Go on with the first jobs, or the first batch, of which this was left for later.

        Returns whether there was any.
        """
        jobs = self._tx.cascading(MOST)
        if not jobs:
            return self._cascade_batch(actor)
        depended_on = self._tx.depended_on({name for job in jobs for name in _names(job)})
        if alone := [job for job in jobs if depended_on.isdisjoint(_names(job))]:
            self._call_back(alone, actor)
        else:
            self._cascade_job(jobs[0], actor)
        return True

    def _call_back(self, jobs: Sequence[Job], actor: str) -> None:
        """Add the callbacks that were left for later of jobs that no other depends on, as far as there is room."""
        called: list[Called] = []
        for job in jobs:
            each = self._callbacks.left(job)
            if called and len(each.lines) > self._room:
                break
            self._room = max(0, self._room - len(each.lines))
            called.append(each)
        self._tx.append_of_jobs([(each.job, [Cascaded()]) for each in called], actor)
        self._callbacks.add(called, actor)

    def _cascade_job(self, job: Job, actor: str) -> None:
        """Go on with one job that has ended; its callbacks come last."""
        found = self._of(job, job.state != "completed", self._room + 1)
        left, self._room = self._room, self._room - min(len(found), self._room)
        self.end(self._settle(found[:left], (), actor), actor)
        if len(found) <= left and (ended := self._tx.job(job.id)) is not None:
            self._call_back([ended], actor)

    def _cascade_batch(self, actor: str) -> bool:
        batch = self._tx.cascading_batch()
        if batch is None:
            return False
        # Half of the room: the rest is for the jobs that depend on these.
        found = halts.further_halted_jobs(self._tx, batch, max(1, self._room // 2), actor)
        self._room -= len(found)
        self.end(self._settle((), found, actor), actor)
        return True

    def _halted(self, ends: Sequence[JobEnd], actor: str) -> list[Job]:
        if all(end.job.batch is None for end in ends):
            return []
        found, left = halts.halted_jobs(self._tx, ends, self._room // 2, actor)
        self._room = max(0, self._room - len(found))
        self.left = self.left or left
        return found

    def _affected(self, ended: Sequence[JobEnd]) -> tuple[dict[str, Affected], list[Called]]:
        """The blocked jobs for which these ends matter, and callbacks, as far as there is room.

        The other ends are marked.
        """
        own = {end.job.id for end in ended}
        found: dict[str, Affected] = {}
        callbacks: list[Called] = []
        depended_on = self._tx.depended_on({name for end in ended for name in _names(end.job)})
        for end in ended:
            called = self._callbacks.of(end.job, end.state)
            is_alone = depended_on.isdisjoint(_names(end.job))
            of = self._of(end.job, end.went_wrong, self._room + 1) if not is_alone else []
            if len(of) + len(called.lines) > self._room:
                end.cascade_later()
                self.left = True
                continue
            self._room -= len(of) + len(called.lines)
            callbacks.append(called)
            for each in of:
                if each.job.id in own:
                    continue  # it ends itself
                if (known := found.setdefault(each.job.id, each)) is not each:
                    known.never += each.never
        return found, callbacks

    def _of(self, parent: Job, went_wrong: bool, limit: int) -> list[Affected]:
        """The blocked jobs to which the end of this one matters, which those that only count others are not."""
        found: dict[str, Affected] = {}
        for name in _names(parent) if went_wrong else ():
            for job in self._tx.blocked_by(name, ("after",), limit):
                found.setdefault(job.id, Affected(job, parent.id, [parent.id]))
        for name in _names(parent) if went_wrong else ():
            for job in self._tx.blocked_by(name, ("after_failure",), limit):
                found.setdefault(job.id, Affected(job, parent.id, []))
        for job in self._tx.watchers(parent.id, limit):
            found.setdefault(job.id, Affected(job, parent.id, []))
        return list(found.values())[:limit]

    def _settle(self, affected: Iterable[Affected], halted: Iterable[Job], actor: str) -> Ends:
        """Let those start that may, have others wait on, and decide the ends of those that never start."""
        jobs = {job.id: job for job in halted}
        cancels = [Cancel(id, cause="halt") for id in jobs]
        decided: list[tuple[Job, list[Event]]] = []
        for each in affected:
            job, never = each.job, tuple(dict.fromkeys(each.never))
            if job.id in jobs:
                continue
            jobs[job.id] = job
            if not never:
                found = standing(parents(self._tx, job))
                never = found.never
                if not never:
                    decided.append((job, unblock(job, found, each.ended)))
            if never:
                cancels.append(Cancel(job.id, cause="dependency", because=never))
        self._tx.append_of_jobs(decided, actor)
        return self._tx.decide_ends(cancels, jobs) if cancels else Ends([], [])


def _names(job: Job) -> tuple[str, ...]:
    """By what others may depend on a job: its id, and its batch."""
    return (job.id, BATCH + job.batch) if job.batch is not None else (job.id,)


def cancelled_because(view: "View", jobs: Iterable[Job]) -> list[Job]:
    """The jobs that were cancelled because these had ended as they did, and those cancelled because of them in turn."""
    found: dict[str, Job] = {}
    wave = [*jobs]
    seen = {job.id for job in wave}
    while wave:
        next_wave: list[Job] = []
        for job in wave:
            for child in _children(view, job):
                if child.state == "cancelled" and child.id not in seen and job.id in _because(view, child.id):
                    seen.add(child.id)
                    found[child.id] = child
                    next_wave.append(child)
        wave = next_wave
    return list(found.values())


def _children(view: "View", job: Job) -> Iterator[Job]:
    for name in _names(job):
        yield from view.children(name)


def _because(view: "View", id: str) -> tuple[str, ...]:
    """The jobs because of which this one was cancelled last."""
    last = view.last(f"job:{id}")
    if last is not None and last.type == Cascaded.type:  # of its own dependants
        last = next(each for each in reversed(view.stream(f"job:{id}")) if each.type != Cascaded.type)
    event = last.event if last is not None else None
    return event.because if isinstance(event, Cancelled) else ()
