"""Upgrades: old queues keep their state, newer ones are refused untouched, a migration is atomic."""

import gzip
import os
import signal
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import apsw
import msgspec
import pytest

from projections import builtin
from queuectl import Queue, Spec
from queuectl.clock import monotonic
from queuectl.decisions import Outcome, Report
from queuectl.engines.sqlite import database
from queuectl.errors import Outdated, QueueError, Unusable
from queuectl.workers.turn import TurnWriter
from tests.support.paths import ROOT

DATA = ROOT / "tests" / "data"
OUR_TABLES = [table for projection in builtin() for table in projection.tables]

Tables = dict[str, list[tuple[Any, ...]]]


def sql(path: Path, *statements: str) -> list[tuple[Any, ...]]:
    """What another program does to the file; the rows of the last statement."""
    db = apsw.Connection(str(path))
    rows: list[tuple[Any, ...]] = []
    try:
        for statement in statements:
            rows = list(db.execute(statement))
    finally:
        db.close()
    return rows


def tables(path: Path, *names: str) -> Tables:
    """Every row of these tables, as any program finds them."""
    return {name: sorted(sql(path, f"select * from {name}"), key=repr) for name in names or OUR_TABLES}


def contents(path: Path) -> dict[str, bytes]:
    """The files of a database that nobody has open, apart from the WAL index, which means nothing then."""
    return {
        each.name: each.read_bytes()
        for each in path.parent.iterdir()
        if each.is_file() and not each.name.endswith("-shm") and each.stat().st_size
    }


def refused(path: Path, kind: type[QueueError]) -> str:
    """The message with which it is not opened, and not a byte of it changed."""
    before = contents(path)
    with pytest.raises(kind) as caught:
        Queue(path)
    assert caught.value.exit_code == 4
    assert contents(path) == before
    return str(caught.value)


# -- a queue of version 1 --------------------------------------------------------------------------------------------


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """The kept queue (see data/make_v1.py)."""
    path = tmp_path / "q.db"
    path.write_bytes(gzip.decompress((DATA / "queue_v1.sqlite3.gz").read_bytes()))
    path.chmod(0o600)
    return path


def answered(expected: Any, found: Any) -> None:
    """All that was answered then is answered now; there may be more."""
    if isinstance(expected, dict):
        for key, value in expected.items():
            answered(value, found[key])
    elif isinstance(expected, list):
        assert len(found) == len(expected)
        for one, other in zip(expected, found, strict=True):
            answered(one, other)
    else:
        assert found == expected


def is_as_it_was(queue: Queue) -> None:
    with queue.engine.snapshot() as view:
        config = view.config()
    jobs = list(queue.jobs())
    found = {
        "status": queue.status().json(),
        "jobs": {job.id: msgspec.to_builtins(job) for job in jobs},
        "attempts": {job.id: msgspec.to_builtins(queue.attempts(job.id)) for job in jobs},
        "workers": {worker.id: msgspec.to_builtins(worker) for worker in queue.workers(all=True)},
        "config": config.values if config is not None else {},
        "dead": sorted(queue.dead()),
    }
    expected = msgspec.json.decode((DATA / "queue_v1.json").read_bytes())
    expected["dead"].sort()
    for job in expected["jobs"].values():
        job["policy"] = job.pop("spec")  # the library's name for it then
    assert set(found["jobs"]) == set(expected["jobs"])
    answered(expected, found)
    assert b"".join(r.json() + b"\n" for r in queue.events()) == (DATA / "queue_v1.ndjson").read_bytes()
    assert queue.check() == []


def test_an_old_queue_gives_the_same_answers(old: Path) -> None:
    before = tables(old, "events", "secrets")
    with Queue(old) as queue:
        is_as_it_was(queue)
        queue.replay()
        is_as_it_was(queue)
    assert tables(old, "events", "secrets") == before


def test_an_old_queues_tables_equal_a_new_fold(old: Path) -> None:
    Queue(old).close()
    healed = tables(old, *OUR_TABLES)
    sql(old, *(f"drop table {table}" for table in OUR_TABLES), "delete from projection_state")
    with Queue(old) as queue:
        is_as_it_was(queue)
    assert tables(old, *OUR_TABLES) == healed


def test_old_workers_have_no_start_time(old: Path) -> None:
    with Queue(old) as queue:
        assert {(worker.start_ticks, worker.private) for worker in queue.workers(all=True)} == {(None, False)}


