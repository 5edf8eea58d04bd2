"""A queue whose files were removed, renamed or replaced while it was open acknowledges nothing that would be lost."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from queuectl import Queue
from queuectl.audit.backup import backup
from queuectl.engines.sqlite import file_identity
from queuectl.engines.view import Write
from queuectl.errors import Replaced, Unusable
from queuectl.workers.recovery import worker_lock
from tests.support.engine_actions import policy

FORK = """
import os, sys
from queuectl import Queue
from queuectl.errors import Replaced
queue = Queue(sys.argv[1])
queue.enqueue("true")
if os.fork() == 0:
    os._exit(0)
os.wait()
for name in ("", "-wal", "-shm"):
    os.unlink(sys.argv[1] + name)
for made in (False, True):
    if made:
        Queue(sys.argv[1]).close()
    try:
        queue.enqueue("true")
    except Replaced as error:
        print("removed" if "removed" in str(error) else "replaced", os.path.exists(sys.argv[1]))
"""


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "q.db")


@pytest.fixture
def queue(path: str) -> Iterator[Queue]:
    with Queue(path) as queue:
        queue.enqueue("true")
        yield queue


def remove(path: str) -> None:
    os.unlink(path)


def interrupted(path: str) -> None:
    raise KeyboardInterrupt


def rename(path: str) -> None:
    os.rename(path, path + ".aside")


def replace(path: str) -> None:
    rename(path)
    Path(path).touch(mode=0o600)


ACTS: dict[str, Callable[[Queue], object]] = {
    "enqueue": lambda queue: queue.enqueue("true"),
    "status": lambda queue: queue.status(),
    "check": lambda queue: queue.check(),
    "replay": lambda queue: queue.replay(),
    "tidy": lambda queue: queue.engine.truncate_wal(),
}


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("which", ["", "-wal", "-shm"])
def test_removed_files_are_not_used(queue: Queue, path: str, which: str, act: str) -> None:
    remove(path + which)
    with pytest.raises(Replaced, match=rf"q\.db{which}: was removed or renamed while the queue was open"):
        ACTS[act](queue)


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("checkpointed", [False, True])
def test_a_copy_written_into_its_file_is_noticed(queue: Queue, path: str, act: str, checkpointed: bool) -> None:
    backup(queue, path + ".backup")
    if checkpointed:
        queue.enqueue("true")
        queue.engine.truncate_wal()
        queue.status()
    shutil.copyfile(path + ".backup", path)
    with pytest.raises(Replaced, match=r"q\.db: was written over with another database"):
        ACTS[act](queue)


@pytest.mark.parametrize("text", [b"", b"another file, of some length" * 200])
def test_text_written_over_the_database_is_noticed(queue: Queue, path: str, text: bytes) -> None:
    Path(path).write_bytes(text)
    with pytest.raises(Replaced, match="was written over"):
        queue.enqueue("true")


def test_a_copy_without_wal_is_left_unchanged(queue: Queue, path: str) -> None:
    backup(queue, path + ".backup")
    queue.enqueue("false")
    for which in ("-wal", "-shm"):
        remove(path + which)
    shutil.copyfile(path + ".backup", path)
    for again in (lambda: queue.enqueue("true"), queue.engine.reopen, queue.close):
        with suppress(Replaced):
            again()
    assert Path(path).read_bytes() == Path(path + ".backup").read_bytes()


@pytest.mark.parametrize("which", ["", "-wal", "-shm"])
def test_another_file_at_the_path_is_noticed(queue: Queue, path: str, which: str) -> None:
    replace(path + which)
    for act in (ACTS["enqueue"], ACTS["status"]):
        with pytest.raises(Replaced, match=rf"q\.db{which}: was replaced while the queue was open"):
            act(queue)


@pytest.mark.parametrize("which", ["", "-wal", "-shm"])
@pytest.mark.parametrize("change", [remove, rename, replace])
def test_a_change_after_long_quiet_is_noticed(
    queue: Queue, path: str, which: str, change: Callable[[str], None]
) -> None:
    time.sleep(0.2)  # from now on the folder is known not to have changed
    queue.status()
    queue.enqueue("true")
    change(path + which)
    for act in ("enqueue", "status", "enqueue"):
        with pytest.raises(Replaced, match=rf"q\.db{which}: was re"):
            ACTS[act](queue)


def test_an_interrupted_check_is_made_again(queue: Queue, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    remove(path + "-wal")
    time.sleep(0.2)  # younger changes are looked at again in any case
    with monkeypatch.context() as patched:
        patched.setattr(file_identity, "_identity", interrupted)
        with pytest.raises(KeyboardInterrupt):
            queue.enqueue("true")
    with pytest.raises(Replaced):
        queue.enqueue("true")


def test_a_folder_moved_aside_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    with Queue(folder / "q.db") as queue:
        queue.enqueue("true")
        time.sleep(0.2)
        queue.enqueue("true")
        shutil.copytree(folder, tmp_path / "copy")
        folder.rename(tmp_path / "aside")
        (tmp_path / "copy").rename(folder)
        with pytest.raises(Replaced, match="was replaced while the queue was open"):
            queue.enqueue("true")


def test_a_database_moved_back_is_used_again(queue: Queue, path: str) -> None:
    rename(path)
    with pytest.raises(Replaced):
        queue.status()
    os.rename(path + ".aside", path)
    assert queue.enqueue("true") == "2"
    assert queue.check() == []


@pytest.mark.parametrize("which", ["", "-wal", "-shm"])
def test_writes_into_a_removed_file_are_not_acknowledged(queue: Queue, path: str, which: str) -> None:
    def late() -> None:
        with queue.engine.transaction() as tx:
            tx.append([Write("job:late", None, [policy(tx.now)])], "test")
            remove(path + which)

    with pytest.raises(Replaced):
        late()


@pytest.mark.parametrize("gone", [["-wal"], ["-shm"], ["-wal", "-shm"]])
@pytest.mark.parametrize("act", ["enqueue", "status"])
def test_removing_the_wal_loses_nothing_acknowledged(path: str, gone: list[str], act: str) -> None:
    with Queue(path) as queue:
        queue.enqueue_many(["true"] * 3)
        for which in gone:
            remove(path + which)
        with pytest.raises(Replaced):
            ACTS[act](queue)
    with Queue(path) as queue:
        assert queue.status().total >= 3
        assert queue.check() == []


def test_a_forked_child_opens_the_same_database_only(path: str) -> None:
    done = subprocess.run([sys.executable, "-c", FORK, path], stdout=subprocess.PIPE, text=True, timeout=30, check=True)
    assert done.stdout == "removed False\nreplaced True\n"


@pytest.mark.parametrize("which", ["", "-wal", "-shm"])
def test_a_live_workers_missing_file_is_not_recreated(path: str, tmp_path: Path, which: str) -> None:
    with Queue(path) as queue:
        queue.enqueue("true")
        queue.engine.truncate_wal()
    with worker_lock.take(queue.home.workers, "w1"):
        remove(path + which)
        before = sorted(tmp_path.iterdir())
        with pytest.raises(Unusable, match=rf"q\.db{which}: is missing, but worker w1 is up and has it open"):
            Queue(path)
        assert sorted(tmp_path.iterdir()) == before, "nothing was made"
    with Queue(path) as queue:
        assert queue.status().total == (1 if which else 0)
