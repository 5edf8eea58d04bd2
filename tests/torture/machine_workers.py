"""The workers of `machine.py`: they start, take turns, stop and die, beside the model of what the log should say."""

import os
from random import Random
from typing import NamedTuple

from queuectl.decisions import Lease, Outcome, Release, Report
from queuectl.workers.chores.heartbeat import heartbeat_of
from queuectl.workers.recovery import worker_lock
from queuectl.workers.turn import Claim, Turn, TurnWriter, tag
from tests.torture.machine_flow import Flow
from tests.torture.machine_model import SECOND
from tests.torture.machine_scene import Sim, World, held
from tests.torture.machine_subjects import WAITING, Ended, Worker
from tests.torture.machine_users import Users

CAUSES = (None, None, None, "exit", "exit", "exit", "signal", "timeout", "spawn", "lost", "output", "cancel")
QUEUES: tuple[tuple[str, ...], ...] = ((), (), ("default",), ("b",), ("b", "default"), ("nowhere", "b"))
OFFERS: tuple[dict[str, int | str], ...] = ({}, {}, {}, {"gpu": "4-5"}, {"mem": 4}, {"gpu": 1, "db": "0,2"})


class Asked(NamedTuple):
    """What a turn was asked for."""

    want: int
    free: int
    heartbeat: bool
    look: bool
    drain: bool
    holding: list[Lease]


def is_vain(lease: Lease) -> bool:
    """Whether a claim that is given back could not have been started, nor would the next one be."""
    return lease.version % 6 == 2


