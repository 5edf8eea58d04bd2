"""A folder is looked at again after every change, however close it follows the last one."""

import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from queuectl.host import folder_watch
from queuectl.host.folder_watch import FolderWatch


class Names:
    """The names in a folder, as one knows them by looking when it has changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.watch = FolderWatch(str(folder))
        self.looks = 0
        self.known: list[str] = []

    def read(self) -> list[str]:
        if self.watch.changed():
            self.known = os.listdir(self.folder)
            self.watch.looked()
            self.looks += 1
        return self.known


def stamped_every(tick: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have times of change stand still for so many nanoseconds, as they do under older kernels and file systems."""

    def stat(path: str) -> SimpleNamespace:
        found = os.stat(path)
        stamp = found.st_ctime_ns // tick * tick
        return SimpleNamespace(st_dev=found.st_dev, st_ino=found.st_ino, st_ctime_ns=stamp)

    monkeypatch.setattr(folder_watch, "os", SimpleNamespace(stat=stat))


@pytest.mark.parametrize("tick", [1, 10_000_000, 1_000_000_000, 2_000_000_000])
def test_changes_in_one_tick_are_all_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tick: int) -> None:
    stamped_every(tick, monkeypatch)
    names = Names(tmp_path)
    for pause in (0.0, 0.0, 0.001, 0.011, 0.15, 0.15):
        time.sleep(pause)
        for n in range(50):
            assert names.read() == []
            os.mkfifo(tmp_path / f"a{n}")
            assert names.read() == [f"a{n}"]
            os.unlink(tmp_path / f"a{n}")


def test_an_unchanged_folder_is_looked_at_once(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    time.sleep(0.2)
    names = Names(tmp_path)
    assert [names.read() for _ in range(3)] == [["a"]] * 3
    assert names.looks == 1
    (tmp_path / "a").rename(tmp_path / "b")
    assert names.read() == ["b"]


def test_another_folder_in_its_place_is_a_change(tmp_path: Path) -> None:
    folder, other = tmp_path / "folder", tmp_path / "other"
    folder.mkdir()
    other.mkdir()
    (other / "a").touch()
    time.sleep(0.2)
    names = Names(folder)
    assert names.read() == []
    folder.rename(tmp_path / "aside")
    other.rename(folder)
    assert names.read() == ["a"]


def test_a_look_cut_short_is_still_due(tmp_path: Path) -> None:
    time.sleep(0.2)
    watch = FolderWatch(str(tmp_path))
    assert [watch.changed(), watch.changed()] == [True, True]
    watch.looked()
    assert not watch.changed()


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FolderWatch(str(tmp_path / "missing")).changed()
