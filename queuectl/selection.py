"""Which jobs may be claimed: the best that nothing keeps from starting, within limits and resources (R30, R31, R34)."""

from collections.abc import Mapping, Sequence

import msgspec

from projections.jobs import Job
from projections.queues import ALL, QueueGate
from projections.workers import Worker
from queuectl import amounts
from queuectl.admission import Facts, first, order
from queuectl.engines.view import View
from queuectl.stock import RESERVES, Granted, Stock, kept


class Selected(msgspec.Struct, frozen=True, gc=False):
    """A job that is to be claimed."""

    job: Job
    gate: QueueGate | None
    """That of its queue, as it is when all before it are claimed."""
    granted: Granted = {}


class ClaimSelection(msgspec.Struct):
    """What is to be claimed, and what kept more from being claimed."""

    jobs: list[Selected] = []
    """Best first."""
    slots: int = 0
    """How many slots they take."""
    closed: bool = False
    """Whether jobs were passed over: their queue is paused or at a limit, or what they need is taken."""
    demands: set[str] = set()
    """What these need (see `Enqueued.demand`) where it is taken."""
    slots_wanted: bool = False
    """Whether jobs were left because they are not claimed ahead: each needs a free slot."""
    kept: dict[str, Job] = {}
    """By id the workers whose free slots are kept for a job that needs more of them, and that job."""


def stock(view: View, home: str) -> Stock:
    """The resources as they are for jobs that start at a home, the identity of a queue's folder."""
    return Stock(home, view.resource_states(), view.offers(), view.grants())


def needy(view: View, now: int, limit: int, workers: Sequence[Worker]) -> list[Job]:
    """The jobs for which resources may be kept (R35) while their queues are open, in the order of claims.

    They are due, and one of these workers serves them. At most `limit` of each lane, and all that are forced.
    """
    forced = [job for job in view.forced() if job.run_at <= now]  # they may stand behind others in their lane
    jobs = {job.id: job for job in (*view.needy(limit, now, now - RESERVES), *forced) if job.policy.needs}
    return sorted((job for job in jobs.values() if any(_serves(worker, job) for worker in workers)), key=order)


def in_open_queues(jobs: Sequence[Job], gates: Mapping[str, QueueGate], now: int) -> list[Job]:
    """Those of these jobs that no pause and no limit of their queue keeps from starting."""
    closed = {name for name, gate in gates.items() if gate.is_closed(now)}
    return [job for job in jobs if job.forced or not (ALL in closed or job.queue in closed)]


def _serves(worker: Worker, job: Job) -> bool:
    takes = worker.state == "running" and not worker.private and worker.slots >= job.policy.slots
    return takes and (not worker.queues or job.queue in worker.queues)