def test_an_old_queue_keeps_working(old: Path) -> None:
    with Queue(old) as queue:
        last = int(max((job.id for job in queue.jobs() if job.id.isdecimal()), key=int))
        assert int(queue.enqueue("true")) == last + 1
        writer = TurnWriter(queue, "w3", (), "0123456789abcdef")
        writer.start(1)
        ids = {job.id for state in ("pending", "failed") for job in queue.jobs(state=state)}
        ran: set[str] = set()
        while claims := writer.turn((), (), 10).claims:
            reports = [Report(claim.lease, Outcome(exit_code=0)) for claim in claims]
            assert not writer.turn(reports, (), 0).fenced
            ran |= {claim.lease.job for claim in claims}
        assert ran == ids
        assert {job.worker for job in queue.jobs(state="processing")} == {"w2"}
        queue.retry(*queue.dead())
        assert queue.check() == []


def test_an_old_queues_jobs_keep_their_secret_values(old: Path) -> None:
    kept = dict(sql(old, "select job, count(*) from secrets group by job"))
    assert kept
    with Queue(old) as queue:
        for id, values in kept.items():
            assert len(queue.job(id).secrets) == values
            with queue.engine.transaction() as tx:
                assert len(tx.secrets(id)) == values


# -- a queue of a later version --------------------------------------------------------------------------------------


@pytest.fixture
def newer(old: Path) -> Path:
    """To be made newer; part of it lies in the WAL."""
    with Queue(old) as queue:
        queue.enqueue_many(["true"] * 20)
    assert os.stat(f"{old}-wal").st_size > 0
    return old


def test_a_newer_schema_is_refused_untouched(newer: Path) -> None:
    sql(newer, f"pragma user_version = {database.SCHEMA + 1}")
    assert f"schema version {database.SCHEMA + 1}, this queuectl knows {database.SCHEMA}" in refused(newer, Unusable)


def test_a_backup_with_newer_schema_is_refused_untouched(newer: Path) -> None:
    """`vacuum into` makes a file without a WAL, which we would otherwise switch to one."""
    backup = newer.parent / "backup" / "q.db"
    backup.parent.mkdir()
    sql(newer, f"pragma user_version = {database.SCHEMA + 1}", f"vacuum into '{backup}'")
    backup.chmod(0o600)
    assert sql(backup, "pragma journal_mode") == [("delete",)]
    assert "schema version" in refused(backup, Unusable)
    assert not Path(f"{backup}-wal").exists()


@pytest.mark.parametrize("name", [projection.name for projection in builtin()])
def test_a_newer_projection_is_refused_untouched(newer: Path, name: str) -> None:
    """Also where others are older, missing or late, which this program could otherwise mend."""
    others = [projection.name for projection in builtin() if projection.name != name]
    sql(
        newer,
        f"update projection_state set version = version + 1 where name = '{name}'",
        f"update projection_state set version = 0 where name = '{others[0]}'",
        f"delete from projection_state where name = '{others[1]}'",
    )
    assert f"upgraded by a newer queuectl (projection {name!r}): restart" in refused(newer, Outdated)


@pytest.mark.parametrize(
    "type, v", [("paused", 1), ("claimed", 9)], ids=["an event that is not known", "a later form of one that is"]
)
def test_an_unfolded_newer_event_is_refused_untouched(newer: Path, type: str, v: int) -> None:
    sql(
        newer,
        f"insert into events (stream, version, type, v, at, actor, data) "
        f"select 'job:argv', max(version) + 1, '{type}', {v}, 0, 'x', '{{}}' from events where stream = 'job:argv'",
    )
    assert f"an event of type {type!r} version {v} was written by a newer queuectl" in refused(newer, Outdated)


def test_a_folded_newer_event_stops_replay_and_check(newer: Path) -> None:
    sql(
        newer,
        "insert into events (stream, version, type, v, at, actor, data) values ('pool:a', 1, 'mixed', 1, 0, 'x', '{}')",
        "update projection_state set seq = (select max(seq) from events)",
    )
    before = tables(newer)
    with Queue(newer) as queue:
        assert list(queue.events())[-1].type == "mixed"
        for fold in (queue.replay, queue.check):
            with pytest.raises(Outdated, match="written by a newer queuectl"):
                fold()
        assert tables(newer) == before
        queue.enqueue("true")


# -- a migration that is killed --------------------------------------------------------------------------------------

