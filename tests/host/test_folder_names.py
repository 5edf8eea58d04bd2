"""A folder's names: listed again after every change, however close it follows the last one."""

import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from queuectl.host import folder_names
from queuectl.host.folder_names import FolderNames


@pytest.fixture
def listings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that are listed from now on."""
    listed: list[str] = []

    def listdir(folder: str) -> list[str]:
        listed.append(folder)
        return os.listdir(folder)

    monkeypatch.setattr(folder_names, "os", SimpleNamespace(stat=os.stat, listdir=listdir))
    return listed


def stamped_every(tick: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have times of change stand still for so many nanoseconds, as they do under older kernels and file systems."""

    def stat(path: str) -> SimpleNamespace:
        found = os.stat(path)
        return SimpleNamespace(st_ino=found.st_ino, st_ctime_ns=found.st_ctime_ns // tick * tick)

    monkeypatch.setattr(folder_names, "os", SimpleNamespace(stat=stat, listdir=os.listdir))


@pytest.mark.parametrize("tick", [1, 10_000_000, 1_000_000_000, 2_000_000_000])
def test_changes_in_one_tick_are_all_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tick: int) -> None:
    stamped_every(tick, monkeypatch)
    names = FolderNames(str(tmp_path))
    for pause in (0.0, 0.0, 0.001, 0.011, 0.15, 0.15):
        time.sleep(pause)
        for n in range(50):
            assert list(names.read()) == []
            os.mkfifo(tmp_path / f"a{n}")
            assert list(names.read()) == [f"a{n}"]
            os.unlink(tmp_path / f"a{n}")


def test_an_unchanged_folder_is_listed_once(tmp_path: Path, listings: list[str]) -> None:
    (tmp_path / "a").touch()
    time.sleep(0.2)
    names = FolderNames(str(tmp_path))
    assert [list(names.read()) for _ in range(3)] == [["a"]] * 3
    assert len(listings) == 1
    (tmp_path / "a").rename(tmp_path / "b")
    assert list(names.read()) == ["b"]


def test_another_folder_in_its_place_is_listed(tmp_path: Path) -> None:
    folder, other = tmp_path / "folder", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    (other / "a").touch()
    time.sleep(0.2)
    names = FolderNames(str(folder))
    assert list(names.read()) == []
    folder.rename(tmp_path / "aside")
    other.rename(folder)
    assert list(names.read()) == ["a"]


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    names = FolderNames(str(tmp_path / "missing"))
    with pytest.raises(FileNotFoundError):
        names.read()