def keepers(job: Job, workers: Sequence[Worker], now: int) -> list[str]:
    """The ids of the workers that keep their free slots for a job that needs several of one (R35).

    None before it has been due for `RESERVES`; then one of those that take it, and one more each time as long again:
    the first may be busy with something long, and all of them idle would cost more than it is worth.
    """
    able = [worker.id for worker in workers if _serves(worker, job)]
    return able[: max(0, (now - job.run_at) // RESERVES)]


def select(
    view: View,
    queues: Sequence[str],
    now: int,
    want: int,
    rooms: Mapping[str, int],
    home: str = "",
    among: Sequence[Job] | None = None,
) -> ClaimSelection:
    """Select jobs of these queues (none named: of all) that take at most `want` slots.

    `rooms`: the free slots of each worker that is to start them, by id; `home` is the identity of their folder.
    `among`: only of these jobs, which are due and in order. What is claimed ahead of a free slot is of queues without
    limits, and needs no resource: where others wait for that, a claim that only waits would be in their way. Nor is it
    of a batch that may be halted first.
    """
    return _Selection(view, now, want, rooms, home).walk(queues, among)


class _Selection:
    """One walk over the jobs that are due, in the order of claims."""

    def __init__(self, view: View, now: int, want: int, rooms: Mapping[str, int], home: str) -> None:
        self._view, self._now, self._want, self._home = view, now, want, home
        self._rooms = {**rooms}
        self._gates = view.gates()
        self._closed = {name for name, gate in self._gates.items() if gate.is_closed(now)}
        self._shut = {name for name, gate in self._gates.items() if gate.state.is_paused(now, callbacks=True)}
        """The queues that are closed for callbacks too."""
        self._facts = Facts(gates=self._gates)
        self._stock: Stock | None = None
        self._needy: list[Job] | None = None
        self._workers: list[Worker] | None = None
        self._seen = False
        """Whether the lanes were looked through."""
        self._taken: set[str] = set()
        self._passed: set[str] = set()
        """Forced jobs that are not claimed ahead: their queue has a limit, and no slot is free."""
        self._full = False
        """Whether no slot is left, and none may be claimed ahead: what is free is kept."""
        self._halting = view.halting_batches()
        self._rules: dict[str, bool] = {}
        """By batch: whether there is a rule by which it is halted."""
        self._found = ClaimSelection(jobs=[], closed=bool(self._closed), demands=set(), kept={})

    def walk(self, queues: Sequence[str], among: Sequence[Job] | None) -> ClaimSelection:
        found = self._found
        while found.slots < self._want and not self._full:
            asked = self._passed_over
            for job in among if among is not None else self._candidates(queues):
                if found.slots >= self._want or self._full:
                    break
                if job.id in self._taken or job.id in self._passed or self._is_closed(job):
                    continue
                if job.demand not in found.demands:
                    self._consider(job)
            if self._passed_over == asked:
                break  # nothing was closed meanwhile: there are no more
        return found

    @property
    def _passed_over(self) -> int:
        return len(self._closed) + len(self._found.demands) + len(self._passed)

    def _candidates(self, queues: Sequence[str]) -> Sequence[Job]:
        want = self._want - self._found.slots + len(self._taken) + len(self._passed)
        now, demands = self._now, self._found.demands
        if ALL in self._closed:
            return [job for job in self._view.forced(queues) if job.demand not in demands]
        due = self._view.due(queues, want, now, self._closed, demands)
        if open_for_callbacks := self._closed - self._shut:
            # Few queues are closed, and most often no callback waits: those of open queues come with all others.
            due = [*due, *self._view.due_callbacks(queues, open_for_callbacks, want, now, demands)]
            due.sort(key=order)
        return due

    def _is_closed(self, job: Job) -> bool:
        """Whether its queue is, for jobs like this one."""
        closed = self._shut if job.past_limits else self._closed
        return job.queue in closed and not job.forced

    def _consider(self, job: Job) -> None:
        """Select the job, or close what it stands for: its queue, or all jobs that need the same."""
        found, gate = self._found, self._gates.get(job.queue) if not job.past_limits else None
        slots = job.policy.slots if job.demand else 1
        room = None
        for worker, free in self._rooms.items():
            if free >= slots:
                room = worker
                break
        if job.batch is not None and job.batch in self._halting:
            # What stands behind it waits until all of the batch is cancelled, rather than be looked for at each claim.
            found.closed = self._full = True
        elif self._gates and first(job, self._facts, self._now) is not None:
            found.closed = True
            self._closed.add(job.queue)
        elif room is None and gate is not None and gate.state.is_limited and slots == 1:
            found.slots_wanted = True
            if job.forced:
                self._passed.add(job.id)
            else:
                self._closed.add(job.queue)
        elif room is None and job.demand:
            found.slots_wanted = found.slots_wanted or slots == 1
            found.closed = found.closed or slots > 1
            found.demands.add(job.demand)
            if slots > 1 and not found.kept and not self._lacks(job):
                self._keep(job)
        elif room is None and (found.kept or self._may_be_halted(job)):
            found.slots_wanted = found.slots_wanted or not found.kept
            self._full = True
        elif job.demand and self._lacks(job):
            found.closed = True
            found.demands.add(job.demand)
            self._close_alike()
        else:
            self._take(job, gate, slots, room)

    def _may_be_halted(self, job: Job) -> bool:
        """Whether the end of what runs may halt the batch of this job."""
        if job.batch is None:
            return False
        if job.batch not in self._rules:
            batch = self._view.batch_state(job.batch)
            self._rules[job.batch] = batch is not None and batch.halt is not None
        return self._rules[job.batch]

    def _lacks(self, job: Job) -> bool:
        if not job.policy.needs:
            return False
        if self._stock is None:
            self._stock = stock(self._view, self._home)
        return bool(self._stock.lacking(job.policy.needs) or self._stock.lacking(job.policy.needs, self._kept(job)))

    def _keep(self, job: Job) -> None:
        """Keep free slots for this job, of those workers that are to."""
        for worker in keepers(job, self._live(), self._now):
            if worker in self._rooms:
                self._rooms[worker] = 0
                self._found.kept[worker] = job

    def _live(self) -> list[Worker]:
        if self._workers is None:
            self._workers = self._view.workers()
        return self._workers

    def _close_alike(self) -> None:
        """Once a lane is closed: close all of which a resource is taken, without a look at their jobs."""
        if self._stock is not None and not self._seen:
            self._seen = True
            for demand in self._view.demanded() - self._found.demands:
                if self._stock.lacking(amounts.demanded(demand)):
                    self._found.demands.add(demand)

    def _kept(self, job: Job) -> dict[str, int]:
        """What is kept of resources for jobs before this one."""
        if self._needy is None:
            self._needy = needy(self._view, self._now, 1 + sum(self._rooms.values()), self._live())
        if self._stock is None or not self._needy:
            return {}
        ahead = [each for each in self._needy if order(each) < order(job) and each.id not in self._taken]
        return kept(self._stock.reservations(in_open_queues(ahead, self._gates, self._now), self._now))

    def _take(self, job: Job, gate: QueueGate | None, slots: int, room: str | None) -> None:
        granted = self._stock.grant(job.id, job.policy.needs) if self._stock is not None and job.policy.needs else {}
        self._found.jobs.append(Selected(job, gate, granted))
        self._found.slots += slots
        self._taken.add(job.id)
        if room is not None:
            self._rooms[room] -= slots
        if gate is not None:
            self._gates[job.queue] = gate.started(self._now)
