"""A hypothesis machine: everything that users and workers do, on the real engine, beside a model in memory.

Two queues on one file take turns, the clock is a number, workers have no processes, die, come back and report what is
no longer theirs, and recovery is the real one (what it ends is simulated). After every step the tables, read by
whichever of the two did not write, and the events that were added must be what the model expects; what each turn claims
is what the model finds, with the same resources.
"""

import os
import time
import traceback
from random import Random

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import initialize, rule, run_state_machine_as_test

from queuectl.decisions import Outcome
from queuectl.errors import QueueError
from queuectl.workers.recovery import rescuer, worker_lock
from tests.torture.machine_scene import Prey, Template, World, dice, simulated
from tests.torture.machine_subjects import Ended, Held, Job
from tests.torture.machine_workers import Workers
from tests.torture.verdict import Breach, Figures

QUIET = (HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much)


class Machine(Workers):
    """One schedule; see `machine_scene.Scene`."""

    @initialize(dice=dice)
    def set_up(self, dice: int) -> None:
        """There is something to do, and somebody to do it."""
        self.begin()
        first = (self.start_worker, self.start_worker, self.supply, self.supply, self.enqueue, self.enqueue)
        for each, what in enumerate(first):
            self.do(dice + each, what)
            self.is_as_the_model_says()

    @rule(dice=dice)
    def users(self, dice: int) -> None:
        """Somebody asks for something."""
        asked = (self.enqueue, self.enqueue, self.enqueue, self.cancel, self.cancel, self.retry, self.retry)
        self.do(dice, *asked, self.purge, self.configure, self.stop_workers)

    @rule(dice=dice)
    def flow(self, dice: int) -> None:
        """Somebody decides what may start, and workers live with it."""
        queues = (self.pause, self.resume, self.resume, self.limit, self.limit, self.limit, self.supply, self.supply)
        jobs = (self.hold, self.unhold, self.force, self.suspend, self.suspend, self.proceed, self.proceed)
        steps = (queues, (self.enqueue, self.turn), (self.fill,), jobs, (self.fill,), (self.clock,), (self.turn,))
        for each, may in enumerate(steps):
            self.do(dice + each, *may)
            self.is_as_the_model_says()
        self.do(dice, self.explain)

    @rule(dice=dice)
    def work(self, dice: int) -> None:
        """A worker takes a turn."""
        self.do(dice, self.turn)

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
        may = (self.replay, self.check, self.conflict, self.follow, self.forget, self.archive, self.archive)
        self.do(dice, self.reopen, self.drop, self.fail, self.lose_secrets, self.conflict, *may)

    # -- recovery ----------------------------------------------------------------------------------------------------

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
        died: list[Job] = []
        for lease, ended in found.items():
            me = self.model.workers.get(worker)
            if ended is not None and ended.cause == "lost" and me is not None and me.state == "stopping":
                state = self.model.interrupt(lease)
            else:
                state = self.model.release(lease) if ended is None else self.model.report(lease, ended)
            died += [self.model.jobs[lease.job]] if state == "dead" else []
            self.tally["verdicts of recovery" if state else "verdicts of recovery that came too late"] += 1
        self.model.pause_for(died)
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
            records = view.events(after=self.head, limit=100_000)
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
                    max_examples=schedules if schedules is not None else 6000 if full else 600,
                    stateful_step_count=25 if full else 20,
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
