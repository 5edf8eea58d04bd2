"""Random histories: commands that hypothesis draws, decided and folded in memory, exactly as a transaction does it."""

from random import Random
from typing import Any, NamedTuple

import msgspec
from hypothesis import strategies as st

from projections import evolve
from projections.jobs import FINAL, Job
from queuectl import decisions
from queuectl.clock import SECOND, text
from queuectl.decisions import Lease, Outcome, Stop
from queuectl.errors import Refused
from queuectl.events import (
    ConfigSet,
    Enqueued,
    Event,
    Heartbeat,
    HeldAttempt,
    Recorded,
    StopRequested,
    WorkerLost,
    WorkerStarted,
    WorkerStopped,
    encode,
)
from tests.support import ends

BEGIN = 1_800_000_000 * SECOND
CAUSES = (None, "exit", "signal", "timeout", "spawn", "lost", "output", "memory", "cancel")


class Command(NamedTuple):
    """One command with its arguments; fields that it does not use are ignored."""

    name: str
    job: int = 0
    worker: int = 0
    stale: int = 0
    """Which lease: 0 is the latest, 1 the one before it."""
    outcome: Outcome = Outcome()
    draw: float = 0.5
    policy: Enqueued = Enqueued(run_at=text(BEGIN), cwd="/", max_retries=3, backoff_base=2.0, backoff_max=60.0)
    passed: int = 1
    """Microseconds since the command before; the clock may also have gone back."""
    due: bool = True
    """Wait first until the job is due."""
    again: bool = False
    """Secrets are given anew, settings are taken back, a worker is asked to stop now, a job can't be started."""


class Step(NamedTuple):
    """The result of a command: its events or its refusal."""

    command: Command
    id: str
    before: Job | None
    lease: Lease | None
    events: list[Event]
    refusal: Refused | None
    after: Job | None


class World:
    """A log in memory with the subjects of its streams."""

    def __init__(self) -> None:
        self.log: list[Recorded] = []
        self.subjects: dict[str, object] = {}
        self.versions: dict[str, int] = {}
        self.leases: dict[str, list[Lease]] = {}
        self.ids: list[str] = []
        self.now = BEGIN

    def append(self, stream: str, events: list[Event]) -> None:
        """As one transaction: every event has the same moment, later than all before."""
        at = max(self.now, self.log[-1].at + 1 if self.log else 0)
        for event in events:
            version = self.versions.get(stream, 0) + 1
            record = Recorded(
                len(self.log) + 1, stream, version, event.type, event.v, at, "test", encode(event).decode()
            )
            self.subjects[stream] = evolve(self.subjects.get(stream), record, record.event)
            self.versions[stream] = version
            self.log.append(record)

    def job(self, id: str) -> Job | None:
        """The job as it is now."""
        found = self.subjects.get(f"job:{id}")
        assert found is None or isinstance(found, Job)
        return found

    def do(self, command: Command) -> Step | None:
        """Carry out a command; None where there is nothing that it could be meant for."""
        self.now = max(BEGIN, self.now + command.passed)
        if command.name in ("worker", "config"):
            self._other(command)
            return None
        if command.name == "enqueue":
            id = f"j{len(self.ids)}" if command.again else str(len(self.ids) + 1)
            self.ids.append(id)
            return self._decided(command, id, None, None)
        if not self.ids:
            return None
        id = self.ids[command.job % len(self.ids)]
        leases = self.leases.get(id, [])
        lease = leases[-1 - command.stale % len(leases)] if leases else Lease(id, 1, 2)
        before = self.job(id)
        return self._decided(command, id, before, lease) if before is not None else None

    def _decided(self, command: Command, id: str, before: Job | None, lease: Lease | None) -> Step:
        refusal, events = None, []
        try:
            events = self._decide(command, before, lease)
        except Refused as error:
            refusal = error
        self.append(f"job:{id}", events)
        after = self.job(id)
        if command.name == "claim" and after is not None and events:
            self.leases.setdefault(id, []).append(decisions.lease(after))
        return Step(command, id, before, lease, events, refusal, after)

    def _decide(self, command: Command, job: Job | None, lease: Lease | None) -> list[Event]:
        if job is None or lease is None:
            return decisions.enqueue(command.policy)
        secrets = ["TOKEN"] if command.again else None
        match command.name:
            case "claim":
                if command.due:
                    self.now = max(self.now, job.run_at)
                return decisions.claim(job, f"w{command.worker}", self.now, granted=job.policy.needs, home="here")
            case "report":
                return ends.report(job, lease, command.outcome, self.now, command.draw)
            case "release":
                return ends.release(job, lease, "not started in time", self.now, repeats=command.again)
            case "missing":
                return ends.refuse_to_run(job, lease, ["TOKEN"])
            case "cancel":
                return ends.cancel(job, "enough", "INT" if command.again else None)
            case "requeue":
                return decisions.requeue(job, self.now, secrets, "once more")
            case "edit":
                changed = {
                    "priority": command.worker,
                    "queue": command.policy.queue,
                    "timeout": 5.0,
                    "ok_codes": (0, 3),
                }
                if job.state == "processing":
                    changed = {"timeout": 5.0, "on_lost": "dead"}
                if job.state not in FINAL:  # what has ended is edited so where it is retried
                    decisions.refuse_uneditable(job, changed)
                return decisions.edit(job, msgspec.structs.replace(decisions.in_force(job), **changed))
            case "suspend":
                return decisions.suspend(job, by_pause=command.again)
            case "continue":
                return decisions.continue_(job)
            case "purge":
                return decisions.purge(job)
            case name:
                raise AssertionError(name)

    def _other(self, command: Command) -> None:
        """Append to a stream that is not a job's; `decisions` is not asked for these."""
        if command.name == "config":
            self.append("config", [ConfigSet(key="max-retries", value=None if command.again else str(command.worker))])
            return
        stream = f"worker:w{command.worker}"
        if stream not in self.subjects:
            started = WorkerStarted(
                host="here",
                pid=command.worker + 1,
                slots=2,
                queues=["a", "b"],
                boot_id="x",
                start_ticks=command.worker,
                private=command.again,
                max_load=4.0 if command.again else None,
                min_free_memory=1 << 30 if command.again else None,
                cgroup="/sys/fs/cgroup/a" if command.again else None,
            )
            self.append(stream, [started])
            return
        held = [HeldAttempt(id, job.attempt) for id in self.ids if (job := self.job(id)) and job.worker == stream[7:]]
        other: list[Event] = [
            Heartbeat(attempts=held),
            StopRequested(now=command.again, reason="enough"),
            WorkerStopped() if command.again else WorkerLost(reason="gone"),
        ]
        self.append(stream, [other[command.job % 3]])


