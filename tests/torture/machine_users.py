"""The rules of `machine.py` for users, the clock, and whoever shares, reads or rebuilds the log."""

import contextlib
from random import Random
from typing import Any

import apsw
import msgspec

from queuectl import Spec
from queuectl.audit.archive import archive
from queuectl.engines.view import Write
from queuectl.errors import Conflict, Deadline, NotFound
from queuectl.events import Cancelled, ConfigSet
from tests.torture.machine_model import SECOND
from tests.torture.machine_scene import Scene, World, database
from tests.torture.machine_subjects import FINAL, Policy

HOUR = 3600 * SECOND
JUMPS = (1, 1, 1, SECOND, SECOND, 5 * SECOND, HOUR, -1, -SECOND, -HOUR, -5 * HOUR)
"""Microseconds by which the wall clock moves; it may go back."""
SETTINGS = {
    "max-retries": ("0", "1", "2", "5"),
    "backoff-base": ("1", "2", "10"),
    "backoff-max": ("0", "30", "3600"),
    "jitter": ("0", "0.5", "1"),
    "on-lost": ("retry", "dead"),
}
DEFAULTS = {"max-retries": "3", "backoff-base": "2", "backoff-max": "86400", "jitter": "0", "on-lost": "retry"}
PROJECTIONS = (
    "jobs", "attempts", "counts", "workers", "config", "queues", "starts", "resources", "grants", "numbers",
)  # fmt: skip
NEEDS: tuple[dict[str, int], ...] = (
    {}, {}, {}, {}, {}, {}, {"gpu": 1}, {"gpu": 2}, {"db": 1}, {"mem": 3}, {"gpu": 1, "mem": 2},
)  # fmt: skip


