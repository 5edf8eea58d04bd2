"""A job's life as a script of acknowledged steps, and the judgement of what is left of it after a fault."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import apsw

from queuectl import Queue
from queuectl.decisions import Lease, Outcome, Report
from queuectl.engines.sqlite import database
from queuectl.errors import Unusable
from queuectl.workers.chores.heartbeat import heartbeat_of
from queuectl.workers.turn import Claim, Release, TurnWriter

Dump = dict[str, list[tuple[Any, ...]]]
"""Every row of every table."""

WORKER = "w1"
DONE = Outcome(exit_code=0, run_seconds=0.5)
FAILED = Outcome(cause="exit", exit_code=7, run_seconds=0.5, error="no luck " * 200)


class Life:
    """The queue, its worker, and what that holds. `path` is of the database, which the first step makes."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.opened: Queue | None = None
        self.claims: dict[str, Claim] = {}

    @property
    def queue(self) -> Queue:
        """Opened where it is not (a fault may have kept us from it)."""
        if self.opened is None:
            self.opened = Queue(self.path, actor="torture")
        return self.opened

    @property
    def writer(self) -> TurnWriter:
        return TurnWriter(self.queue, WORKER, (), "identity")

    def open(self) -> None:
        assert self.queue.url == self.path

    def close(self) -> None:
        if self.opened is not None:
            opened, self.opened = self.opened, None
            opened.close()

    def claim(self, want: int) -> None:
        turn = self.writer.turn([], [], want)
        self.claims.update({claim.job.id: claim for claim in turn.claims})

    def report(self, *ends: tuple[str, Outcome | None], want: int = 0, beat: bool = False) -> None:
        """Report how claimed jobs ended, None: given back; and claim the next."""
        reports = [Report(self.claims[id].lease, end) for id, end in ends if end is not None]
        releases = [Release(self.claims[id].lease, "not started") for id, end in ends if end is None]
        gone = {id for id, _ in ends}
        holding: list[Lease] = [claim.lease for id, claim in self.claims.items() if id not in gone]
        heartbeat = heartbeat_of(holding) if beat and holding else None
        turn = self.writer.turn(reports, releases, want, holding=holding, heartbeat=heartbeat, look=True)
        assert not turn.fenced
        for id in gone:
            del self.claims[id]
        self.claims.update({claim.job.id: claim for claim in turn.claims})

    def stop(self) -> None:
        """The worker says that it is through; where it can't, the loop would leave that to recovery."""
        if not self.writer.stop("drained"):
            raise Unusable("the worker's end was not written")

    def leave(self) -> None:
        """Close as one who finds the WAL grown does: it is written back and removed."""
        limit = database.WAL_LIMIT
        database.WAL_LIMIT = 0
        try:
            self.close()
        finally:
            database.WAL_LIMIT = limit


def add(life: Life) -> None:
    life.queue.enqueue("exit 7", id="a", max_retries=1, backoff_max=0, secrets={"TOKEN": "secret"}, priority=5)


def add_many(life: Life) -> None:
    life.queue.enqueue_many([f"echo {'x' * 300} {number}" for number in range(8)])


