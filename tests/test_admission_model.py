"""R30 against the real claim: random steps, after each of which reasons and claims must agree."""

from collections import Counter
from collections.abc import Iterator

import pytest

from projections.jobs import Job
from queuectl import clock, disk
from queuectl.admission import FOR_WORKERS, order, reasons
from queuectl.admission_facts import collect
from queuectl.clock import SECOND
from queuectl.decisions import Release
from queuectl.selection import select
from queuectl.workers.turn import Claim
from tests.support.random_schedule import RandomSchedule

ALL = 1000
"""More jobs than there ever are."""


class Admission(RandomSchedule):
    """A schedule, and what must always be so. A worker without slots claims as a test."""

    def kinds(self, jobs: list[Job]) -> dict[str, list[str]]:
        """The kinds of reasons of each, from facts that are collected once."""
        with self.queue.engine.snapshot() as view:
            now, space = clock.now(), disk.space(self.queue.home, self.queue.settings(view))
            facts = collect(view, self.queue.engine, space, now)
        return {job.id: [reason.kind for reason in reasons(job, facts, now)] for job in jobs}

    def within_limits(self, jobs: list[Job], queues: tuple[str, ...], kinds: dict[str, list[str]]) -> set[str]:
        """Of jobs of these queues, those that limits and resources let start together, as a worker without end takes
        them."""
        found: set[str] = set()
        early_kinds = {"held", "paused", "delayed", "backoff", "postponed", "disk"}
        due = sorted((job for job in jobs if not early_kinds & {*kinds[job.id]}), key=order)
        claims = self.granted()
        taken: Counter[str] = Counter()
        running = Counter(job.queue for job in self.queue.jobs(state="processing") if not is_callback(job))
        with self.queue.engine.snapshot() as view:
            gates = view.gates()
        arrivals = {name: gate.arrival for name, gate in gates.items()}
        now = clock.now()

        def ahead(job: Job) -> int:
            return max(0, (arrivals[job.queue] or now) - now)

        def is_open(job: Job) -> bool:
            if job.forced or is_callback(job) or (gate := gates.get(job.queue)) is None:
                return True
            limit, rate = gate.state.concurrency, gate.state.rate
            full = limit is not None and running[job.queue] >= limit
            # Of a bucket of `burst` tokens, one more every interval: is there one?
            early = rate is not None and ahead(job) > (rate.burst - 1) * rate.interval
            return not full and not early

        def fits(job: Job, reserved: Counter[str]) -> bool:
            free = {name: self.there.free(name, claims) - taken[name] - reserved[name] for name in job.policy.needs}
            return all(free[name] >= need for name, need in job.policy.needs.items())

        def reserved(before: list[Job]) -> Counter[str]:
            kept: Counter[str] = Counter()
            met: set[str] = set()
            for job in before:
                needs, slots = job.policy.needs, job.policy.slots
                served = any(job.queue in (q or (job.queue,)) and slots <= n for _, n, q in self.workers.values())
                never = any(need > self.there.most(name) for name, need in needs.items())
                if job.id in found or job.run_at > now or never or not served or not is_open(job) or fits(job, kept):
                    continue
                for name, need in needs.items():
                    if name not in met and job.run_at <= now - 600 * SECOND:
                        kept[name] = need
                        self.tally["kept for a job"] += 1
                    met.add(name)
            return kept

        for place, job in enumerate(due):
            if (queues and job.queue not in queues) or not is_open(job):
                continue
            if not fits(job, Counter()) or not fits(job, reserved(due[:place])):
                continue
            found.add(job.id)
            taken.update(job.policy.needs)
            if (gate := gates.get(job.queue)) is not None and not is_callback(job):
                running[job.queue] += 1
                if (rate := gate.state.rate) is not None:
                    arrivals[job.queue] = now + min(ahead(job), rate.burst * rate.interval) + rate.interval
        return found

    def claimed(self, queues: tuple[str, ...], want: int) -> set[str]:
        """What a worker of these queues would claim: it is given back at once."""
        probe = self.writer("probe", queues)
        claims = probe.turn([], [], want, look=True).claims
        probe.turn([], [Release(claim.lease, "a test") for claim in claims], 0)
        return {claim.job.id for claim in claims}

    def claimed_in_turn(self, queues: tuple[str, ...]) -> set[str]:
        """The same, one after another: nothing but workers and those before it keeps the next one, each time."""
        probe = self.writer("probe", queues)
        claims: list[Claim] = []
        while True:
            kinds = self.kinds(self.waiting())
            leases = [claim.lease for claim in claims]
            found = probe.turn([], [], 1, free=ALL, holding=leases, look=True).claims
            if not found:
                probe.turn([], [Release(lease, "a test") for lease in leases], 0)
                return {claim.job.id for claim in claims}
            claims += found
            assert FOR_WORKERS.issuperset(kinds[found[0].job.id])

    def reasons_agree_with_claims(self) -> None:
        jobs = self.waiting()
        kinds = self.kinds(jobs)
        self.tally.update(kind for found in kinds.values() for kind in found)
        self.tally.update(self.callbacks(jobs, kinds))
        for queues in ((), ("a",), ("b", "a")):
            served = [job for job in jobs if not queues or job.queue in queues]
            startable = {job.id for job in served if FOR_WORKERS.issuperset(kinds[job.id])}
            claimed = self.claimed(queues, ALL)
            assert claimed == self.within_limits(jobs, queues, kinds)
            # What is kept for a job is free once the jobs before it have brought its queue to a limit.
            assert claimed <= startable or claimed == self.claimed_in_turn(queues)
            if len(startable) == 1:
                assert startable <= claimed
        assert self.starting() == {id for id, found in kinds.items() if not found}

    def callbacks(self, jobs: list[Job], kinds: dict[str, list[str]]) -> Iterator[str]:
        """What becomes of callbacks that wait: no limit keeps them, and of pauses none by the death of a job."""
        for job in jobs:
            if not is_callback(job):
                continue
            assert not {"concurrency", "rate"} & {*kinds[job.id]}
            own, everything = self.queue.queue(job.queue), self.queue.queue(None)
            by_death = own.is_paused and own.state.paused_job is not None
            by_person = everything.is_paused or (own.is_paused and not by_death)
            assert ("paused" in kinds[job.id]) == (by_person and not job.forced)
            yield "a callback waits for a person" if by_person else "a callback passes"
            if by_death and not by_person:
                yield "a callback passes the pause by a death"

    def starting(self) -> set[str]:
        """What the workers that serve the same queues would claim together, for their free slots."""
        rooms: dict[tuple[str, ...], dict[str, int]] = {}
        for id, (_, slots, queues) in self.workers.items():
            free = slots - sum(claim.job.policy.slots for claim in self.held[id])
            if not self.holds_back(id):
                rooms.setdefault(queues, {})[id] = free
        found: set[str] = set()
        heavy = any(job.policy.slots > 1 for job in self.waiting())
        for queues, free in rooms.items():
            want = sum(free.values())
            if heavy and want:  # which start depends on who claims first: the first in line does
                if self.queue.disk().low:
                    continue
                with self.queue.engine.snapshot() as view:
                    selection = select(view, queues, clock.now(), want, free, self.identity)
                found |= {each.job.id for each in selection.jobs}
                continue
            probe = self.writer("probe", queues)
            claims: list[Claim] = []
            for slots in free.values():
                claims += probe.turn([], [], slots, holding=[claim.lease for claim in claims], look=True).claims
            probe.turn([], [Release(claim.lease, "a test") for claim in claims], 0)
            found |= {claim.job.id for claim in claims}
        return found


