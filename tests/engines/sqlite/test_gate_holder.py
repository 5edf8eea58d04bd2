"""A holder that keeps the gate (R5), with real processes: it is named; a stopped worker is killed."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuectl.engines.sqlite.gate import Gate
from queuectl.engines.sqlite.gate_holder import Holder, HolderWatch, namespace, read_holder
from queuectl.errors import Unusable
from queuectl.host.procfs import flock_owner, look
from tests.support.scripts import GATE, INSIDE, Start, expect_line, send_line, starter

BE_WORKER = """
gate.worker = "w1"
"""

WORKER_INSIDE = BE_WORKER + INSIDE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "workers").mkdir()
    return tmp_path


@pytest.fixture
def start(folder: Path) -> Iterator[Start]:
    with starter(GATE, folder) as start:
        yield start


def stop(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGSTOP)
    while (found := look(process.pid)) and found.state != "T":
        time.sleep(0.001)


def new_gate(folder: Path, stuck: float = 1.0) -> Gate:
    return Gate(f"{folder}/gate", stuck=stuck)


def test_a_stopped_worker_inside_is_killed(folder: Path, start: Start) -> None:
    holder = start(WORKER_INSIDE)
    expect_line(holder, "inside")
    stop(holder)
    begin = time.monotonic()
    with new_gate(folder).hold(None):
        assert time.monotonic() - begin >= 1.0
    assert holder.wait(50) == -signal.SIGKILL


def test_a_stopped_process_without_worker_is_only_named(folder: Path, start: Start) -> None:
    holder = start(INSIDE)
    expect_line(holder, "inside")
    stop(holder)
    with pytest.raises(Unusable, match=rf"process {holder.pid} .*stopped.*kill -CONT {holder.pid}"):
        new_gate(folder, stuck=0.3).hold(0.9).__enter__()
    assert holder.poll() is None
    holder.send_signal(signal.SIGCONT)
    send_line(holder)
    assert holder.wait(10) == 0


def test_a_stopped_worker_without_lock_file_is_killed(folder: Path, start: Start) -> None:
    holder = start('gate.worker = "w1"\n' + INSIDE)
    expect_line(holder, "inside")
    stop(holder)
    with new_gate(folder, stuck=0.3).hold(10):
        pass
    assert holder.wait(10) == -signal.SIGKILL


def test_a_running_worker_is_never_killed_however_slow(folder: Path, start: Start) -> None:
    holder = start(WORKER_INSIDE.replace("wait_for_line()", "time.sleep(1)"))
    expect_line(holder, "inside")
    with new_gate(folder, stuck=0.3).hold(None):
        pass
    assert holder.wait(10) == 0


def test_a_worker_continued_in_between_is_not_killed(folder: Path, start: Start) -> None:
    holder = start(WORKER_INSIDE)
    expect_line(holder, "inside")
    fd = os.open(folder / "gate", os.O_RDWR)
    watch = HolderWatch(fd, 0.5)
    for _ in range(4):
        stop(holder)
        for _ in range(4):  # 0.3 s seen stopped, of 0.5
            watch.look()
            time.sleep(0.1)
        holder.send_signal(signal.SIGCONT)
        while (found := look(holder.pid)) and found.state == "T":
            time.sleep(0.001)
        watch.look()
    os.close(fd)
    send_line(holder)
    assert holder.wait(10) == 0


def test_time_without_an_observation_does_not_count(folder: Path, start: Start) -> None:
    holder = start(WORKER_INSIDE)
    expect_line(holder, "inside")
    stop(holder)
    fd = os.open(folder / "gate", os.O_RDWR)
    watch = HolderWatch(fd, 0.5)  # looks each 0.1 s
    watch.look()
    time.sleep(1)  # as if the observer itself had been stopped
    watch.look()
    time.sleep(0.1)
    assert holder.poll() is None
    for _ in range(5):
        time.sleep(0.1)
        watch.look()
    os.close(fd)
    assert holder.wait(10) == -signal.SIGKILL


def test_a_stale_gate_file_kills_no_stopped_worker(folder: Path, start: Start) -> None:
    worker = start(f"""
{BE_WORKER}
with gate.hold(10):
    pass
say("out")
wait_for_line()
""")
    expect_line(worker, "out")
    text = (folder / "gate").read_bytes()
    holder = start(INSIDE)
    expect_line(holder, "inside")
    (folder / "gate").write_bytes(text)  # as where the holder was stopped before it could write
    stop(worker)
    with pytest.raises(Unusable, match=f"process {holder.pid} "), new_gate(folder, stuck=0.3).hold(0.9):
        pass
    assert worker.poll() is None


def test_pids_of_another_namespace_are_not_looked_up(folder: Path) -> None:
    path = folder / "gate"
    path.write_bytes(Holder(os.getpid(), 1, namespace() + 1, "w1").text())
    with path.open("rb") as file:
        assert "another container" in HolderWatch(file.fileno(), 1).describe()


@pytest.mark.parametrize("text", [b"", b"12", b"1 2 3\n", b"a b c d\n", b"\xff \n"])
def test_an_illegible_holder_is_unknown(folder: Path, text: bytes) -> None:
    path = folder / "gate"
    path.write_bytes(text)
    with path.open("rb") as file:
        assert read_holder(file.fileno()) is None
        assert "can't be seen" in HolderWatch(file.fileno(), 1).describe()


def test_the_kernel_names_the_holder(folder: Path) -> None:
    gate = new_gate(folder)
    with (folder / "gate").open("wb") as file:
        with gate.hold(1):
            assert flock_owner(file.fileno()) == os.getpid()
        assert flock_owner(file.fileno()) is None


def test_a_worker_writes_its_id_into_the_file(folder: Path) -> None:
    gate = new_gate(folder)
    with gate.hold(0):
        pass
    gate.worker = "w7"
    with gate.hold(0):
        assert (folder / "gate").read_bytes().split(b"\n")[0].endswith(b" w7")
    assert gate.worker == "w7"
