"""The rules of `machine.py` for flow control: people pause and limit queues, and hold, force and suspend jobs."""

from random import Random

from queuectl.admission import FOR_WORKERS
from tests.torture.machine_admission import spelled
from tests.torture.machine_model import SECOND
from tests.torture.machine_scene import Scene, World
from tests.torture.machine_subjects import WAITING, Rate

QUEUES = ("default", "default", "b")
RATES = {"10/m": Rate(10, 60.0), "5/h": Rate(5, 3600.0), "2/s": Rate(2, 1.0)}
PIECES = ("0-1", "0-2", "1", "0,2-3")


class Flow(Scene):
    """Everything that keeps jobs from starting, or lets them."""

    def pause(self, pick: Random) -> None:
        """A queue is paused, or all are; mostly for a while, for what is paused is soon boring."""
        name = pick.choice((*QUEUES, None))
        seconds = pick.choice((None, 1.0, 30.0, 600.0))
        suspend = pick.random() < 0.4
        self.queue.pause(name, seconds=seconds, suspend=suspend)
        self.model.pause(name or "", World.now + round(seconds * SECOND) if seconds is not None else None, suspend)
        self.model.commit()

    def resume(self, pick: Random) -> None:
        paused = [name for name, queue in self.model.queues.items() if queue.is_paused(World.now)]
        name = pick.choice(paused) if paused and pick.random() < 0.9 else pick.choice((*QUEUES, ""))
        if not self.model.may_resume(name):
            assert self.refused(lambda: self.queue.resume(name or None)) == "Refused"
            return
        assert self.queue.resume(name or None) == self.model.resume(name)
        self.model.commit()

    def limit(self, pick: Random) -> None:
        """Other limits of a queue, as often as not none."""
        name = pick.choice(QUEUES)
        model = self.model.queue(name)
        concurrency, rate, pauses = model.concurrency, model.rate, model.pause_on_failure
        match pick.choice(("concurrency", "concurrency", "rate", "rate", "burst", "pause")):
            case "concurrency":
                concurrency = pick.choice((None, 1, 1, 1, 2))
                self.queue.limit(name, concurrency=concurrency)
            case "rate":
                text = pick.choice((None, None, *RATES))
                burst = rate.burst if rate is not None else 1
                rate = Rate(RATES[text].starts, RATES[text].seconds, burst) if text is not None else None
                self.queue.limit(name, rate=text)
            case "burst":
                burst = pick.choice((1, 2, 4))
                if rate is None:
                    assert self.refused(lambda: self.queue.limit(name, burst=burst)) == "Invalid"
                    return
                rate = Rate(rate.starts, rate.seconds, burst)
                self.queue.limit(name, burst=burst)
            case _:
                pauses = not pauses
                self.queue.limit(name, pause_on_failure=pauses)
        self.model.limit(name, concurrency, rate, pauses)
        self.model.commit()

    def supply(self, pick: Random) -> None:
        """There is more of a resource, or less, or nobody says how much."""
        name = pick.choice(("gpu", "gpu", "mem", "db"))
        indices = pick.choice((None, *PIECES)) if name == "gpu" else None
        amount = pick.choice((None, 1, 3, 5)) if indices is None else None
        if indices is not None:
            self.queue.set_resource(name, indices=indices)
            self.model.set_resource(name, len(spelled(indices)), indices)
        elif amount is not None:
            self.queue.set_resource(name, amount)
            self.model.set_resource(name, amount)
        else:
            found = self.model.resources.get(name)
            assert self.queue.unset_resource(name) == (found is not None and found.capacity is not None)
            self.model.set_resource(name, None)
        self.model.commit()

    def hold(self, pick: Random) -> None:
        self._control(pick, "hold", "hold", WAITING)

    def unhold(self, pick: Random) -> None:
        held = [id for id, job in self.model.jobs.items() if job.held]
        self._control(pick, "release", "unhold", WAITING, held)

    def force(self, pick: Random) -> None:
        self._control(pick, "start", "force", WAITING)

    def suspend(self, pick: Random) -> None:
        self._control(pick, "suspend", "suspend", ("processing",))

    def proceed(self, pick: Random) -> None:
        stopped = [id for id, job in self.model.jobs.items() if job.suspended]
        self._control(pick, "continue_", "proceed", ("processing",), stopped)

    def explain(self, pick: Random) -> None:
        """Why jobs wait is what keeps the model from claiming them."""
        admission = self.model.admission(World.now)
        waiting = [job for job in self.model.jobs.values() if job.state in WAITING]
        for job in pick.sample(waiting, min(3, len(waiting))):
            found = {reason.kind for reason in self.queue.reasons(job.id)} - FOR_WORKERS
            assert found == admission.reasons(job), (job.id, found, admission.reasons(job))
            self.tally.update(f"explained {kind}" for kind in found)

    def _control(
        self, pick: Random, verb: str, meant: str, states: tuple[str, ...], rather: list[str] | None = None
    ) -> None:
        """Some jobs at once, all or none: mostly those of which it makes sense."""
        ids = [pick.choice(rather)] if rather and pick.random() < 0.9 else self.ids(pick, states)
        expected = self.model.refuses_control(meant, ids)
        assert self.refused(lambda: getattr(self.queue, verb)(*ids)) == expected, (verb, ids)
        if expected is None:
            for id in dict.fromkeys(ids):
                getattr(self.model, meant)(id)
            self.model.commit()
