"""A real queue on which random commands of users, workers and archivers are carried out."""

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

from projections.dependencies import DEPENDENCY_KINDS
from projections.jobs import FINAL
from queuectl import Queue, Spec, on_empty
from queuectl.admission import UNSTARTED
from queuectl.audit.archive import archive
from queuectl.audit.import_log import rebuild
from queuectl.audit.seal import seal
from queuectl.clock import now
from queuectl.decisions import Outcome, Report
from queuectl.engines.view import Write
from queuectl.errors import Invalid, Refused
from queuectl.events import Recorded, StopRequested, WorkerLost
from queuectl.workers.chores.heartbeat import heartbeat_of
from queuectl.workers.turn import Claim, Release, TurnWriter
from tests.support.histories import outcome

QUEUES = ("default", "b", "c")
SETTINGS = {"max-retries": ("0", "1"), "timeout": ("5", "7m"), "on-lost": ("retry", "dead"), "jitter": ("0", "0.5")}
SETTINGS |= {"grace": ("0", "2m"), "on-dead": ("page", "page twice"), "on-empty": ("rest", "rest twice")}
CALLBACKS: list[dict[str, Any]] = [
    {}, {}, {"on_end": "end"}, {"on_failure": "failure"}, {"on_complete": "complete", "on_end": "end"},
    {"on_complete": "complete", "on_failure": "failure", "on_end": "end"},
]  # fmt: skip


