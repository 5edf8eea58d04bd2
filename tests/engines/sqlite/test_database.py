"""SQLite: the file is made once, another program's is left unchanged, and the log can only grow (R5, R9)."""

import hashlib
import os
import random
import stat
import subprocess
import sys
import time
from pathlib import Path

import apsw
import pytest

from queuectl import Queue
from queuectl.engines.sqlite import database
from queuectl.errors import Outdated, Unusable
from tests.support.paths import ROOT


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "q.db"


def raw(path: Path, *statements: str) -> list[list[tuple[object, ...]]]:
    """What another program does to the file (apsw is the same SQLite as ours, so our locks are safe)."""
    db = apsw.Connection(str(path))
    try:
        return [list(db.execute(statement)) for statement in statements]
    finally:
        db.close()


def fingerprint(folder: Path) -> dict[str, tuple[str, float]]:
    """Every file below a folder with its content and the time of its last change."""
    return {
        str(file.relative_to(folder)): (hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_mtime)
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


# -- append-only -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "statement",
    [
        "update events set data = '{}'",
        "update events set at = at + 1 where seq = 1",
        "update or ignore events set seq = 99 where seq = 1",
        "delete from events",
        "delete from events where seq = 2",
        "insert or replace into events select 1, 'job:x', 1, type, v, at, actor, data from events where seq = 1",
        "insert or replace into events select 99, stream, version, type, v, at, actor, data from events where seq = 1",
        "replace into events select * from events where seq = 2",
        "insert into events select 1, 'job:x', 1, type, v, at, actor, data from events where seq = 1",
        "insert into events select 99, stream, version, type, v, at, actor, data from events where seq = 1",
        "insert into events select * from events where seq = 1 on conflict (seq) do update set data = 'x'",
    ],
)
@pytest.mark.parametrize("recursive", ["on", "off"])
def test_triggers_refuse_changes_of_the_log(path: Path, statement: str, recursive: str) -> None:
    with Queue(path) as queue:
        queue.enqueue_many(["true", "false"])
        before = list(queue.events())
        with pytest.raises(apsw.ConstraintError, match=r"append-only|moved on"):
            raw(path, f"pragma recursive_triggers = {recursive}", statement)
        assert list(queue.events()) == before


# -- ours or not -----------------------------------------------------------------------------------------------------


def test_the_first_page_has_the_application_id(path: Path) -> None:
    Queue(path).close()
    # Read after everything is closed (R6). The mark is in the file itself, not in the WAL alone.
    assert path.read_bytes()[68:72] == database.APPLICATION_ID.to_bytes(4, "big")
    assert raw(path, "pragma user_version") == [[(database.SCHEMA,)]]


def foreign(path: Path, *more: str) -> None:
    raw(path, *more, "create table notes (text)", "insert into notes values ('mine')")


@pytest.mark.parametrize("more", [(), ("pragma application_id = 7",), ("pragma user_version = 1",)])
def test_another_programs_database_is_refused_untouched(path: Path, more: tuple[str, ...]) -> None:
    foreign(path, *more)
    before = path.read_bytes()
    with pytest.raises(Unusable, match="another program's SQLite database") as error:
        Queue(path)
    assert "\n" not in str(error.value)
    assert path.read_bytes() == before
    assert raw(path, "select text from notes") == [[("mine",)]]


def test_a_foreign_application_id_is_refused(path: Path) -> None:
    raw(path, "pragma application_id = 7")
    with pytest.raises(Unusable, match="another program's"):
        Queue(path)


def test_another_programs_wal_is_left_as_it_is(path: Path) -> None:
    """Its -wal holds what its file does not have yet: neither may be written back, truncated or removed."""
    script = """
import os, sys, apsw
db = apsw.Connection(sys.argv[1])
for sql in ("pragma journal_mode = wal", "create table notes (text)"):
    list(db.execute(sql))
db.wal_checkpoint(mode=apsw.SQLITE_CHECKPOINT_FULL)
list(db.execute("insert into notes values ('only in the WAL')"))
os._exit(0)
"""
    subprocess.run([sys.executable, "-c", script, str(path)], check=True, timeout=30)
    assert Path(f"{path}-wal").stat().st_size > 0
    before = fingerprint(path.parent)
    with pytest.raises(Unusable, match="another program's"):
        Queue(path)
    after = fingerprint(path.parent)
    assert {name: after[name] for name in ("q.db", "q.db-wal", "q.db-shm")} == before
    assert raw(path, "select text from notes") == [[("only in the WAL",)]]


def test_a_newer_schema_is_refused_with_a_remedy(path: Path) -> None:
    Queue(path).close()
    raw(path, f"pragma user_version = {database.SCHEMA + 1}")
    with pytest.raises(Unusable, match=f"schema version {database.SCHEMA + 1}.*upgrade"):
        Queue(path)
    assert raw(path, "pragma user_version") == [[(database.SCHEMA + 1,)]]


@pytest.mark.parametrize("content", [b"hello, I am text\n" * 100, b"x", b"SQLite format 3\0" + b"\xff" * 4080])
def test_a_file_without_database_is_refused_untouched(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(Unusable) as error:
        Queue(path)
    assert error.value.exit_code == 4
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)
    assert path.read_bytes() == content