def is_callback(job: Job) -> bool:
    return job.policy.trigger is not None and job.policy.trigger.event is not None


def run(number: int, steps: int) -> Counter[str]:
    """One schedule; returns what was seen."""
    with Admission(number) as it:
        try:
            it.reasons_agree_with_claims()
            for _ in range(steps):
                it.step()
                it.reasons_agree_with_claims()
        except BaseException as error:
            error.add_note(f"schedule {number}")
            raise
        return it.tally


KINDS = (
    "held", "paused", "delayed", "backoff", "postponed", "concurrency", "rate", "resource", "disk", "no_worker",
    "host", "busy",
)  # fmt: skip
SEEN = {
    *KINDS, *(f"freed {kind}" for kind in KINDS), "priority", "reserved", "kept for a job",
    "granted gpu", "granted mem", "granted lock", "more than exists",
    "a callback waits for a person", "a callback passes", "a callback passes the pause by a death",
}  # fmt: skip


@pytest.mark.parametrize(
    "first, schedules, steps",
    [
        (112, 12, 100),
        pytest.param(671_370_816, 30, 100, marks=(pytest.mark.torture, pytest.mark.timeout(3000)), id="long"),
    ],
)
def test_reasons_agree_with_claims_at_every_step(first: int, schedules: int, steps: int) -> None:
    seen: Counter[str] = Counter()
    for number in range(first, first + schedules):
        seen += run(number, steps)
    assert SEEN - seen.keys() == set(), "it is worth nothing unless all of this has been seen"
