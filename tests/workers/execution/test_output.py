"""The output file of an attempt: start token, lock, and what happens when it grows too big."""

import errno
import os
import select
import signal
import sys
from pathlib import Path

import pytest

from queuectl import clock
from queuectl.host import flock
from queuectl.runnable import Argv, Shell
from queuectl.workers.execution import output
from queuectl.workers.execution.attempt import AlreadyStarted, AttemptProcess, Start, launch
from queuectl.workers.execution.plain_command import PlainCommand
from tests.support.termination import terminate

ENV = {"PATH": os.environ.get("PATH", os.defpath)}


def begin(path: Path, command: str, *, split: bool = False) -> AttemptProcess:
    return launch(Start(run=Shell(command), output=str(path), env={**ENV, "GO": f"{path}.go"}, split_output=split))


def wait_until_ended(attempt: AttemptProcess) -> None:
    assert select.select([attempt], [], [], 10)[0], "the command does not end"


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o777])
def test_output_file_is_0600_under_any_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        attempt = begin(tmp_path / "output", "umask")
    finally:
        os.umask(before)
    wait_until_ended(attempt)
    attempt.collect(clock.monotonic())
    assert (tmp_path / "output").stat().st_mode & 0o7777 == 0o600
    assert int((tmp_path / "output").read_text(), 8) == umask


@pytest.mark.parametrize("taken", [Path.mkdir, Path.touch, lambda path: path.symlink_to("/no/such")])
def test_attempt_with_existing_path_is_not_started(tmp_path: Path, taken: object) -> None:
    taken(tmp_path / "output")  # type: ignore[operator]
    before = os.listdir("/proc/self/fd")
    with pytest.raises(AlreadyStarted):
        begin(tmp_path / "output", f"touch {tmp_path}/ran")
    assert os.listdir("/proc/self/fd") == before
    assert not (tmp_path / "ran").exists()


def test_nothing_starts_without_the_output_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        begin(tmp_path / "no" / "output", "true")


def test_command_holds_the_lock_without_its_worker(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "output.go")
    go = os.open(tmp_path / "output.go", os.O_RDWR)
    attempt = begin(tmp_path / "output", "read x <$GO")
    assert flock.locked(attempt.start.output)
    attempt.close_output()
    assert flock.locked(attempt.start.output)
    os.write(go, b"\n")
    wait_until_ended(attempt)
    assert flock.locked(attempt.start.output) is False
    attempt.collect(clock.monotonic())
    outcome = attempt.outcome
    assert outcome is not None
    assert outcome.output_bytes == 0
    os.close(go)


def test_held_lock_fails_the_start_without_waiting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def locked(fd: int, operation: int) -> None:
        raise BlockingIOError

    monkeypatch.setattr("fcntl.flock", locked)
    with pytest.raises(OSError, match="another process holds the lock"):
        begin(tmp_path / "output", f"touch {tmp_path}/ran")
    assert not (tmp_path / "ran").exists()


def test_a_full_disk_still_gives_an_outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    attempt = launch(Start(run=Argv(("no-such-program",)), output=str(tmp_path / "output"), env=ENV))
    assert attempt.outcome is not None
    assert attempt.outcome.error == "no-such-program: not found"


def disk(path: Path) -> int:
    return path.stat().st_blocks * 512


