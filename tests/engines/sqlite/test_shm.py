"""The WAL index is allocated before it is written through memory: on a full disk SIGBUS would end the process."""

import os
from pathlib import Path

import pytest

from queuectl import Queue
from queuectl.engines.sqlite import shm
from queuectl.errors import Unusable


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place on a file system that gives less than a page of memory at a time, as it seems."""
    monkeypatch.setattr(shm, "PAGE", 1 << 30)
    return tmp_path / "q.db"


def shm_stat(path: Path) -> os.stat_result:
    return os.stat(f"{path}-shm")


def fill_disk(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    real = os.statvfs

    def told(path: str) -> os.statvfs_result:
        found = list(real(path))
        found[4] = free // found[1]  # f_bavail, in units of f_frsize
        return os.statvfs_result(found)

    monkeypatch.setattr(os, "statvfs", told)


def test_the_index_is_allocated_a_region_ahead(small: Path) -> None:
    with Queue(small) as queue:
        queue.enqueue("true")
        found = shm_stat(small)
        assert found.st_size == found.st_blocks * 512 == 2 * shm.REGION
        queue.enqueue_many(["true"] * 5000)
        assert queue.check() == []
    with Queue(small) as queue:
        assert queue.status().total == 5001


def test_opening_fails_without_room_for_the_index(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Queue(small) as queue:
        queue.enqueue("true")
    os.truncate(f"{small}-shm", 0)
    fill_disk(monkeypatch, 4096)
    with pytest.raises(Unusable, match=r"q\.db: the disk is full: nothing was written; make room and try again"):
        Queue(small)
    assert shm_stat(small).st_size == 0
    monkeypatch.undo()
    with Queue(small) as queue:
        assert queue.status().total == 1


def test_an_index_without_room_refuses_writes_only(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Queue(small) as queue:
        monkeypatch.setattr(shm.WalIndex, "_wanted", lambda self: 9 * shm.REGION)
        monkeypatch.setattr(shm, "_lacks_room", lambda fd, size: True)
        with pytest.raises(Unusable, match="the disk is full"):
            queue.enqueue("true")
        assert queue.status().total == 0


def test_page_sized_blocks_allocate_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shm, "PAGE", 512)
    monkeypatch.setattr(shm, "_lacks_room", lambda fd, size: pytest.fail("asked for blocks"))
    with Queue(tmp_path / "q.db") as queue:
        queue.enqueue("true")