def test_an_overwritten_database_is_never_recreated(path: Path) -> None:
    with Queue(path) as queue:
        queue.enqueue("true")
        queue.engine.truncate_wal()
    damaged = bytearray(path.read_bytes())
    damaged[100:4096] = os.urandom(3996)
    path.write_bytes(damaged)
    for _ in range(2):
        with pytest.raises(Unusable):
            Queue(path)
    assert path.read_bytes() == damaged


def test_an_empty_file_becomes_ours(path: Path) -> None:
    path.touch(0o600)
    with Queue(path) as queue:
        assert queue.enqueue("true") == "1"


def test_a_directory_is_refused(path: Path) -> None:
    path.mkdir()
    with pytest.raises(Unusable, match="is a directory"):
        Queue(path)
    assert list(path.parent.iterdir()) == [path]


def test_an_old_sqlite_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "OLDEST_SQLITE", apsw.SQLITE_VERSION_NUMBER + 1)
    with pytest.raises(Unusable, match="too old: install apsw"):
        Queue(path)


def test_errors_have_the_exit_code_for_databases(path: Path) -> None:
    assert (Unusable.exit_code, Outdated.exit_code) == (4, 4)
    assert issubclass(Outdated, Unusable)


# -- first open ------------------------------------------------------------------------------------------------------


def test_twenty_simultaneous_first_opens_all_succeed(tmp_path: Path) -> None:
    script = """
import sys
from queuectl import Queue
for line in sys.stdin:
    with Queue(line.strip()) as queue:
        print(queue.enqueue("true", id=sys.argv[1]), flush=True)
"""
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, f"j{n}"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True,
        )
        for n in range(20)
    ]  # fmt: skip
    paths = [tmp_path / f"q{turn}.db" for turn in range(15)]
    for path in paths:
        for process in processes:
            assert process.stdin is not None
            process.stdin.write(f"{path}\n")
            process.stdin.flush()
        for n, process in enumerate(processes):
            assert process.stdout is not None
            assert process.stdout.readline() == f"j{n}\n", process.communicate(timeout=50)[1]
    assert [process.communicate(timeout=50)[1] for process in processes] == [""] * 20
    for path in paths:
        with Queue(path) as queue:
            assert queue.status().total == 20
            assert queue.check() == []


def test_a_half_made_database_is_made_again(path: Path) -> None:
    script = """
import os, sys
from queuectl import Queue
from queuectl.engines.sqlite import database
make = database._make
def half(db):
    def die(*_): os._exit(9)
    db.set_commit_hook(die)
    make(db)
database._make = half
Queue(sys.argv[1])
"""
    assert subprocess.run([sys.executable, "-c", script, str(path)], cwd=ROOT, timeout=30).returncode == 9
    with Queue(path) as queue:
        assert queue.enqueue("true") == "1"


# -- modes -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_only_the_owner_may_read_whatever_the_umask(path: Path, umask: int, tmp_path: Path) -> None:
    (tmp_path / "input").write_text("x")
    script = f"""
import os, sys
from queuectl import Queue
os.umask({umask})
with Queue(sys.argv[1] + "/deep/er/q.db") as queue:
    queue.enqueue("true", stdin=sys.argv[1] + "/input")
    bell = queue.engine.listen("log")
    for folder, folders, files in os.walk(sys.argv[1] + "/deep"):
        for name in [*folders, *files]:
            print(oct(os.lstat(folder + "/" + name).st_mode), name)
    bell.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, timeout=30
    )
    assert done.stderr == ""
    modes = [line.split(" ", 1) for line in done.stdout.splitlines()]
    names = {name for _, name in modes}
    assert {"q.db", "q.db-wal", "q.db-shm", "q.db.d", "gate", "bells", "output", "stdin", "workers", "logs"} <= names
    for mode, name in modes:
        wanted = 0o700 if stat.S_ISDIR(int(mode, 8)) else 0o600
        assert stat.S_IMODE(int(mode, 8)) == wanted, name


WRITER = """
import sys
import time
from queuectl import Queue
with Queue(sys.argv[1]) as queue:
    print("up", flush=True)
    while True:
        queue.enqueue_many(["true"] * 500)
"""


def test_opening_succeeds_beside_a_writer_and_its_checkpoints(path: Path) -> None:
    """A checkpoint writes the first page, with a new size, before the others: whoever reads that alone sees damage."""
    Queue(path).close()
    with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"up\n"
        for _ in range(300):
            Queue(path).close()
        writer.kill()


def test_a_killed_checkpoint_leaves_a_database_that_opens(path: Path) -> None:
    for _ in range(12):
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"up\n"
            time.sleep(random.uniform(0.02, 0.15))
            writer.kill()
        with Queue(path) as queue:
            assert queue.status().total == queue.status().seq


def test_a_readable_empty_file_becomes_private(path: Path) -> None:
    path.touch(mode=0o644)
    path.chmod(0o644)
    with Queue(path) as queue:
        queue.enqueue("true", secrets={"TOKEN": "s3cret"})
        for name in ("q.db", "q.db-wal", "q.db-shm"):
            assert stat.S_IMODE((path.parent / name).stat().st_mode) == 0o600, name
