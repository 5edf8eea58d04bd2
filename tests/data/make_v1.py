"""How the kept queue of version 1 was made: `python tests/data/make_v1.py FOLDER` in a checkout of that version.

It leaves `queue_v1.sqlite3.gz` (the database as the program closed it), `queue_v1.ndjson` (its events as they are
shown) and `queue_v1.json` (what was answered to questions about it). What stands beside this file is kept for ever and
opened by every later version; made again by a later one, it would prove nothing.
"""

import gzip
import os
import sys
import tempfile
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import msgspec

sys.path.insert(0, str(Path(__file__).parents[2]))

from queuectl import Queue, clock, decisions
from queuectl.clock import SECOND
from queuectl.decisions import Outcome, Report
from queuectl.engines.view import Write
from queuectl.events import Heartbeat, HeldAttempt, StopRequested, WorkerLost, WorkerStarted, WorkerStopped
from queuectl.job_fields import Spec
from queuectl.workers.chores.heartbeat import heartbeat_of
from queuectl.workers.turn import Claim, TurnWriter
from tests.support import ends

BEGIN = clock.micros("2026-11-24T09:00:00Z")
IDENTITY = "0123456789abcdef"


class Maker:
    """A queue in which something of everything happens."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self.pick = Random(1)
        self.held: dict[str, list[Claim]] = {}

    def event(self, worker: str, event: Any, actor: str) -> None:
        with self.queue.engine.transaction() as tx:
            tx.append([Write(f"worker:{worker}", tx.worker(worker), [event])], actor)

    def start(self, worker: str, **more: Any) -> None:
        started = WorkerStarted(
            host="old", pid=70, boot_id="b", pid_namespace="4026531836", machine_id="m", identity=IDENTITY, **more
        )
        self.event(worker, started, f"worker:{worker}")
        self.held[worker] = []

    def turn(self, worker: str, outcomes: tuple[Outcome, ...] = (), want: int = 0, release: int = 0) -> None:
        """Report on what has been held longest, give some back, claim more."""
        held = self.held[worker]
        reports = [Report(claim.lease, outcome) for claim, outcome in zip(held, outcomes, strict=False)]
        del held[: len(reports)]
        self.give_back(worker, held[:release])
        del held[:release]
        writer = TurnWriter(self.queue, worker, (), IDENTITY)
        holding = [claim.lease for claim in held]
        beat = heartbeat_of(holding) if holding else None
        held += writer.turn(reports, (), want, holding=holding, heartbeat=beat).claims

    def give_back(self, worker: str, claims: list[Claim]) -> None:
        with self.queue.engine.transaction() as tx:
            for claim in claims:
                job = tx.job(claim.job.id)
                assert job is not None
                events = ends.release(job, claim.lease, "not started in time")
                tx.append([Write(f"job:{job.id}", job, events)], f"worker:{worker}")

    def outcome(self, cause: str | None) -> Outcome:
        pick = self.pick
        return Outcome(
            cause=cause,
            exit_code={None: 0, "exit": 3}.get(cause),
            signal=9 if cause in ("signal", "timeout") else None,
            started_at=clock.now() - SECOND // 2,
            run_seconds=round(pick.random() * 3, 6),
            cpu_seconds=round(pick.random(), 6),
            max_rss=pick.choice((None, 4 << 20)),
            output_bytes=pick.randrange(9999),
            output_cut=pick.choice((None, None, 5000)),
            error="no such program" if cause == "spawn" else None,
        )


def live(queue: Queue) -> None:
    """A day in its life."""
    make = Maker(queue)
    queue.set_config("max-retries", "2", reason="trial")
    queue.set_config("jitter", "0.25")
    queue.enqueue("true; echo 'grüße'", id="plain", cwd="/home/ann", reason="why not")
    queue.enqueue(
        ["sh", "-c", "exit 3"], id="argv", cwd="/", queue="mail", priority=7, max_retries=1, backoff_base=1.5,
        backoff_max=60.0, jitter=0.0, timeout=None, on_lost="dead", keep_children=True,
        env={"TOKEN": "t-1", "KEY": "k"},
    )  # fmt: skip
    queue.enqueue("sleep 1", id="later", cwd="/", delay=3600)
    queue.enqueue_many([Spec(command=f"echo {n}", cwd="/", priority=n % 3 - 1) for n in range(30)])
    make.start("w1", slots=2, queues=["default", "mail"])
    make.start("w2", slots=8)
    make.start("watch", slots=0)
    for causes in ((), (None, "exit"), (None, "signal", "timeout"), ("spawn", "output", None), ("exit",) * 6):
        make.turn("w1", tuple(map(make.outcome, causes)), want=6)
        make.turn("w2", tuple(map(make.outcome, causes)), want=3, release=1)
    queue.cancel(make.held["w1"][0].job.id, reason="too slow")
    queue.cancel("later", next(queue.jobs(state="pending")).id)
    make.turn("w1", (make.outcome("cancel"), make.outcome("lost")))
    queue.set_config("jitter", None, reason="enough of it")
    dead = queue.dead()
    queue.retry(*dead[:2], reason="once more")
    done = [job.id for job in queue.jobs(state="completed") if not job.secrets]
    queue.retry(done[0], env={"TOKEN": "t-2"})
    queue.purge(*done[1:3], reason="clean up")
    make.turn("w2", (make.outcome(None),), want=4)
    with queue.engine.transaction() as tx:  # w1 dies, and what it held is recovered
        jobs = tx.jobs_of("w1")
        writes = [
            Write(f"job:{j.id}", j, ends.report(j, decisions.lease(j), make.outcome("lost"), tx.now, 0.5)) for j in jobs
        ]
        writes.append(Write("worker:w1", tx.worker("w1"), [WorkerLost(reason="process 70 is gone")]))
        tx.append(writes, "recovery:w2")
    make.event("w2", Heartbeat(attempts=[HeldAttempt(job="31", attempt=1)]), "worker:w2")
    make.event("watch", StopRequested(now=True, reason="home time"), "cli:ann@old")
    make.event("watch", WorkerStopped(reason="asked to"), "worker:watch")


def answers(queue: Queue) -> dict[str, Any]:
    """What a later version must say as well: `projections.jobs.Job` and the others, field by field."""
    jobs = list(queue.jobs())
    with queue.engine.snapshot() as view:
        config = view.config()
    return {
        "status": queue.status().json(),
        "jobs": {job.id: msgspec.to_builtins(job) for job in jobs},
        "attempts": {job.id: msgspec.to_builtins(queue.attempts(job.id)) for job in jobs},
        "workers": {worker.id: msgspec.to_builtins(worker) for worker in queue.workers(all=True)},
        "config": config.values if config is not None else {},
        "dead": queue.dead(),
    }


def main(target: Path) -> None:
    """Make the three files in the folder."""
    moment = BEGIN

    def now() -> int:
        nonlocal moment
        moment += 700_000
        return moment

    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch("queuectl.clock.now", now),
        mock.patch("random.random", Random(2).random),
        mock.patch.dict(os.environ, {"PATH": "/usr/bin:/bin"}, clear=True),
    ):
        path = Path(folder, "q.db")
        with Queue(path, actor="cli:ann@old") as queue:
            live(queue)
            assert queue.check() == []
            target.joinpath("queue_v1.ndjson").write_bytes(b"".join(r.json() + b"\n" for r in queue.events()))
            target.joinpath("queue_v1.json").write_bytes(msgspec.json.format(msgspec.json.encode(answers(queue))))
            queue.engine.truncate_wal()
        target.joinpath("queue_v1.sqlite3.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