OPEN = """
import os, signal, sys
import apsw

class Disk(apsw.VFS):
    # Kills its process at write number `left`, before it is done or in the middle of it.
    def __init__(self, left):
        super().__init__("deadly", "unix", makedefault=True)
        self.left = left
    def xOpen(self, name, flags):
        return File(self, name, flags)

class File(apsw.VFSFile):
    def __init__(self, disk, name, flags):
        super().__init__("unix", name, flags)
        self.disk = disk
    def xWrite(self, data, offset):
        self.disk.left -= 1
        if self.disk.left == 0:
            super().xWrite(data[: len(data) // 2], offset)
            os.kill(os.getpid(), signal.SIGKILL)
        super().xWrite(data, offset)

disk = Disk(int(sys.argv[2]))
from queuectl import Queue
print("opening", flush=True)
Queue(sys.argv[1]).close()
print(-disk.left, flush=True)
"""
"""Opens the database, which rebuilds what is of an older version; says how many writes that took (0 for the limit)."""

EVENTS = 5_000


def build(path: Path) -> None:
    """A log of about 5,000 events."""
    with Queue(path) as queue:
        queue.engine.set_durability("normal")
        writer = TurnWriter(queue, "w", (), "0" * 16)
        writer.start(1)
        pick = Random(3)
        while queue.status().seq < EVENTS:
            queue.enqueue_many([Spec(command="true", queue=pick.choice("ab"), max_retries=0) for _ in range(500)])
            claims = writer.turn((), (), 480).claims
            causes = [pick.choice((None, None, "exit")) for _ in claims]
            writer.turn([Report(c.lease, Outcome(cause=x)) for c, x in zip(claims, causes, strict=True)], (), 0)
        queue.engine.truncate_wal()


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A queue whose tables are of an older version: a rebuild is due, and can be told from what was."""
    path = tmp_path_factory.mktemp("long") / "q.db"
    build(path)
    sql(
        path,
        "update projection_state set version = 0 where name in ('jobs', 'attempts', 'counts')",
        "update counts set jobs = jobs + 1000",
        "update attempts set worker = 'old'",
        "create index of_the_old_version on jobs (command)",
        "pragma wal_checkpoint(truncate)",
    )
    return path


def copy(path: Path, folder: Path) -> Path:
    """A copy of a database that nobody has open and that lies wholly in its file."""
    target = folder / "q.db"
    for suffix in ("-wal", "-shm"):
        Path(f"{target}{suffix}").unlink(missing_ok=True)
    target.write_bytes(path.read_bytes())
    target.chmod(0o600)
    return target


def opening(path: Path, limit: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", OPEN, str(path), str(limit)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


class States:
    """What there was before the migration, and what there is after it."""

    def __init__(self, path: Path, folder: Path) -> None:
        self.old = self.of(copy(path, folder))
        process = opening(folder / "q.db", 0)
        assert process.stdout is not None
        assert process.stdout.readline() == "opening\n"
        began = monotonic()
        said, _ = process.communicate(timeout=50)
        self.seconds = monotonic() - began
        assert process.returncode == 0
        self.writes = int(said.split()[-1])
        self.new = self.of(folder / "q.db")
        assert self.new != self.old

    def of(self, path: Path) -> object:
        schema = sorted(sql(path, "select name, sql from sqlite_master where name not like 'sqlite_%'"), key=repr)
        return tables(path, *OUR_TABLES, "events", "projection_state"), schema

    def is_whole(self, path: Path) -> bool:
        """Whether it is the new state; what is neither fails. Either is then opened and is healed."""
        found = self.of(path)
        assert found in (self.old, self.new)
        with Queue(path) as queue:
            assert queue.check() == []
        assert self.of(path) == self.new
        return found == self.new


def test_a_migration_killed_at_any_write_is_atomic(long: Path, tmp_path: Path) -> None:
    states = States(long, tmp_path)
    assert states.writes > 100
    pick = Random(5)
    last = states.writes
    points = sorted({1, 2, 3, 4, last - 2, last - 1, last, *(pick.randint(5, last) for _ in range(7))})
    found: list[bool] = []
    for point in points:
        process = opening(copy(long, tmp_path), point)
        process.communicate(timeout=50)
        assert process.returncode == -signal.SIGKILL, point
        found.append(states.is_whole(tmp_path / "q.db"))
    assert found[0] is False
    assert found == sorted(found)


def test_a_migration_killed_at_any_moment_is_atomic(long: Path, tmp_path: Path) -> None:
    states = States(long, tmp_path)
    pick = Random(6)
    killed = 0
    for _ in range(7):
        process = opening(copy(long, tmp_path), 0)
        assert process.stdout is not None
        assert process.stdout.readline() == "opening\n"
        try:
            process.wait(pick.random() * states.seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            killed += 1
        process.communicate(timeout=50)
        states.is_whole(tmp_path / "q.db")
    assert killed
