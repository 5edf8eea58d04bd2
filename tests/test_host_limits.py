"""What a worker leaves of its host: the limits as they are written, told, and held against the kernel's figures."""

import os
from pathlib import Path

import msgspec
import pytest

from queuectl import host_limits
from queuectl.errors import Invalid
from queuectl.host import load
from queuectl.host.procfs import boot_id
from queuectl.host_limits import HostLimits, holds_back
from queuectl.workers.turn import TurnWriter
from tests.support.lab import Lab

MEMINFO = "MemTotal:       24684084 kB\nMemFree:        22779452 kB\nMemAvailable:    4194304 kB\n"


@pytest.fixture
def busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A host with a load of 8.1 and 4 GiB of free memory."""
    monkeypatch.setattr(os, "getloadavg", lambda: (8.1, 1.0, 1.0))
    (tmp_path / "meminfo").write_text(MEMINFO)
    monkeypatch.setattr(load, "MEMINFO", str(tmp_path / "meminfo"))


def test_the_kernel_tells_load_and_memory() -> None:
    assert load.load() == os.getloadavg()[0]
    free, whole = load.free_memory(), load.whole_memory()
    assert free is not None
    assert whole is not None
    assert 0 < free < whole


@pytest.mark.usefixtures("busy")
def test_the_first_exceeded_limit_is_told() -> None:
    assert HostLimits().exceeded() is None
    assert HostLimits(max_load=8.2, min_free_memory=4 << 30).exceeded() is None
    assert HostLimits(max_load=8.1).exceeded() == "load 8.10, limit 8.1"
    assert HostLimits(max_load=4.0, min_free_memory=5 << 30).exceeded() == "load 8.10, limit 4"
    assert HostLimits(min_free_memory=5 << 30).exceeded() == "4 GiB of memory free, limit 5 GiB"


def test_memory_that_is_not_told_limits_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "MEMINFO", "/none")
    assert (load.free_memory(), load.whole_memory()) == (None, None)
    assert HostLimits(min_free_memory=1 << 50).exceeded() is None
    assert host_limits.min_free_memory("1T") == 1 << 40


@pytest.mark.usefixtures("busy")
def test_limits_are_read_as_people_write_them() -> None:
    assert [host_limits.max_load(text) for text in ("4", "0.5")] == [4.0, 0.5]
    for text in ("0", "-1", "nan", "inf", "many", ""):
        with pytest.raises(Invalid, match="is not a load: a number above 0"):
            host_limits.max_load(text)
    assert host_limits.min_free_memory("2G") == 2 << 30
    for text, message in (
        ("0", "is not a size above 0 up to the 24 GiB that this machine has"),
        ("25G", "up to the 24 GiB"),
        ("much", "'much' is not a size"),
    ):
        with pytest.raises(Invalid, match=message):
            host_limits.min_free_memory(text)


@pytest.mark.usefixtures("busy")
def test_of_another_host_nothing_is_known(lab: Lab) -> None:
    writer = TurnWriter(lab.queue, "w", (), lab.queue.home.identity())
    writer.start(1, limits=HostLimits(max_load=4.0, min_free_memory=1 << 20))
    [worker] = lab.queue.workers()
    assert (worker.max_load, worker.min_free_memory, worker.boot_id) == (4.0, 1 << 20, boot_id())
    assert holds_back(worker) == "load 8.10, limit 4"
    assert holds_back(msgspec.structs.replace(worker, boot_id="another")) is None
