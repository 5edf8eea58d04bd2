"""The scene of `machine.py`: two queues on one file, simulated time and boots, and what must always be so."""

import contextlib
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, ClassVar
from unittest import mock

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant

from projections.replay import Subjects
from queuectl import Queue
from queuectl.clock import text
from queuectl.decisions import Lease
from queuectl.engines.sqlite.engine import SqliteEngine
from queuectl.errors import QueueError
from queuectl.events import Recorded
from queuectl.workers.recovery import rescuer
from queuectl.workers.recovery.termination import Survivors
from queuectl.workers.recovery.worker_lock import WorkerLock
from queuectl.workers.turn import Claim
from tests.support.folded_tables import assert_every_fold_agrees
from tests.support.paths import IN_MEMORY
from tests.torture.flow_log import Law, Log
from tests.torture.machine_model import SECOND, Model
from tests.torture.machine_subjects import Ended, Held, Worker

BEGIN = 1_800_000_000 * SECOND
HOUR = 3600 * SECOND

TABLES = {
    "jobs": """
        select id, seq, version, state, queue, priority, run_at, secrets, attempt, failures, worker, lease,
               cancel_requested, case when cancel_requested then cancel_signal end, exit_code, signal, cause,
               demand, held, forced, suspended_at is not null, suspended_by_pause
        from jobs
    """,
    "counts": "select queue, state, held, jobs from counts",
    "attempts": "select job, number, worker, lease, outcome, cause from attempts",
    "workers": "select id, state, stop_now, version from workers",
    "secrets": "select job, name, value from secrets",
    "config": "select key, value from config",
    "queues": """
        select name, version, concurrency, rate ->> '$.starts', rate ->> '$.seconds', rate ->> '$.burst',
               pause_on_failure, paused_at is not null, paused_until, paused_job, paused_suspends
        from queues
    """,
    "starts": "select queue, job, next from starts order by seq",
    "resources": "select name, version, capacity, indices from resources",
    "grants": "select resource, job, amount, indices from grants",
}
"""What is compared of each table."""


class World:
    """What is patched: the clock, the boot, what a termination finds. One for the whole process."""

    now = BEGIN
    boot = "boot 0"


class Prey:
    """In the place of `termination.Termination`: it takes `rounds` more looks until everything has been ended."""

    rounds = 0

    def __init__(
        self, path: str, tag: str, *, orphans: object, grace: float, number: int, database: str | None = None
    ) -> None:
        self.database = database
        self.next_tick = 0.0
        self.left = Survivors((1,))
        self._rounds = Prey.rounds

    def tick(self, now: float) -> bool:
        self._rounds -= 1
        return self._rounds < 0

    def close(self) -> None:
        pass


class Sim:
    """A worker: what a process of it would have in memory. It lives while it holds its lock."""

    def __init__(self, me: Worker, held: WorkerLock) -> None:
        self.me = me
        self.id = me.id
        self.lock: WorkerLock | None = held
        self.claims: list[Claim] = []
        self.running: list[Claim] = []
        self.returns: list[Lease] = []
        """Leases that it gives back at the next turn."""

    @property
    def leases(self) -> list[Lease]:
        return [claim.lease for claim in (*self.claims, *self.running)]


@contextlib.contextmanager
def simulated() -> Iterator[None]:
    """Time, boots and processes of the simulation; pages and caches so small that a few jobs cross their bounds."""
    with contextlib.ExitStack() as stack:
        for target, new in {
            "queuectl.clock.now": lambda: World.now,
            "queuectl.host.procfs.boot_id": lambda: World.boot,
            "queuectl.host.procfs.machine_id": lambda: "here",
            "queuectl.liveness.boot_id": lambda: World.boot,
            "queuectl.liveness.machine_id": lambda: "here",
            "queuectl.liveness.look": lambda pid: None,
            "queuectl.workers.recovery.rescuer.Termination": Prey,
            "queuectl.engines.sqlite.location.check_mounts": lambda location: None,
            "queuectl.engines.projection_registry.installed": dict,
            "queuectl.engines.projection_registry.PAGE": 5,
            "projections.replay.BATCH": 5,
            "queuectl.queries.PAGE": 3,
            "queuectl.listing.PAGE": 3,
            "queuectl.enqueueing.CHUNK": 2,
            "projections.replay.Subjects": lambda history: Subjects(history, 3),
        }.items():
            stack.enter_context(mock.patch(target, new))
        ours = {name: "" for name in os.environ if name.startswith("QUEUECTL_") or name in ("DB_PATH", "MAX_RETRIES")}
        fixed = {"QUEUECTL_KEEP_ENV": "none", "BACKOFF_BASE": "", "PATH": "/bin"}
        stack.enter_context(mock.patch.dict(os.environ, ours | fixed))
        yield