class Workers(Users, Flow):
    """Workers without processes."""

    def writer(self, sim: Sim) -> TurnWriter:
        return TurnWriter(self.queue, sim.id, sim.me.queues, self.queue.home.identity())

    def start_worker(self, pick: Random) -> None:
        self.born += 1
        id = f"w{self.born}"
        me = Worker(id, pick.choice(QUEUES), World.boot, pick.choice((1, 2, 2, 3)), pick.choice(OFFERS))
        sim = Sim(me, worker_lock.take(self.queue.home.workers, id))
        if pick.random() < 0.05:
            self.end(sim)  # before it said a word
            return
        self.model.start_worker(me)
        self.writer(sim).start(me.slots, resources=me.offers)
        self.model.commit()
        self.sims[id] = sim

    def turn(self, pick: Random) -> None:
        if not self.sims:
            self.start_worker(pick)
            return
        sim = pick.choice(list(self.sims.values()))
        self.start_some(pick, sim)
        want = pick.choice((0, 1, 1, 2, 3, 10))
        self.take_turn(pick, sim, self.some_ends(pick, sim), want, free=min(want, pick.choice((0, 1, 1, 2, 10, 10))))

    def fill(self, pick: Random) -> None:
        """A worker claims all that it can, while everything runs on."""
        for sim in self.sims.values():
            self.take_turn(pick, sim, [], 10, free=10)

    def late_turn(self, pick: Random) -> None:
        """A dead worker that was not: what it says must be refused where recovery was first."""
        if not self.ghosts:
            return
        ghost = self.ghosts[-1] if pick.random() < 0.7 else pick.choice(self.ghosts)
        self.start_some(pick, ghost)
        self.take_turn(pick, ghost, self.some_ends(pick, ghost), want=0, free=0)

    def start_some(self, pick: Random, sim: Sim) -> None:
        """Start what is claimed: whoever makes the output file decides (R11)."""
        for claim in list(sim.claims):
            if pick.random() < 0.7:
                sim.claims.remove(claim)
                identity = self.queue.home.identity()
                path = self.queue.home.output_of(identity, claim.job.id, claim.lease.version)
                try:
                    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
                    sim.running.append(claim)
                except FileExistsError:
                    assert os.path.isdir(path), f"{path} was started twice"
                    sim.returns.append(claim.lease)

    def take_turn(self, pick: Random, sim: Sim, reports: list[Report], want: int, free: int) -> None:
        for claim in [claim for claim in sim.claims if pick.random() < 0.2]:
            sim.claims.remove(claim)
            sim.returns.append(claim.lease)
        releases, sim.returns = sim.returns, []
        asked = Asked(
            want=want,
            free=free,
            heartbeat=pick.random() < 0.2 and bool(sim.leases),
            look=pick.random() < 0.4,
            drain=pick.random() < 0.3,
            holding=sim.leases,
        )
        turn = self.writer(sim).turn(
            reports,
            [Release(lease, "not started", repeats=is_vain(lease)) for lease in releases],
            want,
            free=asked.free,
            holding=asked.holding,
            heartbeat=heartbeat_of(asked.holding) if asked.heartbeat else None,
            look=asked.look,
            drain=0 if asked.drain else None,
        )
        if asked.heartbeat or asked.look:
            self.has_looked(sim, turn)
        else:
            assert (turn.cancel, turn.suspended, turn.stop_now) == ({}, None, False)
        self.has_ended(turn, reports, releases)
        if asked.heartbeat:
            self.model.heartbeat(sim.id)
        self.has_claimed(sim, turn, asked)
        sim.claims += turn.claims

    def some_ends(self, pick: Random, sim: Sim) -> list[Report]:
        """Some of what it runs has ended, one way or another; little of what is stopped, which somebody killed."""
        reports: list[Report] = []
        stopped = {id for id, job in self.model.jobs.items() if job.suspended}
        for claim in [claim for claim in sim.running if pick.random() < (0.1 if claim.job.id in stopped else 0.6)]:
            sim.running.remove(claim)
            cause = pick.choice(CAUSES)
            code = {None: 0, "exit": pick.randrange(1, 4)}.get(cause)
            outcome = Outcome(cause=cause, exit_code=code, signal=9 if cause == "signal" else None, run_seconds=0.5)
            reports.append(Report(claim.lease, outcome))
        return reports

    def has_looked(self, sim: Sim, turn: Turn) -> None:
        """What a look at the log has found, before anything was reported; pauses that have ended let jobs go on."""
        model, mine = self.model, self.model.held(sim.id)
        assert turn.cancel == {job.id: model.stop_signal(job) for job in mine if job.cancel}
        assert turn.stop_now == (sim.me.stop_now or sim.id not in model.workers)
        by_pause = any(job.by_pause for job in mine)
        for job in mine:
            model.end_pause(job)
        stopped = [job for job in mine if job.suspended]
        assert turn.suspended is not None
        assert {held(lease) for lease in turn.suspended} == {model.lease(job) for job in stopped}
        ends = [queue.until for job in stopped for queue in model.gates(job) if queue.suspends_at(World.now)]
        moments = [(moment - World.now) / SECOND for moment in ends if moment is not None]
        assert turn.proceed_in == (min(moments, default=None) if by_pause else None)

    def has_ended(self, turn: Turn, reports: list[Report], releases: list[Lease]) -> None:
        """What has become of attempts."""
        model = self.model
        fenced: list[Lease] = []
        failed: list[tuple[Lease, str]] = []
        for report in reports:
            outcome = report.outcome
            state = model.report(held(report.lease), Ended(outcome.cause, outcome.exit_code, outcome.signal))
            if state is None:
                fenced.append(report.lease)
            elif state in ("failed", "dead"):
                failed.append((report.lease, "retried" if state == "failed" else "dead"))
        model.pause_for(model.jobs[lease.job] for lease, then in failed if then == "dead")
        fenced += [lease for lease in releases if model.release(held(lease), is_vain(lease)) is None]
        self.settle()
        self.tally["reports and releases refused"] += len(fenced)
        assert turn.fenced == fenced
        assert turn.failed == failed

    def has_claimed(self, sim: Sim, turn: Turn, asked: Asked) -> None:
        """What was claimed, with what of resources, and when there may be more."""
        model, me = self.model, sim.me
        want, looked = asked.want, asked.heartbeat or asked.look
        stop = (looked and me.state != "running") or (want > 0 and not me.live)
        claimed, slots = model.claim(me, want, asked.free) if want > 0 and not stop else ([], 0)
        model.commit()
        assert turn.stop == stop
        assert [(claim.lease.job, claim.lease.attempt) for claim in turn.claims] == [(j.id, j.attempt) for j in claimed]
        for claim, job in zip(turn.claims, claimed, strict=True):
            assert claim.secrets == {name: job.values[name] for name in job.values}
            assert claim.granted == job.granted
            self.is_earlier(claim)
        self.tally["claims with resources"] += sum(bool(claim.granted) for claim in turn.claims)
        if slots < want or (asked.drain and not turn.claims):
            self.wakes_in_time(turn, me, want - slots, asked.free - slots)
        if asked.drain and not turn.claims:
            rests = model.at_rest(me.queues)
            assert turn.drained <= rests
            if asked.free > 0 and not stop:
                assert turn.drained == rests
            self.tally["drained"] += turn.drained

    def wakes_in_time(self, turn: Turn, me: Worker, want: int, free: int) -> None:
        """It is told to look again no later than when it would find a job."""
        start = self.model.next_start(me, want, free)
        if start is not None and not turn.stop:
            assert turn.due_in is not None
            assert turn.due_in <= (start - World.now) / SECOND
        if not any(job.policy.demand for job in self.model.jobs.values() if job.state in WAITING):
            due = self.model.next_due(me.queues)
            assert turn.due_in == (None if due is None else max(0.0, (due - World.now) / SECOND))

    def is_earlier(self, claim: Claim) -> None:
        """A claim knows all those before it, which may have left something behind."""
        identity = self.queue.home.identity()
        before = self.model.jobs[claim.job.id].attempts[:-1]
        assert [mark for _, mark in claim.earlier] == [tag(identity, claim.job.id, each.lease) for each in before]

    def stop(self, pick: Random) -> None:
        """A worker that holds nothing says goodbye."""
        sim = pick.choice(list(self.sims.values()))
        if not sim.leases and not sim.returns:
            self.writer(sim).stop("drained")
            self.model.end_worker(sim.id, "stopped")
            self.model.commit()
            assert sim.lock is not None
            sim.lock.close()
            del self.sims[sim.id]

    def die(self, pick: Random) -> None:
        busy = [sim for sim in self.sims.values() if sim.leases]
        self.end(pick.choice(busy or list(self.sims.values())))

    def end(self, sim: Sim) -> None:
        """The kernel lets go of its lock; the file stays."""
        assert sim.lock is not None
        sim.lock.close(keep=True)
        sim.lock = None
        if self.sims.pop(sim.id, None) is not None:
            self.ghosts.append(sim)
