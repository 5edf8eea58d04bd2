"""A hypothesis machine: everything that users and workers do, on the real engine, beside a model in memory.

Two queues on one file take turns, the clock is a number, workers are Ledgers without processes that die, come back and
report what is no longer theirs, and recovery is the real one (what it ends is simulated). After every step the tables,
read by whichever of the two did not write, and the events that were added must be what the model expects.
"""

import os
import time
import traceback
from random import Random

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import initialize, rule, run_state_machine_as_test

from queuectl.decisions import Lease, Outcome, Report
from queuectl.errors import QueueError
from queuectl.workers.recovery import rescuer, worker_lock
from queuectl.workers.turn import Claim, Release, TurnWriter, tag
from tests.torture.machine_model import Ended, Held
from tests.torture.machine_scene import Prey, Sim, Template, World, dice, held, simulated
from tests.torture.machine_users import Users
from tests.torture.verdict import Breach, Figures

CAUSES = (None, None, None, "exit", "exit", "exit", "signal", "timeout", "spawn", "lost", "output", "cancel")
QUIET = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)
QUEUES: tuple[tuple[str, ...], ...] = ((), (), ("default",), ("b",), ("b", "default"), ("nowhere", "b"))


class Machine(Users):
    """One schedule; see `machine_scene.Scene`."""

    @initialize(dice=dice)
    def set_up(self, dice: int) -> None:
        """There is something to do, and somebody to do it."""
        self.begin()
        for each, what in enumerate((self.start_worker, self.start_worker, self.enqueue, self.enqueue)):
            self.do(dice + each, what)
            self.is_as_the_model_says()

    @rule(dice=dice)
    def users(self, dice: int) -> None:
        """Somebody asks for something."""
        asked = (self.enqueue, self.enqueue, self.enqueue, self.cancel, self.cancel, self.retry, self.retry)
        self.do(dice, *asked, self.purge, self.configure, self.stop_workers)

    @rule(dice=dice)
    def work(self, dice: int) -> None:
        """A worker takes a turn."""
        self.do(dice, self.turn if self.sims else self.start_worker)

    @rule(dice=dice)
    def work_more(self, dice: int) -> None:
        """As likely again, and more of it: this is what a queue is for."""
        for each in range(3):
            self.work(dice + each)
            self.is_as_the_model_says()

    @rule(dice=dice)
    def time(self, dice: int) -> None:
        """The clock does what it wants, and somebody works by it."""
        self.do(dice, self.clock)
        self.is_as_the_model_says()
        self.work(dice + 1)

    @rule(dice=dice)
    def fate(self, dice: int) -> None:
        """Workers come, go and die."""
        may = [self.recover, self.begin_recovery]
        if len(self.sims) < 3:
            may += [self.start_worker] * 3
        if self.sims:
            may += [self.die] * 4 + [self.stop]
        if len(self.sims) > 1:
            may.append(self.reboot)
        if self.ghosts:
            may += [self.late_turn] * 3
        if self.rescuers:
            may += [self.go_on_recovering] * 3
        self.do(dice, *may)

    @rule(dice=dice)
    def race(self, dice: int) -> None:
        """A worker dies, and what it says reaches the log before, while and after it is recovered."""
        for each, step in enumerate((self.work, self.work, self.users, self.work)):
            step(dice + each)
            self.is_as_the_model_says()
        if dice % 5 == 0:
            self.do(dice, self.reboot)
        elif self.sims:
            between = (self.late_turn, self.cancel, self.turn if len(self.sims) > 1 else self.late_turn)
            self.do(dice, self.die)
            for what in (self.begin_recovery, *between[dice % 3 :], self.go_on_recovering, self.late_turn):
                self.do(dice // 3, what)
                self.is_as_the_model_says()

    @rule(dice=dice)
    def housekeeping(self, dice: int) -> None:
        """What must make no difference."""
        may = (self.replay, self.check, self.conflict, self.follow, self.forget)
        self.do(dice, self.reopen, self.drop, self.fail, self.lose_secrets, self.conflict, *may)

    # -- workers -----------------------------------------------------------------------------------------------------

    def writer(self, sim: Sim) -> TurnWriter:
        return TurnWriter(self.queue, sim.id, sim.queues, self.queue.home.identity())

    def start_worker(self, pick: Random) -> None:
        self.born += 1
        id = f"w{self.born}"
        sim = Sim(id, pick.choice(QUEUES), worker_lock.take(self.queue.home.workers, id))
        if pick.random() < 0.05:
            self.end(sim)  # before it said a word
            return
        self.writer(sim).start(2)
        self.sims[id] = sim
        self.model.start_worker(id, sim.queues, World.boot)
        self.model.commit()

    def turn(self, pick: Random) -> None:
        sim = pick.choice(list(self.sims.values()))
        self.start_some(pick, sim)
        self.take_turn(pick, sim, want=pick.choice((0, 1, 1, 2, 3, 10)))

    def late_turn(self, pick: Random) -> None:
        """A dead worker that was not: what it says must be refused where recovery was first."""
        if not self.ghosts:
            return
        ghost = self.ghosts[-1] if pick.random() < 0.7 else pick.choice(self.ghosts)
        self.start_some(pick, ghost)
        self.take_turn(pick, ghost, want=0)

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

    def take_turn(self, pick: Random, sim: Sim, want: int) -> None:
        model, me = self.model, self.model.workers[sim.id]
        ended = [claim for claim in sim.running if pick.random() < 0.6]
        for claim in [claim for claim in sim.claims if pick.random() < 0.2]:
            sim.claims.remove(claim)
            sim.returns.append(claim.lease)
        reports: list[Report] = []
        for claim in ended:
            sim.running.remove(claim)
            cause = pick.choice(CAUSES)
            code = {None: 0, "exit": pick.randrange(1, 4)}.get(cause)
            outcome = Outcome(cause=cause, exit_code=code, signal=9 if cause == "signal" else None, run_seconds=0.5)
            reports.append(Report(claim.lease, outcome))
        releases, sim.returns = sim.returns, []
        heartbeat, look, drain = pick.random() < 0.2, pick.random() < 0.4, pick.random() < 0.3
        holding = sim.leases
        turn = self.writer(sim).turn(
            reports,
            [Release(lease, "not started in time") for lease in releases],
            want,
            holding=holding,
            heartbeat=heartbeat,
            look=look,
            drain=0 if drain else None,
        )

        cancel = {job.id: model.stop_signal(job) for job in model.held(sim.id) if job.cancel}
        fenced: list[Lease] = []
        failed: list[tuple[Lease, str]] = []
        for report in reports:
            outcome = report.outcome
            state = model.report(held(report.lease), Ended(outcome.cause, outcome.exit_code, outcome.signal))
            if state is None:
                fenced.append(report.lease)
            elif state in ("failed", "dead"):
                failed.append((report.lease, "retried" if state == "failed" else "dead"))
        fenced += [lease for lease in releases if model.release(held(lease)) is None]
        self.settle()
        if heartbeat and holding:
            model.heartbeat(sim.id)
        looked = heartbeat or look
        stop = looked and me.state != "running"
        ready = [] if stop else model.ready(sim.queues, want)
        claimed = [job for job in ready if model.claim(job, sim.id)]
        for job in ready:
            if job not in claimed:
                model.bury(job)
        model.commit()

        self.tally["reports and releases refused"] += len(fenced)
        assert turn.fenced == fenced
        assert turn.failed == failed
        assert turn.cancel == (cancel if looked else {})
        assert (turn.stop, turn.stop_now) == (stop, looked and me.stop_now)
        assert [(claim.lease.job, claim.lease.attempt) for claim in turn.claims] == [(j.id, j.attempt) for j in claimed]
        for claim, job in zip(turn.claims, claimed, strict=True):
            assert claim.secrets == {name: job.values[name] for name in job.values}
            self.is_earlier(claim)
        if len(claimed) < want or (drain and not holding and not claimed):
            due = min((job.run_at for job in model.waiting(sim.queues)), default=None)
            assert turn.due_in == (None if due is None else max(0.0, (due - World.now) / 1e6))
            if drain and (due is None or due > World.now):
                mine = [job for job in model.jobs.values() if not sim.queues or job.policy.queue in sim.queues]
                assert turn.drained == (not any(job.state in ("failed", "processing") for job in mine))
        sim.claims += turn.claims

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

    def reboot(self, pick: Random) -> None:
        """Everybody dies with the machine, half-done recoveries too; nothing that was written before proves anything.

        Of what never started nothing is known either: the output folder may be older than the log (R11).
        """
        for sim in list(self.sims.values()):
            self.end(sim)
        self.ghosts.clear()
        for each, _, _ in self.rescuers:
            each.abandon()
        self.rescuers.clear()
        World.boot = f"boot {self.tally['steps']}"
        if pick.random() < 0.7:
            self.recover(pick)

    # -- recovery ----------------------------------------------------------------------------------------------------

    def judge(self, worker: str, known: dict[tuple[int, int], Outcome]) -> dict[Held, Ended | None]:
        """What recovery finds of each lease; None: it never started."""
        me = self.model.workers.get(worker)
        found: dict[Held, Ended | None] = {}
        for job in self.model.held(worker):
            assert job.lease is not None
            lease = Held(job.id, job.attempt, job.lease)
            path = self.queue.home.output_of(self.queue.home.identity(), job.id, job.lease)
            outcome = known.get((job.seq, job.lease), Outcome(cause="lost"))
            if me is None or me.boot != World.boot:
                found[lease] = Ended("lost")
            elif os.path.isfile(path):
                found[lease] = Ended(outcome.cause, outcome.exit_code)
            else:
                found[lease] = None
        return found

    def known(self, pick: Random, worker: str) -> dict[tuple[int, int], Outcome]:
        """What the dead worker's parent has reaped."""
        ends = (Outcome(exit_code=0), Outcome(cause="exit", exit_code=2))
        jobs = [job for job in self.model.held(worker) if pick.random() < 0.5]
        return {(job.seq, job.lease): pick.choice(ends) for job in jobs if job.lease is not None}

    def decide(self, worker: str, found: dict[Held, Ended | None], *, through: bool = True) -> None:
        """What recovery appends of it, in one transaction."""
        for lease, ended in found.items():
            me = self.model.workers.get(worker)
            if ended is not None and ended.cause == "lost" and me is not None and me.state == "stopping":
                state = self.model.interrupt(lease)
            else:
                state = self.model.release(lease) if ended is None else self.model.report(lease, ended)
            self.tally["verdicts of recovery" if state else "verdicts of recovery that came too late"] += 1
        if through:
            self.model.end_worker(worker, "lost")
        self.model.commit()

    def hunted(self, worker: str, lease: Held) -> bool:
        """Whether something of this attempt must be looked for."""
        me = self.model.workers.get(worker)
        path = self.queue.home.output_of(self.queue.home.identity(), lease.job, lease.version)
        return me is not None and me.boot == World.boot and os.path.isfile(path)

    def dead(self) -> list[str]:
        """The workers that a look around finds dead."""
        folder = self.queue.home.workers
        files = set(worker_lock.ids(folder))
        live = {worker.id for worker in self.model.workers.values() if worker.live}
        return sorted((files | live) - set(self.sims) - {worker for _, worker, _ in self.rescuers})

    def recover(self, pick: Random) -> None:
        """Somebody looks for dead workers and recovers each, whatever the clock has done since."""
        Prey.rounds = 0
        dead = self.dead()
        verdicts = {worker: self.judge(worker, {}) for worker in dead}
        report = rescuer.recover(self.queue)
        self.settle()
        assert report.left == []
        for worker in sorted(dead, key=self.order):
            self.decide(worker, verdicts[worker])
        assert self.dead() == []

    def order(self, worker: str) -> tuple[bool, int, str]:
        """Recovery takes workers in the order of the folder, which nobody knows: read it in the log."""
        with self.queue.engine.snapshot() as view:
            records = view.events(after=self.log[-1].seq if self.log else 0, limit=100_000)
        found = [record.seq for record in records if record.stream == f"worker:{worker}"]
        return (not found, found[0] if found else 0, worker)

    def begin_recovery(self, pick: Random) -> None:
        """A recovery that takes its time: meanwhile anything may happen."""
        dead = [id for id in self.dead() if os.path.exists(f"{self.queue.home.workers}/{id}")]
        if dead:
            id = pick.choice(dead)
            known = self.known(pick, id)
            verdicts = self.judge(id, known)
            taken = worker_lock.try_lock(self.queue.home.workers, id)
            assert taken is not None
            each = rescuer.Rescuer(self.queue, taken, "recovery:test", known=known)
            Prey.rounds = 1
            if each.tick(0.0):
                self.decide(id, verdicts)
            else:
                slow = {lease: verdict for lease, verdict in verdicts.items() if self.hunted(id, lease)}
                if quick := {lease: verdict for lease, verdict in verdicts.items() if lease not in slow}:
                    self.decide(id, quick, through=False)
                self.rescuers.append((each, id, slow))

    def go_on_recovering(self, pick: Random) -> None:
        if not self.rescuers:
            return
        each, id, verdicts = self.rescuers.pop(pick.randrange(len(self.rescuers)))
        if pick.random() < 0.4:
            each.abandon()  # and somebody else begins anew, with what the first one left behind
            self.recover(pick)
        else:
            assert each.tick(1.0), each.report.left
            self.decide(id, verdicts)


def run(number: int, full: bool, *, schedules: int | None = None) -> Figures:
    """Run the machine with this seed. Raises Breach with a schedule that went wrong; the long form shortens it."""
    Machine.tally.clear()
    began = time.monotonic()
    try:
        with simulated():
            seed(number)(Machine)
            run_state_machine_as_test(
                Machine,
                settings=settings(
                    max_examples=schedules if schedules is not None else 6000 if full else 400,
                    stateful_step_count=20 if full else 15,
                    deadline=None,
                    database=None,
                    phases=(Phase.generate, Phase.shrink) if full else (Phase.generate,),
                    report_multiple_bugs=False,
                    suppress_health_check=(
                        HealthCheck.too_slow,
                        HealthCheck.data_too_large,
                        HealthCheck.filter_too_much,
                    ),
                ),
            )
    except (AssertionError, QueueError) as error:
        where = [f"{at.filename}:{at.lineno}: {at.line}" for at in traceback.extract_tb(error.__traceback__)]
        ours = [line for line in where if "/torture/" in line]
        raise Breach([*ours[-2:], str(error), *getattr(error, "__notes__", [])], {"seed": number}) from error
    finally:
        Template.remove()
    took = time.monotonic() - began
    return {**dict(Machine.tally), "schedules a minute": round(Machine.tally["schedules"] / took * 60)}