@pytest.mark.parametrize("keep", [True, False])
def test_too_much_output_loses_its_middle(tmp_path: Path, keep: bool) -> None:
    path = tmp_path / "output"
    os.mkfifo(tmp_path / "output.go")
    go = os.open(tmp_path / "output.go", os.O_RDWR)
    attempt = begin(path, "echo first; yes | head -c 20000000; read x <$GO; yes | head -c 5000000; echo last")
    if not keep:
        attempt.close_output()
    limit = 1_000_000
    while path.stat().st_size < 20_000_006:
        os.sched_yield()
    assert 18_990_000 < attempt.check_output(limit, clock.monotonic()) < 19_100_000
    assert disk(path) < limit + 100_000
    os.write(go, b"\n")
    wait_until_ended(attempt)
    cut = attempt.check_output(limit, clock.monotonic())
    attempt.collect(clock.monotonic())
    outcome = attempt.outcome
    os.close(go)
    assert outcome is not None
    assert (outcome.cause, outcome.output_bytes, outcome.output_cut) == (None, 25_000_011, cut)
    assert disk(path) < limit + 100_000
    hole = output.cut(str(path))
    assert hole is not None
    assert hole[1] - hole[0] == cut
    text = path.read_bytes()
    assert len(text) == outcome.output_bytes
    assert text[: hole[0]] == b"first\n" + b"y\n" * ((hole[0] - 6) // 2)
    assert text[hole[1] :] == b"y\n" * ((len(text) - hole[1] - 5) // 2) + b"last\n"
    assert not text[hole[0] : hole[1]].strip(b"\0")


def test_output_within_the_limit_is_whole(tmp_path: Path) -> None:
    attempt = begin(tmp_path / "output", "yes | head -c 100000")
    wait_until_ended(attempt)
    assert attempt.check_output(100_000, clock.monotonic()) == 0
    assert attempt.check_output(99_999, clock.monotonic()) == 0  # not worth a hole
    assert output.cut(attempt.start.output) is None
    attempt.collect(clock.monotonic())
    (tmp_path / "empty").touch()
    assert output.cut(str(tmp_path / "empty")) is None


def test_emptied_output_is_cut_again(tmp_path: Path) -> None:
    path = tmp_path / "output"
    trim = output.Trim()
    fd = output.create(str(path))
    for _ in range(2):
        os.write(fd, b"y\n" * 1_000_000)
        trim.trim(fd, os.fstat(fd), 100_000)
        assert 1_890_000 < trim.cut <= 1_900_000
        assert disk(path) < 200_000
        os.truncate(path, 0)
        os.write(fd, b"y\n" * 500_000)
        trim.trim(fd, os.fstat(fd), 100_000)
        assert 890_000 < trim.cut <= 900_000
        assert disk(path) < 200_000
        os.truncate(path, 0)
    os.write(fd, b"y\n")
    trim.trim(fd, os.fstat(fd), 100_000)
    assert trim.cut == 0
    os.close(fd)


def test_no_hole_is_punched_for_little(tmp_path: Path) -> None:
    trim = output.Trim()
    fd = output.create(str(tmp_path / "output"))
    for size, cut in ((10_400_000, 0), (10_800_000, 798_720), (10_900_000, 798_720)):
        os.posix_fallocate(fd, os.fstat(fd).st_size, size - os.fstat(fd).st_size)
        trim.trim(fd, os.fstat(fd), 10_000_000)
        assert trim.cut == cut
    os.close(fd)


def test_attempt_ends_if_no_hole_can_be_punched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(fd: int, offset: int, length: int) -> None:
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    monkeypatch.setattr("queuectl.host.fallocate.punch_hole", refused)
    attempt = begin(tmp_path / "output", "exec yes")
    while attempt.next_deadline is None:  # which is then that of the KILL
        attempt.check_output(1_000_000, clock.monotonic())
    wait_until_ended(attempt)
    attempt.collect(clock.monotonic())
    outcome = attempt.outcome
    assert outcome is not None
    assert (outcome.cause, outcome.signal, outcome.output_cut) == ("output", 15, None)


def test_split_output_keeps_each_byte_apart(tmp_path: Path) -> None:
    path = tmp_path / "output"
    attempt = begin(path, r"printf 'out\0\r'; printf 'err\n\200' >&2; printf more", split=True)
    wait_until_ended(attempt)
    attempt.collect(clock.monotonic())
    assert path.read_bytes() == b"out\0\rmore"
    assert (tmp_path / "output.err").read_bytes() == b"err\n\200"
    assert (tmp_path / "output.err").stat().st_mode & 0o7777 == 0o600
    assert attempt.outcome is not None
    assert attempt.outcome.output_bytes == 14


def test_each_split_file_is_limited(tmp_path: Path) -> None:
    path = tmp_path / "output"
    attempt = begin(path, "echo out; (echo first; yes | head -c 5000000; echo last) >&2", split=True)
    wait_until_ended(attempt)
    assert 3_900_000 < attempt.check_output(1_000_000, clock.monotonic()) < 4_100_000
    attempt.collect(clock.monotonic())
    assert disk(tmp_path / "output.err") < 1_100_000
    assert path.read_bytes() == b"out\n"
    assert attempt.outcome is not None
    assert attempt.outcome.output_bytes == 5_000_015
    assert 3_900_000 < (attempt.outcome.output_cut or 0) < 4_100_000


def test_messages_of_us_go_to_stderr(tmp_path: Path) -> None:
    plain = PlainCommand("/bin/sleep", ("sleep", "100"), ENV, shell_stays=True)
    run = Shell("sleep 100")
    attempt = launch(Start(run=run, output=str(tmp_path / "killed"), env=ENV, plain=plain, split_output=True))
    os.kill(attempt.pid, signal.SIGKILL)
    wait_until_ended(attempt)
    attempt.collect(clock.monotonic())
    assert (tmp_path / "killed").read_bytes() == b""
    assert (tmp_path / "killed.err").read_text() == "Killed\n"
    launch(Start(run=Argv(("no-such-program",)), output=str(tmp_path / "output"), env=ENV, split_output=True))
    assert (tmp_path / "output").read_bytes() == b""
    assert (tmp_path / "output.err").read_text() == "queuectl: no-such-program: not found\n"


def test_what_holds_only_split_stderr_is_terminated(tmp_path: Path) -> None:
    path = tmp_path / "output"
    program = "import os, time; os.close(1); os.close(77); print(flush=True, file=open('$GO', 'w')); time.sleep(9)"
    os.mkfifo(tmp_path / "output.go")
    attempt = begin(path, f'setsid env -i {sys.executable} -c "{program}" & read x <$GO', split=True)
    wait_until_ended(attempt)
    attempt.collect(clock.monotonic())
    attempt.close_output()
    assert flock.locked(str(path)) is False
    assert output.is_output_locked(str(path)), "by the lock on the file for stderr"
    assert not terminate(str(path), "no such tag", clock.monotonic() + 5)
    assert not output.is_output_locked(str(path))