class Users(Scene):
    """Everything but the workers."""

    # -- users -------------------------------------------------------------------------------------------------------

    def enqueue(self, pick: Random) -> None:
        model = self.model
        specs = [self.spec(pick) for _ in range(pick.choice((1, 1, 2, 3, 5)))]
        named = [spec.id for spec in specs if spec.id is not None]
        if len(set(named)) < len(named) or any(model.taken(id) for id in named):
            assert self.refused(lambda: self.queue.enqueue_many(specs)) in ("Refused", "Exists")
            return
        if beyond := [spec for spec in specs if not spec.held and not model.supply.exists(spec.needs)]:
            assert self.refused(lambda: self.queue.enqueue_many(specs)) == "Refused"
            specs = [msgspec.structs.replace(spec, held=True) if spec in beyond else spec for spec in specs]
        ids = self.queue.enqueue_many(specs)
        assert ids == [model.enqueue(spec.id, self.policy(spec), spec.secrets, held=spec.held) for spec in specs]
        model.commit()

    def spec(self, pick: Random) -> Spec:
        taken = [*self.model.jobs, *sorted(self.model.gone)]
        names = [id for id in taken if not id.isdecimal()]
        fresh = f"job-{len(taken)}-{pick.randrange(4)}"
        return Spec(
            command="true",
            id=pick.choice((None, None, None, fresh, pick.choice(names) if names and pick.random() < 0.2 else fresh)),
            queue=pick.choice(("default", "default", "b")),
            priority=pick.choice((0, 0, 0, 1, -1)),
            delay=pick.choice((None, None, None, 0.0, 2.0, 3600.0)),
            max_retries=pick.choice((None, None, 0, 1)),
            backoff_base=pick.choice((None, 1.0, 3.0)),
            backoff_max=pick.choice((None, 4.0)),
            jitter=pick.choice((None, None, 0.0, 0.5)),
            secrets=pick.choice(({}, {}, {}, {"TOKEN": "x"}, {"KEY": "k", "TOKEN": "y"})),
            on_lost=pick.choice((None, None, "retry", "dead")),
            stop_signal=pick.choice((None, None, "INT")),
            no_retry_codes=pick.choice((None, None, (2, 3))),
            held=pick.random() < 0.1,
            needs=pick.choice(NEEDS),
            slots=pick.choice((1, 1, 1, 1, 1, 2)),
        )

    def policy(self, spec: Spec) -> Policy:
        def setting(key: str, given: object) -> str:
            return self.model.setting(key, DEFAULTS[key]) if given is None else str(given)

        return Policy(
            queue=spec.queue,
            priority=spec.priority,
            run_at=World.now + round((spec.delay or 0.0) * SECOND),
            max_retries=int(setting("max-retries", spec.max_retries)),
            base=float(setting("backoff-base", spec.backoff_base)),
            cap=float(setting("backoff-max", spec.backoff_max)),
            jitter=float(setting("jitter", spec.jitter)),
            on_lost=setting("on-lost", spec.on_lost),
            stop_signal=str(spec.stop_signal or "TERM"),
            no_retry_codes=spec.no_retry_codes or (),
            secrets=tuple(sorted(spec.secrets)),
            needs=dict(spec.needs),
            slots=spec.slots,
        )

    def change(
        self,
        pick: Random,
        verb: str,
        states: tuple[str, ...],
        env: dict[str, str] | None = None,
        signal: str | None = None,
    ) -> None:
        ids = self.ids(pick, states)
        call: Any = getattr(self.queue, verb)
        more: dict[str, object] = {"secrets": env} if env is not None else {"signal": signal} if signal else {}
        expected = self.model.refusal(verb, dict.fromkeys(ids), env)
        assert self.refused(lambda: call(*ids, **more)) == expected, (verb, ids)
        if expected is None:
            for id in dict.fromkeys(ids):
                if verb == "retry":
                    self.model.retry(id, env)
                elif verb == "cancel":
                    self.model.cancel(id, signal)
                else:
                    getattr(self.model, verb)(id)
            self.model.commit()

    def cancel(self, pick: Random) -> None:
        signal = pick.choice((None, None, "INT", "KILL"))
        self.change(pick, "cancel", pick.choice((("processing",), ("pending", "failed", "dead"))), signal=signal)

    def retry(self, pick: Random) -> None:
        env = pick.choice((None, None, {}, {"TOKEN": "z"}, {"KEY": "l", "TOKEN": "z"}))
        self.change(pick, "retry", FINAL, env)

    def purge(self, pick: Random) -> None:
        if pick.random() < 0.5:
            self.change(pick, "purge", FINAL)

    def configure(self, pick: Random) -> None:
        key = pick.choice(list(SETTINGS))
        value = pick.choice((None, *SETTINGS[key]))
        self.queue.set_config(key, value)
        self.model.set_config(key, value)
        self.model.commit()

    def stop_workers(self, pick: Random) -> None:
        live = [worker.id for worker in self.model.workers.values() if worker.live]
        id = pick.choice([*live, "nobody"])
        now = pick.random() < 0.5
        answer = self.refused(lambda: self.queue.stop_workers(id, now=now, timeout=0.0))
        if id not in live:
            assert answer == "NotFound"
            return
        assert answer == (Deadline.__name__ if id in self.sims or self.under_recovery(id) else None)
        self.model.stop_worker(id, now)
        self.model.commit()

    def under_recovery(self, id: str) -> bool:
        return any(worker == id for _, worker, _ in self.rescuers)

    # -- time --------------------------------------------------------------------------------------------------------

    def clock(self, pick: Random) -> None:
        """The wall clock jumps, or it is just the moment at which something is due, or just before."""
        due = [job.run_at for job in self.model.waiting(())] + self.model.openings()
        if due and pick.random() < 0.6:
            World.now = pick.choice(due) - pick.choice((2, 1))  # every rule moves the clock on by 1 first
        else:
            World.now = max(SECOND, World.now + pick.choice(JUMPS))

    # -- the log, and who shares it ----------------------------------------------------------------------------------

    def reopen(self, pick: Random) -> None:
        index = pick.randrange(2)
        if not any(each for each, _, _ in self.rescuers if each._queue is self.queues[index]):
            self.following = None
            self.queues[index].close()
            self.queues[index] = self.open()

    def replay(self, pick: Random) -> None:
        names = pick.choice(((), *((name,) for name in PROJECTIONS)))
        assert self.queue.replay(*names) == len(self.log)

    def forget(self, pick: Random) -> None:
        """A projection is of another version: whoever writes next, or opens, rebuilds it."""
        sql = pick.choice(("delete from projection_state", "update projection_state set version = 0"))
        database(self.queue).execute(f"{sql} where name = ?", (pick.choice(PROJECTIONS),))

    def drop(self, pick: Random) -> None:
        """A table is gone; whoever opens the database makes it anew."""
        if not self.rescuers and pick.random() < 0.3:
            self.following = None
            database(self.queue).execute(f"drop table {pick.choice(PROJECTIONS)}")
            with contextlib.closing(apsw.Connection(self.path)) as worker:  # as each that lives has: the WAL stays
                assert worker.execute("select count(*) from events").get
                for queue in self.queues:
                    queue.close()
                self.queues = [self.open(), self.open()]

    def fail(self, pick: Random) -> None:
        """A transaction is given up in the middle: as if it had never been."""

        def spoil() -> None:
            with self.queue.engine.transaction() as tx:
                for job in tx.ready((), 2):
                    tx.append([Write(f"job:{job.id}", job, [Cancelled()])], "test")
                tx.forget_secrets(list(self.model.jobs))
                tx.keep_secrets("never", {"A": "b"})
                raise NotFound("given up")

        assert self.refused(spoil) == "NotFound"

    def lose_secrets(self, pick: Random) -> None:
        """As in a log that was imported: the values of secret variables are not there."""
        if self.model.jobs and pick.random() < 0.5:
            job = pick.choice(list(self.model.jobs.values()))
            database(self.queue).execute("delete from secrets where job = ?", (job.id,))
            job.values.clear()

    def conflict(self, pick: Random) -> None:
        """Who decides on what has changed since is refused, also where somebody caught the refusal."""
        moved = [id for id, job in self.model.jobs.items() if job.version > 1]
        if not moved:
            return
        job = self.queue.job(pick.choice(moved))
        job = msgspec.structs.replace(job, version=pick.randrange(1, job.version))

        def decide() -> None:
            with self.queue.engine.transaction() as tx, contextlib.suppress(Conflict):
                tx.append([Write("config", tx.config(), [ConfigSet(key="timeout", value="1")])], "test")
                tx.append([Write(f"job:{job.id}", job, [Cancelled()])], "test")

        assert self.refused(decide) == "Conflict"

    def follow(self, pick: Random) -> None:
        """A follower reads on, and may stop in the middle of a page while others write."""
        if self.following is None:
            self.following = self.queue.events(after=self.told[-1].seq if self.told else 0)
        for _ in range(pick.choice((1, 4, 1000))):
            record = next(self.following, None)
            if record is None:
                self.following = None
                break
            self.told.append(record)

    def archive(self, pick: Random) -> None:
        """What has ended leaves the log for a file, in transactions of which only the sum is foretold."""
        ends = [job.finished_at for job in self.model.jobs.values() if job.state in FINAL]
        before = pick.choice((self.model.at, self.model.at, World.now, *ends))
        file = f"{self.path}.{self.tally['rule archive']}.gz"
        gone = self.model.archive(before)
        self.model.commit()
        result = archive(self.queue, file, before)
        assert (result.jobs + result.workers, result.stayed) == (len(gone), 0)
        self.following = None  # who reads on is told that something may be missing
        self.scatter(gone)

    def check(self, pick: Random) -> None:
        if pick.random() < 0.4:
            assert self.queue.check() == []
