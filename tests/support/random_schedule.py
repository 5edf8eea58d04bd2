"""A real queue with all that can keep a job from starting, to which random things happen."""

import shlex
import tempfile
import time
from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import Self
from unittest.mock import patch

from projections.jobs import FINAL, Job
from queuectl import Queue, Spec, amounts, clock, host_limits
from queuectl.admission import WAITING
from queuectl.clock import SECOND
from queuectl.decisions import Outcome, Release, Report
from queuectl.errors import Refused
from queuectl.host_limits import UNLIMITED, HostLimits
from queuectl.workers.turn import Claim, TurnWriter
from tests.support.supply import Supply

BEGIN = 1_800_000_000 * SECOND


class RandomSchedule:
    """A queue, and all that happens to it. Workers take real turns and have no processes.

    All that happens follows from its number: time passes only as it says.
    """

    def __init__(self, number: int) -> None:
        self.pick = Random(number)
        self.tally: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self.folder = tempfile.TemporaryDirectory(dir="/dev/shm")
        self.now = BEGIN
        self.clock = patch.object(time, "time_ns", lambda: self.now * 1000)
        self.clock.start()
        self.queue = Queue(f"{self.folder.name}/q.db", actor="test")
        self.queue.engine.set_durability("normal")
        self.identity = self.queue.home.identity()
        self.workers: dict[str, tuple[TurnWriter, int, tuple[str, ...]]] = {}
        self.there = Supply()
        self.load = 0.0
        self.limited: set[str] = set()
        """The workers that claim nothing while the load is 4 or more."""
        self.host = patch.object(host_limits, "load", lambda: self.load)
        self.host.start()
        self.held: dict[str, list[Claim]] = {}
        self.born = 0
        self.writer("probe", ()).start(0)
        for what in (self.enqueue, self.enqueue, self.start):
            what(self.pick)
        return self

    def __exit__(self, *_: object) -> None:
        self.queue.close()
        self.clock.stop()
        self.host.stop()
        self.folder.cleanup()

    def step(self) -> None:
        pick = self.pick
        often = (self.turn,) * 6 + (self.free,) * 3 + (self.enqueue, self.start, self.pass_time) * 2
        people = (self.change, self.hold, self.hold, self.limit, self.limit, self.pause, self.supply, self.supply)
        pick.choice((*often, *people, self.stop, self.fill_disk, self.burden))(pick)

    def writer(self, id: str, queues: tuple[str, ...]) -> TurnWriter:
        return TurnWriter(self.queue, id, queues, self.identity)

    def enqueue(self, pick: Random) -> None:
        spec = Spec(
            command="true",
            queue=pick.choice(("a", "a", "b")),
            priority=pick.choice((0, 0, 0, 1, -1)),
            delay=pick.choice((None, None, None, None, None, 5.0, 3600.0)),
            max_retries=pick.choice((0, 2, 5)),
            backoff_base=pick.choice((1.0, 10.0)),
            needs=pick.choice(({}, {}, {}, {"gpu": 1}, {"gpu": 2}, {"lock": 1}, {"mem": 3}, {"gpu": 1, "mem": 2})),
            slots=pick.choice((1, 1, 1, 1, 2)),
            on_end=pick.choice((None, None, None, "true")),
        )
        try:
            self.queue.enqueue_many([spec] * pick.choice((1, 2)))
        except Refused:
            assert any(self.there.most(name) < need for name, need in spec.needs.items())
            self.queue.enqueue(spec, held=True)
            self.tally["more than exists"] += 1

    def supply(self, pick: Random) -> None:
        """A person says how much there is of a resource."""
        name = pick.choice(("gpu", "gpu", "mem"))
        much = pick.choice((None, "0-1", "0-2", "1", "0,2-3") if name == "gpu" else (None, 2, 3, 5))
        self.set_resource(name, much)

    def set_resource(self, name: str, much: int | str | None) -> None:
        if much is None:
            self.queue.unset_resource(name)
        elif isinstance(much, str):
            self.queue.set_resource(name, indices=much)
        else:
            self.queue.set_resource(name, much)
        self.there.set[name] = amounts.indices(much) if isinstance(much, str) else much

    def start(self, pick: Random) -> None:
        if len(self.workers) < 3:
            offers = pick.choice(({}, {}, {}, {"gpu": "4-5"}, {"mem": 4}))
            limits = pick.choice((UNLIMITED, UNLIMITED, HostLimits(max_load=4.0)))
            self.start_worker(pick.choice(((), ("a",), ("b",), ("a", "b"))), pick.choice((1, 2)), offers, limits)

    def start_worker(
        self,
        queues: tuple[str, ...],
        slots: int,
        offers: Mapping[str, int | str] = {},
        limits: HostLimits = UNLIMITED,
    ) -> None:
        self.born += 1
        id = f"w{self.born}"
        self.workers[id] = self.writer(id, queues), slots, queues
        self.held[id] = []
        self.workers[id][0].start(slots, resources=offers, limits=limits)
        self.there.offers[id] = offers
        self.limited |= {id} if limits else set()

    def stop(self, pick: Random) -> None:
        if self.workers:
            id = pick.choice(list(self.workers))
            writer, _, _ = self.workers.pop(id)
            writer.turn([], [Release(claim.lease, "it stops") for claim in self.held.pop(id)], 0)
            writer.stop("asked to")
            del self.there.offers[id]

    def turn(self, pick: Random) -> None:
        """A worker reports some of what it holds, and claims for the slots that are free then."""
        if not self.workers:
            return
        id = pick.choice(list(self.workers))
        writer, slots, _ = self.workers[id]
        ended = [claim for claim in self.held[id] if pick.random() < 0.5]
        given_back = [claim for claim in self.held[id] if claim not in ended and pick.random() < 0.2]
        stay = [claim for claim in self.held[id] if claim not in (*ended, *given_back)]
        outcomes = [Outcome(exit_code=0, run_seconds=2.0), Outcome(cause="exit", exit_code=1, run_seconds=1.0)]
        reports = [Report(claim.lease, pick.choice(outcomes)) for claim in ended]
        holding = [claim.lease for claim in stay]
        free = slots - sum(claim.job.policy.slots for claim in stay) if not self.holds_back(id) else 0
        self.held[id] = stay
        releases = [Release(claim.lease, "no memory", repeats=True) for claim in given_back]
        claims = writer.turn(reports, releases, free, holding=holding, look=True).claims
        assert sum(claim.job.policy.slots for claim in claims) <= free
        for claim in claims:
            self.check_grants(claim)
            self.held[id].append(claim)

    def waiting(self) -> list[Job]:
        return list(self.queue.jobs(state=WAITING))

    def granted(self) -> list[Claim]:
        return [claim for claims in self.held.values() for claim in claims if claim.granted]

    def check_grants(self, claim: Claim) -> None:
        """It has what it needs, of what there is, and nobody else has any of it."""
        needs = claim.job.policy.needs
        assert claim.granted.keys() == needs.keys()
        for name, given in claim.granted.items():
            assert (given if isinstance(given, int) else len(given)) == needs[name]
            assert needs[name] <= self.there.free(name, self.granted())
            if not isinstance(given, int):
                held = [each for other in self.granted() for each in self.there.pieces(other, name)]
                there = self.there.pool(name)
                assert isinstance(there, tuple)
                assert given == tuple(piece for piece in there if piece not in held)[: needs[name]], "lowest first"
            self.tally[f"granted {name}"] += 1

    def change(self, pick: Random) -> None:
        """A person cancels or retries a job."""
        jobs = list(self.queue.jobs())
        if over := [job for job in jobs if job.state in FINAL]:
            self.queue.retry(pick.choice(over).id)
        elif live := [job for job in jobs if job.state not in FINAL]:
            self.queue.cancel(pick.choice(live).id)

    def hold(self, pick: Random) -> None:
        """A person holds, releases or starts a job that waits."""
        if jobs := self.waiting():
            pick.choice((self.queue.hold, self.queue.release, self.queue.start))(pick.choice(jobs).id)

    def limit(self, pick: Random) -> None:
        """A person changes the limits of a queue."""
        name = pick.choice(("a", "a", "b"))
        self.queue.limit(name, pause_on_failure=pick.random() < 0.3)
        if pick.random() < 0.4:
            self.queue.limit(name, concurrency=pick.choice((1, 1, 2, None)))
        else:
            self.queue.limit(name, rate=pick.choice(("10/m", "5/h", "5/h", None)))
            if self.queue.queue(name).state.rate is not None:
                self.queue.limit(name, burst=pick.choice((1, 1, 2, 4)))

    def pause(self, pick: Random) -> None:
        """A person pauses a queue, or all, or resumes what is paused."""
        name = pick.choice(("a", "b", None))
        if not self.queue.queue(name).is_paused:
            self.queue.pause(name, seconds=pick.choice((None, 30.0)))
        elif name is None or not self.queue.queue(None).is_paused:
            self.queue.resume(name)

    def pass_time(self, pick: Random) -> None:
        """Some time passes, or all until a job is due, or nearly all."""
        due = [job.run_at - clock.now() for job in self.waiting() if job.run_at > clock.now()]
        micros = pick.choice((1, SECOND, 60 * SECOND, 700 * SECOND, 700 * SECOND, *due, *(each - 1 for each in due)))
        self.now += micros

    def fill_disk(self, pick: Random) -> None:
        self.queue.set_config("disk-floor", pick.choice(("900T", None, None)))

    def burden(self, pick: Random) -> None:
        self.load = pick.choice((0.0, 3.9, 4.0, 8.0))

    def holds_back(self, worker: str) -> bool:
        return worker in self.limited and self.load >= 4

    def free(self, pick: Random) -> None:
        """What the first reason of a job names is done: the reason goes."""
        named = [(job, each[0]) for job in self.waiting() if (each := self.queue.reasons(job.id)) and each[0].frees]
        if named:
            kind = pick.choice(sorted({reason.kind for _, reason in named}))
            job, reason = pick.choice([each for each in named if each[1].kind == kind])
            assert reason.frees is not None
            match shlex.split(reason.frees):
                case ["queuectl", "config", "set", key, value]:
                    self.queue.set_config(key, value)
                case ["queuectl", "worker", "start", "--queue", name]:
                    self.start_worker((name,), 1)
                case ["queuectl", "worker", "start", "--queue", name, "--slots", slots]:
                    self.start_worker((name,), int(slots))
                case ["queuectl", "worker", "start", "--queue", name, "--resource", offer]:
                    self.start_worker((name,), 1, amounts.offers([offer]))
                case ["queuectl", "resource", "set", name, "--indices", pieces]:
                    self.set_resource(name, pieces)
                case ["queuectl", "resource", "set", name, much]:
                    self.set_resource(name, int(much))
                case ["queuectl", "start", id]:
                    self.queue.start(id)
                case ["queuectl", "release", id]:
                    self.queue.release(id)
                case ["queuectl", "resume", *names]:
                    self.queue.resume(*names)
                case ["queuectl", "queue", "set", name, "--concurrency", jobs]:
                    self.queue.limit(name, concurrency=int(jobs))
                case ["queuectl", "queue", "set", name, "--rate", "none"]:
                    self.queue.limit(name, rate=None)
                case command:
                    raise AssertionError(command)
            # A further worker may start one before it, and keep its slots for the next: the same command once more. And
            # what is kept for another job is so until that one has started, for which nothing is in the way now.
            left = [(each.kind, each.frees, each.behind) for each in self.queue.reasons(job.id)]
            if (reason.kind, reason.frees, reason.behind) in left:
                before = [each.kind for id in reason.behind for each in self.queue.reasons(id)]
                assert (reason.kind, {*before} - {"priority"}) == ("busy", set()), reason
                assert reason.behind, reason
            self.tally[f"freed {reason.kind}"] += 1