class RandomQueue:
    """A queue, and the workers on it with what they hold. Every command takes what it needs from a random number."""

    def __init__(self, folder: Path, place: Callable[[str], str] | None = None) -> None:
        """`place` is the URL for a database of this name; left out, the path of a file in the folder."""
        self.folder = folder
        self._place = place or (lambda name: str(folder / name))
        self.queue = self._open("q.db")
        self._born = 0
        self._archives = 0
        self._held: dict[str, list[Claim]] = {}

    def _open(self, name: str) -> Queue:
        queue = Queue(self._place(name), actor="test")
        queue.engine.set_durability("normal")
        return queue

    def close(self) -> None:
        self.queue.close()

    def do(self, dice: int, *, related: bool = False) -> list[Recorded]:
        """Carry out one command, most often of a worker, and return what it added to the log.

        `related`: one that has to do with dependencies and batches.
        """
        head = self.queue.status().seq
        pick = Random(dice)
        users = (
            *(self.enqueue, self.enqueue, self.cancel, self.retry, self.retry, self.edit, self.purge, self.configure),
            *(self.cancel, self.hold, self.hold, self.limit, self.supply, self.pause, self.suspend, self.schedule),
            self.note,
        )
        workers = (self.start, self.ask_to_stop, self.stop, self.lose, self.turn, self.turn, self.cascade)
        archivers = (self.seal, self.archive, self.archive, self.move)
        [commands] = pick.choices((users, workers, (self.turn,), archivers), (5, 2, 4, 1))
        if related:
            commands = (self.enqueue, self.retry, self.turn, self.turn, self.turn, self.cascade, self.cancel, *commands)
        pick.choice(commands)(pick)
        return list(self.queue.events(after=head))

    # -- users -------------------------------------------------------------------------------------------------------

    def enqueue(self, pick: Random) -> None:
        environ = {"QUEUECTL_KEEP_ENV": pick.choice(("none", "LANG")), "LANG": pick.choice(("C", "de", "en"))}
        with mock.patch.dict(os.environ, environ), suppress(Refused):  # it would never start, or its batch is halted
            self.queue.enqueue_many([self._spec(pick) for _ in range(pick.randint(1, 4))])

    def _spec(self, pick: Random) -> Spec:
        return Spec(
            command="true",
            id=pick.choice((None, f"job-{self.queue.status().seq}-{pick.randrange(10**9)}")),
            queue=pick.choice(QUEUES),
            priority=pick.randint(-1, 1),
            delay=pick.choice((None, None, None, 3600.0)),
            max_retries=pick.choice((None, 0, 1)),
            backoff_max=0.0,
            no_retry_codes=pick.choice((None, None, (1,))),
            secrets=pick.choice(({}, {}, {"TOKEN": "x"})),
            held=pick.random() < 0.2,
            needs=pick.choice(({}, {}, {"gpu": 1}, {"lock": 1, "mem": 1})),
            slots=pick.choice((1, 1, 1, 2)),
            tags=pick.choice(({}, {}, {"exp": "3"}, {"exp": "4", "urgent": ""})),
            **pick.choice(CALLBACKS),
            **self._relations(pick),
        )

    def _relations(self, pick: Random) -> dict[str, Any]:
        """On which other jobs or batches it depends, or the batch that it joins."""
        batches = [batch.name for batch in self.queue.batches()]
        match pick.choice(("none", "none", "after", "join")):
            case "after":
                return self._dependencies(pick)
            case "join":
                rules = ("soon,fail=1", "now,fail=2", "soon,done=4", None)
                name = pick.choice((*batches, "new" if "new" not in batches else f"b{len(batches)}"))
                return {"batch": name, "halt": pick.choice(rules) if name not in batches else None}
            case _:
                return {}

    def _dependencies(self, pick: Random) -> dict[str, Any]:
        left = [job.id for job in self.queue.jobs(state=(*UNSTARTED, "processing"))]
        others = [f"batch:{batch.name}" for batch in self.queue.batches()]
        others += left if len(left) > 1 and pick.random() < 0.7 else [job.id for job in self.queue.jobs()]
        kind = pick.choice(("after", "after", "after_any", "after_failure"))
        return {kind: tuple(pick.sample(others, min(len(others), pick.randint(1, 3))))}

    def note(self, pick: Random) -> None:
        if ids := [job.id for job in self.queue.jobs()]:
            self.queue.note("halfway", pick.choice(ids))

    def hold(self, pick: Random) -> None:
        """Hold, release or start jobs that wait."""
        states = ("pending", "failed")
        change = pick.choice((self.queue.hold, self.queue.release, self.queue.start))
        change(*self._ids(pick, states), among=states)

    def suspend(self, pick: Random) -> None:
        """Suspend what runs, or let it go on."""
        states = ("processing",)
        self.queue.suspend(*(ids := self._ids(pick, states)), among=states)
        if pick.random() < 0.7:
            self.queue.continue_(*ids, among=states)

    def limit(self, pick: Random) -> None:
        """Change the limits of a queue."""
        queue = pick.choice(QUEUES)
        self.queue.limit(queue, concurrency=pick.choice((1, 3, None)), pause_on_failure=pick.random() < 0.2)
        self.queue.limit(queue, rate=pick.choice(("1000/s", "1/ms", None)))

    def supply(self, pick: Random) -> None:
        """Say how much there is of a resource, or take it back."""
        match pick.choice(("gpu", "gpu", "mem", "unset")):
            case "gpu":
                self.queue.set_resource("gpu", indices=pick.choice(("0-1", "2", "0,3-4")))
            case "mem":
                self.queue.set_resource("mem", pick.choice((2, 4)))
            case _:
                self.queue.unset_resource("gpu")

    def pause(self, pick: Random) -> None:
        """Pause a queue, or all, for a moment or for good; most often resume it."""
        queue = pick.choice((*QUEUES, None))
        if pick.random() < 0.5:
            self.queue.pause(queue, seconds=pick.choice((None, 0.001)), suspend=pick.random() < 0.5)
        with suppress(Refused):  # all are paused
            self.queue.resume(pick.choice((queue, *QUEUES)))

    def schedule(self, pick: Random) -> None:
        """Add a schedule, or have one enqueue, change or go."""
        schedules = self.queue.schedules
        names = [each.name for each in schedules.summaries()]
        if not names or pick.random() < 0.2:
            with suppress(Refused):  # there is one of this name
                spec = Spec(command="true", queue=pick.choice(QUEUES), secrets=pick.choice(({}, {"TOKEN": "x"})))
                schedules.add(pick.choice("st"), spec, every=1, overlap="allow", pause_on_failure=pick.random() < 0.3)
            return
        changes: list[Callable[[str], object]] = [
            *(schedules.run, schedules.fire, schedules.pause, schedules.resume, schedules.remove),
            lambda name: schedules.backfill(name, now() - 2_000_000),
            lambda name: schedules.edit(name, terms={"every": pick.choice((1, 2))}, priority=pick.randint(0, 1)),
        ]
        pick.choice(changes)(pick.choice(names))

    def cancel(self, pick: Random) -> None:
        states = ("pending", "blocked", "failed", "processing", "dead")
        self.queue.cancel(*self._ids(pick, states), among=states, signal=pick.choice((None, "INT", 9)))

    def retry(self, pick: Random) -> None:
        changes: list[dict[str, Any]] = [{}, {"secrets": {"TOKEN": "y"}}, {"command": "false", "priority": 2}]
        changes += [
            {"grace": 2.0, "stop_signal": "INT"},
            {"ok_codes": (3,), "no_retry_codes": (1,)},
            {"tags": {"exp": "5"}},
        ]
        batches = [batch.name for batch in self.queue.batches()]
        with suppress(Refused):  # values of secret variables are missing, or it would never start
            if batches and pick.random() < 0.4:
                self.queue.retry(batch=pick.choice(batches), cascade=pick.random() < 0.5)
                return
            cascade = pick.random() < 0.3
            self.queue.retry(*self._ids(pick, sorted(FINAL)), among=FINAL, cascade=cascade, **pick.choice(changes))

    def edit(self, pick: Random) -> None:
        """Change jobs in what can be changed of them as they are, the queue among it."""
        waiting: list[dict[str, Any]] = [{"queue": queue} for queue in QUEUES]
        waiting += [{"priority": 3}, {"argv": ("true",)}, {"timeout": 5.0, "queue": "b"}, {"delay": 0.0}]
        waiting += [{"secrets": {"TOKEN": "z", "KEY": "k"}}, {"on_end": "edited", "on_complete": None}]
        running: list[dict[str, Any]] = [{"timeout": None}, {"max_retries": 2, "on_lost": "dead"}, {"on_end": "late"}]
        ended: list[dict[str, Any]] = [{"tags": {"exp": "6"}, "whole": ("tags",)}]
        phases = ((UNSTARTED, waiting), (UNSTARTED, waiting), (("processing",), running), (FINAL, ended))
        states, fields = pick.choice(phases)
        self.queue.edit(*self._ids(pick, sorted(states)), among=states, **pick.choice(fields))
        blocked = [job.id for job in self.queue.jobs(state="blocked")]
        with suppress(Refused, Invalid):  # it would never start, or wait for itself
            for id in pick.sample(blocked, min(1, len(blocked)) if pick.random() < 0.3 else 0):
                others: dict[str, Any] = dict.fromkeys(DEPENDENCY_KINDS, ())
                self.queue.edit(id, **others | (self._dependencies(pick) if pick.random() < 0.5 else {}))

    def purge(self, pick: Random) -> None:
        with suppress(Refused):  # its dependants were left for later
            self.queue.purge(*self._ids(pick, sorted(FINAL)), among=FINAL)

    def configure(self, pick: Random) -> None:
        key = pick.choice([*SETTINGS])
        self.queue.set_config(key, pick.choice((None, *SETTINGS[key])))

    def _ids(self, pick: Random, states: Sequence[str]) -> list[str]:
        """Some jobs of one of these states."""
        ids = [job.id for job in self.queue.jobs(state=pick.choice(states))]
        return pick.sample(ids, min(len(ids), pick.randint(1, 3)))

    # -- workers -----------------------------------------------------------------------------------------------------

    def start(self, pick: Random) -> None:
        self._born += 1
        self._writer(id := f"w{self._born}").start(pick.randint(1, 4))
        self._held[id] = []

    def turn(self, pick: Random) -> None:
        """Report some of what a worker holds, give some back, and claim more."""
        if not self._held:
            self.start(pick)
        id = pick.choice([*self._held])
        held, kept, reports, releases = self._held[id], [], [], []
        for claim in held:
            match pick.choice(("report", "report", "keep", "release")):
                case "report":
                    reports.append(Report(claim.lease, outcome(pick)))
                case "release":
                    releases.append(Release(claim.lease, "not started in time", repeats=pick.random() < 0.2))
                case _:
                    kept.append(claim)
        turn = self._turn(id, reports, releases, pick.randint(0, 4), kept, heartbeat=pick.random() < 0.3)
        self._held[id] = [*kept, *turn.claims]

    def cascade(self, pick: Random) -> None:
        """Do a part of what was left for later, as the worker's chore does it."""
        with self.queue.engine.transaction() as tx, on_empty.coming_to_rest(tx, "worker:any"):
            tx.cascade("worker:any")

    def let_go(self) -> list[Recorded]:
        """Let everything start that waits, and complete it, until nothing is left; what that added to the log."""
        head = self.queue.status().seq
        self.queue.resume()
        for queue in QUEUES:
            self.queue.resume(queue)
            self.queue.limit(queue, concurrency=None, rate=None)
        for resource in ("gpu", "mem", "lock"):
            self.queue.set_resource(resource, 100)
        for id in [*self._held]:
            self._turn(id, [], [Release(claim.lease, "it stops") for claim in self._held.pop(id)])
        self._writer("last").start(8)
        last = -1
        while last < (last := self.queue.status().seq):
            self.queue.cascade()
            self.queue.release(*(job.id for job in self.queue.jobs(state=("pending", "failed", "blocked"))))
            self.queue.start(*(job.id for job in self.queue.jobs(state=("pending", "failed"))))
            claims = self._turn("last", [], want=8).claims
            self._turn("last", [Report(claim.lease, Outcome(exit_code=0)) for claim in claims])
        return list(self.queue.events(after=head))

    def ask_to_stop(self, pick: Random) -> None:
        with self.queue.engine.transaction() as tx:
            for worker in pick.sample(workers := tx.workers(), min(1, len(workers))):
                tx.append([Write(f"worker:{worker.id}", worker, [StopRequested(now=pick.random() < 0.5)])], "test")

    def stop(self, pick: Random) -> None:
        """A worker gives back what it holds, and stops."""
        for id in pick.sample([*self._held], min(1, len(self._held))):
            self._turn(id, [], [Release(claim.lease, "it stops") for claim in self._held.pop(id)])
            self._writer(id).stop("drained")

    def lose(self, pick: Random) -> None:
        """A worker is found dead: its attempts are lost, then it is."""
        for id in pick.sample([*self._held], min(1, len(self._held))):
            lost = Outcome(cause="lost")
            self._turn(id, [Report(claim.lease, lost) for claim in self._held.pop(id)])
            with self.queue.engine.transaction() as tx:
                tx.append([Write(f"worker:{id}", tx.worker(id), [WorkerLost(reason="gone")])], "test")

    def _turn(
        self,
        id: str,
        reports: Sequence[Report],
        releases: Sequence[Release] = (),
        want: int = 0,
        kept: Sequence[Claim] = (),
        heartbeat: bool = False,
    ) -> Any:
        holding = [claim.lease for claim in kept]
        beat = heartbeat_of(holding) if heartbeat and holding else None
        return self._writer(id).turn(reports, releases, want, holding=holding, heartbeat=beat)

    def _writer(self, id: str) -> TurnWriter:
        return TurnWriter(self.queue, id, (), "")

    # -- the log -----------------------------------------------------------------------------------------------------

    def seal(self, pick: Random) -> None:
        seal(self.queue)

    def archive(self, pick: Random) -> None:
        """Archive what had ended by a moment of the log."""
        moments = [now(), *(record.at for record in self.queue.events())]
        states = pick.choice((FINAL, FINAL, {"completed"}, {"dead", "cancelled"}))
        self._archives += 1
        archive(self.queue, str(self.folder / f"{self._archives}.gz"), pick.choice(moments), states)

    def move(self, pick: Random) -> None:
        """Go on in a new database, into which the log was taken; secret values stay behind."""
        if self.queue.status().seq:
            self._archives += 1
            name = f"{self._archives}.db"
            rebuild(self.queue, self._place(name))
            self.queue.close()
            self.queue = self._open(name)