SEEN: tuple[dict[str, Any], ...] = (
    {"exit_code": 0, "started_at": BEGIN + 1, "run_seconds": 0.25, "cpu_seconds": 0.125, "max_rss": 4096},
    {"signal": 9, "run_seconds": 2.0, "output_bytes": 10, "output_cut": 4, "limited_by": "cgroup"},
    {"error": "went wrong"},
    {"signal": 15, "stop": Stop("cli:ann@here", "the machine goes down")},
    {"exit_code": 1, "stop": Stop("cli:ann@here", job="1")},
    {},
)

USUAL = (*["claim", "report"] * 4, "release", "missing", "cancel", "requeue", "requeue", "edit", "purge")


def outcome(pick: Random) -> Outcome:
    """How an attempt may end."""
    return Outcome(cause=pick.choice(CAUSES), **pick.choice(SEEN))


def _policy(pick: Random) -> Enqueued:
    return Enqueued(
        command="make it so",
        queue=pick.choice(["default", "b"]),
        priority=pick.randint(-1, 1),
        run_at=text(BEGIN + pick.choice([0, 5 * SECOND])),
        cwd="/",
        secrets=pick.choice([(), (), ("TOKEN",)]),
        max_retries=pick.choice([0, 0, 1, 2]),
        backoff_base=pick.choice([1.0, 2.0, 1e6]),
        backoff_max=pick.choice([0.0, 60.0, 86400.0]),
        jitter=pick.choice([0.0, 0.5, 1.0]),
        on_lost=pick.choice(["retry", "dead"]),
        grace=pick.choice([0.0, 5.0, 120.0]),
        stop_signal=pick.choice(["TERM", "INT"]),
        no_retry_codes=pick.choice([(), (), (1,)]),
        needs=pick.choice([{}, {"gpu": 1}]),
    )


def _command(pick: Random, name: str) -> Command:
    return Command(
        name,
        job=pick.choice([0, 0, 1]),
        worker=pick.randint(0, 2),
        stale=pick.choice([0, 0, 0, 0, 1, 2]),
        outcome=outcome(pick),
        draw=pick.choice([0.0, 0.3, 0.999]),
        policy=_policy(pick),
        passed=pick.choice([1, 1, SECOND, -SECOND]),
        due=pick.random() < 0.8,
        again=pick.random() < 0.5,
    )


def commands(names: tuple[str, ...] = USUAL) -> st.SearchStrategy[list[Command]]:
    """Sequences of commands, long enough for a job to die in; the first is an enqueue, and few jobs get the rest.

    Drawn whole from a table of many, because to draw each part of each took longer than all that is tested.
    """
    pick = Random(26)
    first = [_command(pick, "enqueue") for _ in range(20)]
    rest = [_command(pick, name) for name in ("enqueue", *names * 2) for _ in range(20)]
    return st.builds(
        lambda first, rest: [first, *rest],
        st.sampled_from(first),
        st.lists(st.sampled_from(rest), min_size=20, max_size=60),
    )


def written(sequence: list[Command]) -> list[Recorded]:
    """The log that a sequence of commands leaves."""
    world = World()
    for command in sequence:
        world.do(command)
    return world.log


logs = commands((*USUAL, "worker", "config")).map(written)
"""Random logs with the events of jobs, workers and settings."""