def _room() -> str:
    return tempfile.mkdtemp(prefix="queuectl-machine-", dir=IN_MEMORY)


class Template:
    """An empty database, made once and copied for every schedule (none of it is open while it is copied)."""

    folder: str | None = None

    @classmethod
    def copy(cls) -> str:
        if cls.folder is None:
            cls.folder = _room()
            with Queue(f"{cls.folder}/q.db") as queue:
                queue.engine.truncate_wal()
        target = _room()
        shutil.copytree(cls.folder, target, dirs_exist_ok=True)
        return f"{target}/q.db"

    @classmethod
    def remove(cls) -> None:
        if cls.folder is not None:
            shutil.rmtree(cls.folder)
            cls.folder = None


dice = st.integers(0, 9999)


class Scene(RuleBasedStateMachine):
    """One schedule. Each rule takes one number, from which it draws what it needs: drawing apart was too slow."""

    tally: ClassVar[Counter[str]] = Counter()
    """What was done, over all schedules."""

    def begin(self) -> None:
        """A new database."""
        Scene.tally["schedules"] += 1
        World.now, World.boot, Prey.rounds = BEGIN, "boot 0", 0
        self.path = Template.copy()
        self.queues = [self.open(), self.open()]
        self.model = Model(BEGIN)
        self.born = 0
        self.sims: dict[str, Sim] = {}
        """The living."""
        self.ghosts: list[Sim] = []
        """The dead, who still remember."""
        self.rescuers: list[tuple[rescuer.Rescuer, str, dict[Held, Ended | None]]] = []
        """Recoveries under way: of which worker, and what they will say of each lease (None: it never started)."""
        self.compared = False
        """Whether the model has been found right since the last step."""
        self.head = 0
        self.log: list[Recorded] = []
        self.law = Log(Law())
        """The judge of the log, event by event."""
        self.told: list[Recorded] = []
        """What a follower was told who looks now and then."""
        self.following: Iterator[Recorded] | None = None

    def open(self) -> Queue:
        queue = Queue(self.path, actor="test", logs=f"{self.path}.logs")
        queue.engine.set_durability("normal")
        return queue

    def do(self, dice: int, *may: Callable[[Random], None]) -> None:
        """One of these, by one of the two queues; the clock moves on a little before."""
        self.tally["steps"] += 1
        self.compared = False
        pick = Random(dice)
        World.now += 1
        self.model.now = World.now
        self.queue = pick.choice(self.queues)
        what = pick.choice(may)
        self.tally[f"rule {what.__name__}"] += 1
        note(f"# {what.__name__} by queue {self.queues.index(self.queue)} at {World.now - BEGIN}")
        what(pick)

    def ids(self, pick: Random, states: tuple[str, ...] = ()) -> list[str]:
        """Some ids, mostly of jobs in these states; now and then of ones that are gone or never were."""
        model = self.model
        fit = [id for id, job in model.jobs.items() if job.state in states]
        pool = fit if fit and pick.random() < 0.9 else [*model.jobs, *sorted(model.gone), "never"]
        return [pick.choice(pool) for _ in range(pick.choice((1, 1, 1, 2, 3)))]

    def refused(self, act: Any) -> str | None:
        """The name of the error that it is answered with; then nothing may have happened."""
        try:
            act()
        except QueueError as error:
            self.tally[f"answered with {type(error).__name__}"] += 1
            return type(error).__name__
        return None

    # -- what must always be so --------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Where a delay has jitter, take over what was drawn, if it may be drawn."""
        loose = [job for job in self.model.jobs.values() if job.run_at != job.latest]
        for job in loose:
            found = self.queue.job(job.id).run_at
            assert job.run_at - 1 <= found <= job.latest + 1, f"due at {found}: {job}"
            job.run_at = job.latest = found

    @invariant()
    def is_as_the_model_says(self) -> None:
        if not hasattr(self, "model"):
            return
        model = self.model
        self.settle()
        other = self.queues[0] if getattr(self, "queue", None) is self.queues[1] else self.queues[1]
        db = database(other)
        # One moment for all of it, as a snapshot.
        db.execute("begin")
        try:
            records = [Recorded(*row) for row in db.execute(
                "select seq, stream, version, type, v, at, actor, data from events where seq > ? order by seq",
                (self.head,),
            )]  # fmt: skip
            found = {table: [*db.execute(sql)] for table, sql in TABLES.items()}
        finally:
            db.execute("commit")
        self.is_next(records)
        expected: dict[str, list[tuple[object, ...]]] = {
            "jobs": [job.row() for job in model.jobs.values()],
            "counts": [(*key, jobs) for key, jobs in model.counts().items()],
            "attempts": [
                (job.id, each.number, each.worker, each.lease, each.outcome, each.cause)
                for job in model.jobs.values()
                for each in job.attempts
            ],
            "workers": [(w.id, w.state, int(w.stop_now), w.version) for w in model.workers.values()],
            "secrets": [(job.id, *pair) for job in model.jobs.values() for pair in job.values.items()],
            "config": [*model.config.items()],
            **model.flow(),
        }
        for table, rows in expected.items():
            more, less = Counter(found[table]), Counter(rows)
            assert more == less, f"{table}: has {[*(more - less)]}, should have {[*(less - more)]}"
        self.compared = True

    def is_next(self, records: list[Recorded]) -> None:
        """The events that were added are those the model expects, without gaps, each transaction later than before."""
        assert [record.seq for record in records] == [*range(self.head + 1, self.head + 1 + len(records))]
        self.log += records
        self.head += len(records)
        for record in records:
            # The moments by which was decided: those in the log never go back.
            event = {"stream": record.stream, "type": record.type, "at": text(self.model.now)}
            self.law.take(event | {"data": json.loads(record.data)})
        assert not self.law.faults, self.law.faults
        self.tally.update(record.type for record in records)
        found: list[tuple[int, list[tuple[str, int, str]]]] = []
        for record in records:
            if not found or found[-1][0] != record.at:
                found.append((record.at, []))
            found[-1][1].append((record.stream, record.version, record.type))
        expected, self.model.transactions = self.model.transactions, []
        added, wanted = ([(at, sorted(events)) for at, events in each] for each in (found, expected))
        assert added == wanted, f"added {added}, should have added {wanted}"
        assert self.head == self.model.head

    def scatter(self, gone: list[str]) -> None:
        """What the model has last added came in several transactions, of which it knows none; these streams are gone.

        Of all but these streams the log keeps every event.
        """
        found = [*self.queue.events(after=self.head)]
        added = sorted((record.stream, record.version, record.type) for record in found)
        wanted = [event for _, events in self.model.transactions for event in events]
        assert added == sorted(wanted), f"added {added}, should have added {sorted(wanted)}"
        self.model.transactions = []
        for record in found:
            if record.at != self.model.at or not self.model.transactions:
                self.model.transactions.append((record.at, []))
            self.model.transactions[-1][1].append((record.stream, record.version, record.type))
            self.model.at = record.at
        self.log = [record for record in self.log if record.stream not in gone]

    def teardown(self) -> None:
        if not hasattr(self, "model"):
            return
        try:
            if self.compared:
                self.told += self.queues[0].events(after=self.told[-1].seq if self.told else 0)
                there = {record.seq for record in self.log}
                assert [record for record in self.told if record.seq in there] == self.log
                assert_every_fold_agrees(self.queues[1])
                assert [*self.law.too_many_starts()] == []
        finally:
            for each, _, _ in self.rescuers:
                each.abandon()
            for sim in self.sims.values():
                if sim.lock is not None:
                    sim.lock.close()
            for queue in self.queues:
                queue.close()
            shutil.rmtree(os.path.dirname(self.path))


def held(lease: Lease) -> Held:
    return Held(lease.job, lease.attempt, lease.version)


def database(queue: Queue) -> Any:
    """The queue's own connection."""
    assert isinstance(queue.engine, SqliteEngine)
    return queue.engine._db
