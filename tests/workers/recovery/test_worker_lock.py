"""Who is alive: a live worker never looks dead, a dead one does at once, and one recoverer at a time takes it over."""

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuectl.errors import Invalid
from queuectl.workers.recovery.worker_lock import NoLockFile, held, ids, take, try_lock
from tests.support.scripts import Start, read_line, starter

PRELUDE = "import os, sys, time\nfrom queuectl.workers.recovery.worker_lock import *\nfolder = sys.argv[1]\n"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    with starter(PRELUDE, tmp_path) as start:
        yield start


def kill(process: "subprocess.Popen[str]") -> None:
    process.kill()
    process.wait(10)


def test_only_a_live_worker_is_locked(tmp_path: Path) -> None:
    with take(str(tmp_path), "w1"):
        assert held(str(tmp_path), "w1")
        assert try_lock(str(tmp_path), "w1") is None
        assert ids(str(tmp_path)) == ["w1"]
    assert not held(str(tmp_path), "w1")
    with pytest.raises(NoLockFile, match="w1"):
        try_lock(str(tmp_path), "w1")
    assert os.listdir(tmp_path) == []


def test_lock_of_killed_worker_is_free_at_once(tmp_path: Path, start: Start) -> None:
    worker = start("mine = take(folder, 'w1')\nprint('up', flush=True)\nsys.stdin.read()")
    assert read_line(worker) == "up"
    assert held(str(tmp_path), "w1")
    kill(worker)
    assert not held(str(tmp_path), "w1")
    assert ids(str(tmp_path)) == ["w1"]
    recovery = try_lock(str(tmp_path), "w1")
    assert recovery is not None
    assert recovery.worker == "w1"
    assert held(str(tmp_path), "w1")
    assert try_lock(str(tmp_path), "w1") is None
    recovery.close()
    recovery.close()
    assert ids(str(tmp_path)) == []


def test_unfinished_recovery_keeps_the_lock_file(tmp_path: Path, start: Start) -> None:
    kill_after_take(start)
    first = try_lock(str(tmp_path), "w1")
    assert first is not None
    first.close(keep=True)
    second = try_lock(str(tmp_path), "w1")
    assert second is not None
    second.close()


def test_a_starting_or_ending_worker_never_looks_dead(tmp_path: Path, start: Start) -> None:
    observers = [
        start("""
looks = dead = 0
print("watching", flush=True)
while not os.path.exists(folder + "/.end"):
    for id in ids(folder):
        looks += 1
        try:
            found = try_lock(folder, id)
        except NoLockFile:
            continue
        if found is not None:
            dead += 1
            found.close(keep=True)
print(looks, dead, flush=True)
""")
        for _ in range(2)
    ]
    assert [read_line(observer) for observer in observers] == ["watching"] * 2
    starters = [
        start("""
for n in range(600):
    with take(folder, f"{os.getpid()}-{n}"):
        pass
""")
        for _ in range(4)
    ]
    assert [starter.wait(60) for starter in starters] == [0] * 4
    (tmp_path / ".end").touch()
    for observer in observers:
        looks, dead = read_line(observer).split()
        assert int(looks) > 100
        assert dead == "0"


def test_one_of_many_recoverers_takes_the_lock(tmp_path: Path, start: Start) -> None:
    workers = [start(f"mine = take(folder, 'w{n}')\nprint(flush=True)\nsys.stdin.read()") for n in range(5)]
    for worker in workers:
        read_line(worker)
        kill(worker)
    recover = """
begin, got = float(sys.argv[2]), []
while time.monotonic() < begin:
    pass
for id in (f"w{n}" for n in range(5)):
    while True:
        try:
            lock = try_lock(folder, id)
        except NoLockFile:
            break
        if lock is not None:
            got.append(id)
            lock.close()
            break
print(*got, flush=True)
"""
    begin = str(time.monotonic() + 0.7)
    recoverers = [start(recover, begin) for _ in range(6)]
    got = [id for recoverer in recoverers for id in read_line(recoverer).split()]
    assert sorted(got) == [f"w{n}" for n in range(5)]
    assert ids(str(tmp_path)) == []


def test_one_removed_between_open_and_lock_is_gone(
    tmp_path: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    kill_after_take(start)
    real = os.open

    def late(path: str, flags: int) -> int:
        fd = real(path, flags)
        os.unlink(path)  # the other recoverer has just finished
        return fd

    before = len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", late)
        with pytest.raises(NoLockFile):
            try_lock(str(tmp_path), "w1")
    assert len(os.listdir("/proc/self/fd")) == before


def test_command_that_outlives_its_worker_holds_no_lock(tmp_path: Path, start: Start) -> None:
    worker = start("""
mine = take(folder, "w1")
pid = os.posix_spawn("/bin/sh", ["sh", "-c", "echo $$; exec sleep 60"], os.environ)
sys.stdin.read()
""")
    command = int(read_line(worker))
    try:
        kill(worker)
        assert not held(str(tmp_path), "w1")
    finally:
        os.kill(command, 9)


def test_forked_child_leaves_the_lock_to_its_parent(tmp_path: Path, start: Start) -> None:
    worker = start("""
mine = take(folder, "w1")
child = os.fork()
if not child:
    mine.close()
    os._exit(0)
os.waitpid(child, 0)
print("forked", flush=True)
sys.stdin.read()
""")
    assert read_line(worker) == "forked"
    assert held(str(tmp_path), "w1")
    assert try_lock(str(tmp_path), "w1") is None


def test_an_id_can_not_be_taken_twice(tmp_path: Path) -> None:
    with take(str(tmp_path), "w1"):
        with pytest.raises(FileExistsError):
            take(str(tmp_path), "w1")
        assert held(str(tmp_path), "w1")
        assert os.listdir(tmp_path) == ["w1"]


@pytest.mark.parametrize("worker", ["", ".", "..", ".hidden", "../w1", "a/b", "a\0b"])
def test_what_is_no_id_is_refused(tmp_path: Path, worker: str) -> None:
    for function in (take, try_lock, held):
        with pytest.raises(Invalid, match="worker list"):
            function(str(tmp_path), worker)


def test_worker_without_its_folder_ends_cleanly(tmp_path: Path) -> None:
    lock = take(str(tmp_path), "w1")
    os.unlink(lock.path)
    lock.close()


@pytest.mark.parametrize("umask", ["0", "0o777"])
def test_its_file_is_private_under_any_umask(tmp_path: Path, start: Start, umask: str) -> None:
    worker = start(f"os.umask({umask})\nmine = take(folder, 'w1')\nprint('up', flush=True)\nsys.stdin.read()")
    assert read_line(worker) == "up"
    assert (tmp_path / "w1").stat().st_mode & 0o7777 == 0o600


def kill_after_take(start: Start) -> None:
    worker = start("mine = take(folder, 'w1')\nprint(flush=True)\nsys.stdin.read()")
    read_line(worker)
    kill(worker)
