"""High water: acknowledged events that are missing from a database make opening it fail."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from queuectl import Queue
from queuectl.audit.backup import backup
from queuectl.engines.sqlite.high_water import SqliteHighWater
from queuectl.engines.sqlite.location import locate
from queuectl.errors import Unusable

LEAVE = """
import os, sys
from queuectl import Queue
queue = Queue(sys.argv[1])
for _ in range(int(sys.argv[2])):
    queue.enqueue("true")
os._exit(0)  # as killed: nothing is written back
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "q.db")


def leave(path: str, jobs: int) -> None:
    """Enqueue in a process that is killed right then: the jobs stand in the WAL alone."""
    subprocess.run([sys.executable, "-c", LEAVE, path, str(jobs)], check=True, timeout=30)


def noted(note: Path) -> int:
    return int(note.read_text()[:20])


def behind(path: str, sql: str) -> list[tuple[object, ...]]:
    """What another program does to the file (apsw is the same SQLite as ours, so our locks are safe)."""
    db = apsw.Connection(path)
    try:
        return list(db.execute(sql))
    finally:
        db.close()


def contents(folder: Path) -> dict[str, bytes]:
    """All files of a folder, but SQLite's index of the WAL and the empty one that it makes."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".db-shm")
    return {str(path): text for path in files if (text := path.read_bytes())}


def test_a_missing_wal_is_refused_and_nothing_touched(path: str, tmp_path: Path) -> None:
    Queue(path).close()
    leave(path, 3)
    aside = shutil.move(path + "-wal", tmp_path / "wal")
    before = contents(tmp_path)

    with pytest.raises(Unusable, match=r"q\.db: ends with event 0, but 3 were acknowledged: its -wal was removed"):
        Queue(path)

    assert contents(tmp_path) == before
    shutil.move(aside, path + "-wal")
    with Queue(path) as queue:
        assert queue.status().total == 3, "it was put back"


def test_an_older_copy_is_refused_until_accepted(path: str, tmp_path: Path) -> None:
    with Queue(path) as queue:
        queue.enqueue("true")
    leave(path, 0)
    with Queue(path) as queue:
        queue.engine.truncate_wal()
    shutil.copy(path, tmp_path / "copy")
    with Queue(path) as queue:
        queue.enqueue("true")
        queue.engine.truncate_wal()
    shutil.copy(tmp_path / "copy", path)

    with pytest.raises(Unusable, match="ends with event 1, but 2 were acknowledged") as refused:
        Queue(path)

    note = str(refused.value).split("remove ")[1].split(" to go on")[0]
    os.unlink(note)
    with Queue(path) as queue:
        assert queue.enqueue("true") == "2"
        assert queue.check() == []
    with Queue(path) as queue:
        assert queue.status().total == 2


def test_unsynced_commits_are_not_recorded(path: str) -> None:
    with Queue(path) as queue:
        queue.set_config("synchronous", "normal")
        queue.engine.truncate_wal()
    leave(path, 2)
    for name in ("-wal", "-shm"):
        os.unlink(path + name)

    with Queue(path) as queue:
        assert queue.status().seq == 1, "as after a power cut, which NORMAL allows"


def test_a_damaged_or_foreign_high_water_is_ignored(path: str, tmp_path: Path) -> None:
    with Queue(path) as queue:
        queue.enqueue("true")
    note = tmp_path / "q.db.d" / "high-water"
    assert (noted(note), note.stat().st_mode & 0o777) == (1, 0o600)
    note.write_bytes(b"\0" * 20)
    with Queue(path) as queue:
        queue.enqueue("true")
    assert noted(note) == 2
    for name in ("", "-wal", "-shm"):
        Path(path + name).unlink(missing_ok=True)

    with Queue(path) as queue:
        assert queue.status().total == 0


def test_an_unwritable_high_water_file_blocks_no_commit(path: str, tmp_path: Path) -> None:
    note = tmp_path / "q.db.d" / "high-water"
    with Queue(path) as queue:
        note.mkdir()
        assert queue.enqueue("true") == "1"
        note.rmdir()
        assert queue.enqueue("true") == "2"
    assert noted(note) == 2, "and it is made up for"


def test_a_removed_note_is_made_anew(path: str, tmp_path: Path) -> None:
    note = Path(locate(path).high_water)
    with Queue(path) as queue:
        queue.enqueue("true")
        before = noted(note)
        note.unlink()
        queue.enqueue("true")
        assert noted(note) > before


def test_high_water_is_never_lowered(path: str, tmp_path: Path) -> None:
    with Queue(path) as queue:
        note = SqliteHighWater(locate(queue.url))
        note.record(7, None)
        note.record(3, None)
        assert note.read().seq == 7
        note.close()


def test_every_write_is_compared_with_high_water(path: str, tmp_path: Path) -> None:
    note = tmp_path / "q.db.d" / "high-water"
    with Queue(path) as queue:
        queue.enqueue("true")
        note.write_text(f"{9:020}")
        with pytest.raises(Unusable, match="ends with event 1, but 9 were acknowledged"):
            queue.enqueue("true")
        assert noted(note) == 9
        note.unlink()
        assert queue.enqueue("true") == "2", "who removes the note goes on without"
        assert noted(note) == 2


def test_a_high_water_file_without_mark_is_completed(path: str, tmp_path: Path) -> None:
    note = tmp_path / "q.db.d" / "high-water"
    with Queue(path) as queue:
        queue.enqueue("true")
        mark = note.read_text()[21:]
    note.write_text(f"{1:020}")
    with Queue(path) as queue:
        queue.enqueue("true")
    assert note.read_text() == f"{2:020} {mark}"


def test_a_database_without_mark_gets_one(path: str, tmp_path: Path) -> None:
    note = tmp_path / "q.db.d" / "high-water"
    with Queue(path) as queue:
        queue.enqueue("true")
    note.write_text(f"{1:020}")
    behind(path, "drop table file_mark")
    with Queue(path) as queue, Queue(path) as other:
        assert queue.status().total == 1
        queue.enqueue("true")
        other.enqueue("true")
        assert behind(path, "select mark from file_mark") == [(note.read_text()[21:],)]


def test_a_backup_under_an_old_wal_is_refused(path: str, tmp_path: Path) -> None:
    with Queue(path) as queue:
        queue.enqueue("true")
        backup(queue, str(tmp_path / "copy"))
    leave(path, 3)
    os.replace(tmp_path / "copy", path)
    before = contents(tmp_path)

    with pytest.raises(Unusable, match=r"q\.db: is not the database that was here, but a copy .*, move .*q\.db-wal, "):
        Queue(path)

    assert contents(tmp_path) == before
    for name in ("q.db-wal", "q.db-shm", "q.db.d"):
        (tmp_path / name).rename(tmp_path / f"old-{name}")
    with Queue(path) as queue:
        assert queue.status().total == 1
        assert queue.enqueue("true") == "2"


def test_an_emptied_database_is_not_recreated(path: str) -> None:
    with Queue(path) as queue:
        queue.enqueue("true")
        queue.engine.truncate_wal()
    os.truncate(path, 0)
    for _ in range(2):
        with pytest.raises(Unusable, match="is empty, but has been in use"):
            Queue(path)
    assert os.stat(path).st_size == 0
