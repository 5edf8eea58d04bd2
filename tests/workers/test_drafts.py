"""A process that dies while it makes its lock or its doorbell leaves a draft, which is removed."""

import os
import threading
from pathlib import Path

from queuectl.engines.sqlite import doorbell
from queuectl.workers.recovery import worker_lock


def test_draft_of_a_dead_lock_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".w1-0a0b").touch()
    with worker_lock.take(str(tmp_path), "w2"):
        worker_lock.sweep(str(tmp_path))
        assert os.listdir(tmp_path) == ["w2"]


def test_draft_of_a_dead_bell_is_removed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ".work-0a0b")
    os.mkfifo(tmp_path / ".log-0a0b")
    assert doorbell.ring(str(tmp_path), ("work",)) == 0
    assert os.listdir(tmp_path) == [".log-0a0b"]


def test_nobody_who_begins_is_disturbed(tmp_path: Path) -> None:
    folder = str(tmp_path)
    over = threading.Event()

    def clean() -> None:
        while not over.is_set():
            worker_lock.sweep(folder)
            doorbell.ring(folder, ("work",))

    os.mkdir(tmp_path / "bells")
    cleaner = threading.Thread(target=clean)
    cleaner.start()
    try:
        for number in range(500):
            with worker_lock.take(folder, f"w{number}"):
                assert worker_lock.held(folder, f"w{number}")
            bell = doorbell.listen(folder, "work")
            assert doorbell.ring(folder, ("work",)) == 1
            bell.close()
    finally:
        over.set()
        cleaner.join()
