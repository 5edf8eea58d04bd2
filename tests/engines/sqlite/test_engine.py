"""SQLite: no code drops its locks, forks are safe, the WAL stays small (R6, R7, R8)."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import apsw
import pytest

from queuectl import Queue, Spec
from queuectl.engines.sqlite.engine import SqliteEngine
from queuectl.errors import Unusable
from tests.support.engine_actions import add, claim, report
from tests.support.paths import ROOT


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "q.db"


def run(script: str, *args: object) -> list[str]:
    """The lines that a script printed in a process of its own, which must exit with 0 and leave stderr empty."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script, *map(str, args)],
        cwd=ROOT, capture_output=True, text=True, timeout=50,
    )  # fmt: skip
    assert (done.stderr, done.returncode) == ("", 0)
    return done.stdout.splitlines()


def pragma(queue: Queue, name: str) -> object:
    """A pragma of the queue's own connection."""
    assert isinstance(queue.engine, SqliteEngine)
    return queue.engine._db.pragma(name)


# -- what a commit survives ------------------------------------------------------------------------------------------


def test_commits_are_durable_unless_normal_is_configured(path: Path) -> None:
    with Queue(path) as queue:
        assert (pragma(queue, "journal_mode"), pragma(queue, "synchronous")) == ("wal", 2)
        queue.set_config("synchronous", "normal")
    with Queue(path) as queue:
        assert (pragma(queue, "journal_mode"), pragma(queue, "synchronous")) == ("wal", 1)
        queue.set_config("synchronous", None)
    with Queue(path) as queue:
        assert pragma(queue, "synchronous") == 2


def test_deleted_data_is_overwritten(path: Path) -> None:
    with Queue(path) as queue:
        assert pragma(queue, "secure_delete") == 1


def test_a_killed_process_loses_nothing_that_was_acknowledged(path: Path) -> None:
    script = """
import os, sys
from queuectl import Queue
queue = Queue(sys.argv[1])
for n in range(50):
    print(queue.enqueue("true"), flush=True)
os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", script, str(path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == -9
    with Queue(path) as queue:
        assert [job.id for job in queue.jobs()] == done.stdout.split()
        assert queue.check() == []


def test_a_transaction_excludes_other_writers_from_its_beginning(path: Path) -> None:
    """Other programs don't use the gate; what was read must still hold when it is written."""
    with Queue(path) as queue:
        stranger = apsw.Connection(str(path))
        with queue.engine.transaction(), pytest.raises(apsw.BusyError):
            stranger.execute("begin immediate")
        stranger.execute("begin immediate")
        stranger.close()


# -- R6 --------------------------------------------------------------------------------------------------------------