STEPS: tuple[tuple[str, Callable[[Life], object], str], ...] = (
    ("make the database", Life.open, ""),
    ("store a setting", lambda life: life.queue.set_config("max-retries", "2"), ""),
    ("enqueue a", add, "a=pending"),
    ("enqueue 1 to 8", add_many, "a=pending 1=pending 8=pending"),
    ("a worker starts", lambda life: life.writer.start(2), ""),
    ("claim a and 1", lambda life: life.claim(2), "a=processing 1=processing 2=pending"),
    ("a fails and is claimed again", lambda life: life.report(("a", FAILED), want=1), "a=processing 1=processing"),
    ("write the log back", lambda life: life.queue.engine.truncate_wal(), "a=processing"),
    ("a fails for good", lambda life: life.report(("a", FAILED)), "a=dead 1=processing"),
    ("cancel 2, which waits", lambda life: life.queue.cancel("2", reason="not needed"), "2=cancelled"),
    ("cancel 1, which runs", lambda life: life.queue.cancel("1"), "1=processing"),
    (
        "1 has ended by that, heartbeat",
        lambda life: life.report(("1", Outcome(cause="cancel", signal=15)), want=2, beat=True),
        "1=cancelled 3=processing 4=processing",
    ),
    ("3 completes, 4 is given back", lambda life: life.report(("3", DONE), ("4", None)), "3=completed 4=pending"),
    ("retry a from the dead letter queue", lambda life: life.queue.retry("a"), "a=pending"),
    ("claim a", lambda life: life.claim(1), "a=processing"),
    ("a completes", lambda life: life.report(("a", DONE)), "a=completed"),
    ("purge 2", lambda life: life.queue.purge("2"), "2=None"),
    ("fold the log anew", lambda life: life.queue.replay(), "a=completed 2=None"),
    ("take the setting back", lambda life: life.queue.set_config("max-retries", None), "a=completed"),
    ("the worker stops", Life.stop, ""),
    ("close and write the log back", Life.leave, "a=completed 1=cancelled 2=None 3=completed 4=pending"),
    ("open again", Life.open, "a=completed"),
    ("enqueue z", lambda life: life.queue.enqueue("true", id="z"), "a=completed z=pending"),
)
"""What is done, how, and what jobs are in which state afterwards."""


def dump(queue: Queue) -> Dump:
    """All that the database holds, at one moment."""
    db: apsw.Connection = queue.engine._db  # type: ignore[attr-defined]
    with queue.engine.snapshot():
        tables = [
            name
            for (name,) in db.execute("select name from sqlite_master where type = 'table' and name <> 'file_mark'")
        ]
        return {name: sorted(db.execute(f'select * from "{name}"'), key=repr) for name in tables}


def gist(rows: Dump) -> list[tuple[Any, ...]]:
    """Of a dump what is the same in every run: which events, in which order; and which jobs, in which states."""
    return [row[1:4] for row in rows["events"]] + [tuple(row) for row in rows["counts"]]


def states(queue: Queue) -> dict[str, str]:
    """The state of every job."""
    return {job.id: job.state for job in queue.jobs()}


def contradiction(queue: Queue, expected: str) -> str | None:
    """What the script says of the jobs and is not so."""
    found = states(queue)
    for word in expected.split():
        id, _, state = word.partition("=")
        if str(found.get(id)) != state:
            return f"job {id} is {found.get(id)}, not {state}"
    return None


def judge(path: str, allowed: list[Any], key: Callable[[Dump], Any] = lambda rows: rows) -> tuple[list[str], int]:
    """Open what is left with the ordinary engine; say what is wrong with it, and which of `allowed` it is (or -1).

    `key` makes of all its rows what is compared.
    """
    wrong: list[str] = []
    with Queue(path, actor="heir") as queue:
        db: apsw.Connection = queue.engine._db  # type: ignore[attr-defined]
        if (said := db.pragma("integrity_check")) != "ok":
            wrong.append(f"integrity_check: {said}")
        if db.pragma("journal_mode") != "wal":
            wrong.append("not in WAL mode")
        wrong += queue.check()
        now = key(dump(queue))
        which = next((number for number, rows in enumerate(allowed) if rows == now), -1)
        if which < 0:
            wrong.append(f"in no state it may be in: {difference(now, allowed)}")
        queue.enqueue("true", id="heir")
    with Queue(path, actor="heir") as queue:
        if queue.job("heir").state != "pending":
            wrong.append("what was enqueued afterwards is not there")
        wrong += queue.check()
    return wrong, which


def difference(now: Any, allowed: list[Any]) -> str:
    """How it differs from the last state that is allowed."""
    last = allowed[-1]
    if not isinstance(now, dict):
        return f"{now} is not {last}"
    return ", ".join(
        f"{name}: {len(now.get(name, ()))} rows, {len(last.get(name, ()))} expected"
        for name in sorted({*now, *last})
        if now.get(name) != last.get(name)
    )


def lay_out(folder: Path, files: dict[str, bytes]) -> str:
    """Make a folder with these files (and an empty database where they have none); returns the database's path."""
    folder.mkdir()
    for name, data in files.items():
        (folder / name).write_bytes(data)
    for name in os.listdir(folder):
        os.chmod(folder / name, 0o600)
    return str(folder / "q.db")