def test_only_sqlite_opens_the_database_files(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing any other descriptor of them would drop SQLite's locks, and then acknowledged commits vanish."""
    (tmp_path / "input").write_text("x")
    opened: list[str] = []

    def watch(event: str, args: tuple[object, ...]) -> None:
        if watching and event in ("open", "os.truncate", "os.rename", "os.remove", "os.link", "shutil.copyfile"):
            opened.extend(os.path.abspath(os.fsdecode(arg)) for arg in args[:2] if isinstance(arg, str | bytes))

    watching = True
    sys.addaudithook(watch)  # os.open, io.open and open alike
    try:
        with Queue(path) as queue:
            queue.enqueue_many(["true", "false"])
            queue.enqueue("cat", id="a", stdin=str(tmp_path / "input"), env={"K": "v"})
            for _, lease in claim(queue.engine, "w"):
                report(queue.engine, lease, "exit" if lease.job == "a" else None)
            queue.cancel("a")
            queue.retry("a", "1")
            assert [*queue.jobs(), *queue.events(), *queue.all_attempts()]
            queue.history("a")
            queue.status()
            queue.set_config("timeout", "5")
            queue.cancel("a")
            queue.purge("a")
            queue.wait("2", timeout=1)
            queue.replay()
            assert queue.check() == []
            queue.engine.truncate_wal()
        with Queue(path) as queue:
            queue.enqueue("true")
    finally:
        watching = False
    assert any(name.startswith(f"{path}.d/") for name in opened), "the hook hears nothing"
    assert [name for name in opened if name in (f"{path}", f"{path}-wal", f"{path}-shm", f"{path}-journal")] == []


def test_closing_another_queue_drops_no_locks(path: Path) -> None:
    """Two connections in one process: closing one drops no lock of the other (as a foreign descriptor would)."""
    with Queue(path) as queue:
        queue.enqueue("true")
        inode = path.stat().st_ino

        def locks() -> list[str]:
            return [line for line in Path("/proc/locks").read_text().splitlines() if f":{inode} " in line]

        before = locks()
        assert before
        Queue(path).close()
        assert len(locks()) == len(before)


# -- R7 --------------------------------------------------------------------------------------------------------------

FORK = """
import gc, os, sys
from queuectl import Queue

def inherited():
    "How many descriptors of the database are open."
    links = (f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd"))
    return sum(os.path.realpath(link) == os.path.realpath(sys.argv[1]) for link in links if os.path.lexists(link))

queue = Queue(sys.argv[1])
acknowledged = [queue.enqueue("true") for _ in range(20)]
before = inherited()
assert before, "nothing to inherit"
pid = os.fork()
if pid == 0:
    CHILD
    sys.exit(0)
acknowledged += [queue.enqueue("true") for _ in range(50)]
assert os.waitpid(pid, 0)[1] == 0
acknowledged += [queue.enqueue("true") for _ in range(20)]
print(*acknowledged)
queue.close()
"""

CHILDREN = {
    "enqueues": "[queue.enqueue('false') for _ in range(50)]; queue.close()",
    "enqueues and exits": "[queue.enqueue('false') for _ in range(50)]",
    "does nothing": "pass",
    "closes": "queue.close()",
    "forgets": "del queue; gc.collect()",
    "opens its own": "Queue(sys.argv[1]).close()",
    "writes and forgets": "queue.enqueue('false'); del queue; gc.collect()",
    "reads": "queue.status(); queue.close()",
}


@pytest.mark.parametrize("child", CHILDREN)
def test_a_forked_child_loses_nothing_of_its_parents(path: Path, child: str) -> None:
    [line] = run(FORK.replace("CHILD", CHILDREN[child]), path)
    acknowledged = line.split()
    assert len(acknowledged) == len(set(acknowledged)) == 90
    with Queue(path) as queue:
        ids = {job.id for job in queue.jobs()}
        assert set(acknowledged) <= ids
        assert len(ids) == 90 + {"enqueues": 50, "enqueues and exits": 50, "writes and forgets": 1}.get(child, 0)
        assert queue.check() == []
        assert pragma(queue, "integrity_check") == "ok"


ORPHAN = """
import os, subprocess, sys
from queuectl import Queue

STRANGER = "import sqlite3, sys; db = sqlite3.connect(sys.argv[1]); list(db.execute('select * from jobs')); db.close()"
go, done = os.pipe(), os.pipe()
queue = Queue(sys.argv[1])
queue.enqueue("true")
if os.fork() == 0:
    os.read(go[0], 1)
    print(queue.enqueue("true"), flush=True)
    os.write(done[1], b"1")
    os.read(go[0], 1)
    print(queue.enqueue("true"), flush=True)
    os._exit(0)
queue.close()
os.write(go[1], b"1")
os.read(done[0], 1)
subprocess.run([sys.executable, "-c", STRANGER, sys.argv[1]], check=True)
os.write(go[1], b"1")
assert os.wait()[1] == 0
"""


def test_an_orphaned_forked_child_loses_nothing(path: Path) -> None:
    """The last connection to close removes the WAL, unless it sees the locks of other processes."""
    acknowledged = run(ORPHAN, path)
    with Queue(path) as queue:
        assert [job.id for job in queue.jobs()] == ["1", *acknowledged]


# -- R8 --------------------------------------------------------------------------------------------------------------


def test_an_idle_reader_does_not_hold_the_wal(path: Path) -> None:
    with Queue(path) as queue, Queue(path) as reader:
        queue.set_config("synchronous", "normal")
        queue.engine.set_durability("normal")
        queue.enqueue_many(["true"] * 3000)
        half = reader.events()
        jobs = reader.jobs()
        attempts = reader.all_attempts()
        seen = [next(half).seq for _ in range(1500)]
        assert len([next(jobs) for _ in range(1500)]) == 1500
        assert next(attempts, None) is None
        wal = Path(f"{path}-wal")
        largest = wal.stat().st_size
        for n in range(2000):
            add(queue.engine, f"j{n}")
            if n == 400:
                largest = wal.stat().st_size
        # A half-read cursor would make it grow with every transaction: here by 12 MB and more.
        assert wal.stat().st_size < max(largest, 8 << 20)
        # The reader goes on to where the log ended when it began.
        seen += [record.seq for record in half]
        assert seen == list(range(1, 3002))


def test_a_half_read_cursor_holds_the_wal(path: Path) -> None:
    """Shows that the test above can fail."""
    with Queue(path) as queue:
        queue.engine.set_durability("normal")
        queue.enqueue_many(["true"] * 3000)
        db = apsw.Connection(str(path))
        cursor = db.execute("select * from events")
        next(cursor)
        for n in range(2000):
            add(queue.engine, f"j{n}")
        assert Path(f"{path}-wal").stat().st_size > 8 << 20
        cursor.close()
        db.close()


def test_truncating_the_wal_waits_for_readers(path: Path) -> None:
    wal = Path(f"{path}-wal")
    with Queue(path) as queue, Queue(path) as other:
        queue.enqueue("true")
        assert wal.stat().st_size > 0
        with other.engine.snapshot() as view:
            view.head()
            queue.enqueue("true")
            queue.engine.truncate_wal()  # not now, and no error
        queue.engine.truncate_wal()
        assert wal.stat().st_size == 0
        assert queue.status().total == 2


def test_the_wal_stays_small_under_short_commands(path: Path) -> None:
    """Each opens and closes the database alone, as `queuectl enqueue` does."""
    most = 0
    for _ in range(300):
        with Queue(path) as queue:
            queue.enqueue("true")
        ahead = Path(f"{path}-wal")
        most = max(most, ahead.stat().st_size if ahead.exists() else 0)
    assert most < 2 << 20


def test_a_script_of_several_statements_runs_completely(path: Path) -> None:
    """apsw stops at the first row of a statement until it is taken: all of the schema must be there all the same."""
    with Queue(path):
        db = apsw.Connection(str(path))
        names = {name for (name,) in db.execute("select name from sqlite_master")}
        db.close()
    assert (
        set(
            "events events_of_stream events_no_update events_no_delete events_no_overwrite projection_state secrets"
            " jobs jobs_waiting jobs_waiting_by_queue jobs_claimed jobs_forced jobs_failed jobs_blocked jobs_ended"
            " attempts attempts_of_job counts workers workers_live config queues starts numbers".split()
        )
        <= names
    )


# -- what a claim costs ----------------------------------------------------------------------------------------------


def steps(queue: Queue, limit: int) -> int:
    """How many hundred instructions SQLite needs to find what may be claimed."""
    assert isinstance(queue.engine, SqliteEngine)
    count = 0

    def tick() -> bool:
        nonlocal count
        count += 1
        return False

    with queue.engine.transaction() as tx:
        queue.engine._db.set_progress_handler(tick, 100)
        tx.ready((), limit)
        tx.ready(("default",), limit)
        tx.next_due()
        queue.engine._db.set_progress_handler(None)
    return count


def test_a_claim_costs_the_same_beside_many_jobs(path: Path) -> None:
    with Queue(path) as queue:
        queue.enqueue("true", id="one")
        few = steps(queue, 1)
        queue.enqueue_many(["true"] * 2000)
        queue.cancel(*(str(n) for n in range(1, 1001)))
        queue.enqueue_many([Spec(command="true", priority=9, delay=3600.0)] * 2000)
        assert steps(queue, 1) < few + 20


def test_a_worker_checkpoints_outside_its_commits(path: Path) -> None:
    wal = Path(f"{path}-wal")
    with Queue(path) as queue:
        queue.engine.truncate_wal()
        queue.engine.set_worker("w1")
        queue.enqueue_many(["true"] * 15_000)
        ahead, whole = wal.stat().st_size, path.stat().st_size
        assert ahead > 4 << 20
        queue.enqueue("true")
        assert (wal.stat().st_size > ahead, path.stat().st_size) == (True, whole)

        queue.engine.checkpoint()

        assert path.stat().st_size > whole + (2 << 20)
        queue.enqueue("true")
        assert wal.stat().st_size <= 4 << 20, "it has begun anew"
        whole = path.stat().st_size
        queue.engine.checkpoint()
        assert path.stat().st_size == whole, "there is little to write back"


def test_the_wal_shrinks_after_a_reader_has_gone(path: Path) -> None:
    wal = Path(f"{path}-wal")
    with Queue(path) as queue:
        queue.enqueue("true")
        reader = apsw.Connection(str(path))
        reader.execute("begin; select count(*) from events").fetchall()
        for _ in range(4):
            queue.enqueue_many(["true"] * 7_500)
        assert wal.stat().st_size > 8 << 20
        reader.execute("commit")
        reader.close()

        queue.enqueue_many(["true"] * 5_000)
        queue.enqueue("true")

        assert wal.stat().st_size <= 4 << 20


@pytest.mark.parametrize("make", [os.mkdir, lambda path: os.symlink("/etc/hostname", path)], ids=["folder", "link"])
def test_a_special_high_water_file_is_refused(path: Path, make: Callable[[Path], None]) -> None:
    Queue(path).close()
    note = path.parent / "q.db.d" / "high-water"
    make(note)
    with pytest.raises(Unusable, match=f"{note}: .*: remove it$"):
        Queue(path)


def test_a_fifo_as_high_water_file_blocks_nothing(path: Path) -> None:
    Queue(path).close()
    os.mkfifo(path.parent / "q.db.d" / "high-water")
    with Queue(path) as queue:
        assert queue.enqueue("true") == "1"


def test_who_reads_and_writes_is_told(path: Path) -> None:
    with Queue(path) as queue:
        engine = queue.engine
        assert os.getpid() not in engine.holders().writing
        with engine.transaction():
            assert os.getpid() in engine.holders().writing
        assert os.getpid() not in {*engine.holders().writing, *engine.holders().reading}
