"""Reading what a command wrote: its tail, what is left where the middle was cut out, and how a terminal shows it."""

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from queuectl.cli.ui.output_reader import OutputReader
from queuectl.outputs import LocalOutput
from queuectl.workers.execution.output import Trim
from tests.support.shell import Shell

BAR = b"".join(b"\r%3d%%" % n for n in range(101))
LINE = b"a line of the log that is kept\n"


def cut(path: Path, limit: int) -> int:
    """Cut out the middle of the file as a worker does; how many bytes."""
    trim = Trim()
    fd = os.open(path, os.O_RDWR)
    try:
        trim.trim(fd, os.fstat(fd), limit)
    except OSError as error:
        pytest.skip(f"no holes here: {error}")
    finally:
        os.close(fd)
    return trim.cut


def whole(path: Path) -> list[bytes | int]:
    with closing(OutputReader(LocalOutput(str(path)))) as written:
        return list(written.read_new())


def tail(path: Path, lines: int, keep: int | None = None) -> bytes:
    with closing(OutputReader(LocalOutput(str(path)))) as written:
        written.seek_last_lines(lines)
        if keep is not None:
            written.skip_overwritten(keep)
        return b"".join(piece for piece in written.read_new() if isinstance(piece, bytes))


@pytest.mark.parametrize("limit", [50 << 10, 100 << 10, 512 << 10, 1 << 20])
def test_a_hole_is_reported_once_and_never_read(tmp_path: Path, limit: int):
    path = tmp_path / "1"
    path.write_bytes(LINE * 100_000 + b"END\n")
    size, gone = path.stat().st_size, cut(path, limit)
    pieces = whole(path)
    assert [piece for piece in pieces if isinstance(piece, int)] == [gone]
    data = b"".join(piece for piece in pieces if isinstance(piece, bytes))
    assert b"\0" not in data
    assert len(data) == size - gone
    for lines in (1, 2, 1000, 100_001, 10**9):
        assert b"\0" not in (found := tail(path, lines))
        assert found.endswith(LINE + b"END\n") or found == b"END\n"


def test_a_hole_punched_while_reading_is_skipped(tmp_path: Path):
    path = tmp_path / "1"
    path.write_bytes(LINE * 100_000)
    with closing(OutputReader(LocalOutput(str(path)))) as written:
        pieces = written.read_new()
        first = next(pieces)
        cut(path, 100 << 10)
        rest = list(pieces)
    assert isinstance(first, bytes)
    assert sum(isinstance(piece, int) for piece in rest) == 1
    assert not any(b"\0" in piece for piece in rest if isinstance(piece, bytes))
    assert len(first) + sum(p if isinstance(p, int) else len(p) for p in rest) == path.stat().st_size


def test_nul_bytes_of_the_command_itself_stay(tmp_path: Path):
    path = tmp_path / "1"
    path.write_bytes(b"a\0\0b\n" + bytes(600_000) + b"end\n")
    assert b"".join(p for p in whole(path) if isinstance(p, bytes)) == path.read_bytes()


@pytest.mark.parametrize("size", [0, 300_000, 600_000])
def test_tail_counts_line_feeds_only(tmp_path: Path, size: int):
    path = tmp_path / "1"
    path.write_bytes(b"first\n" + b"\r" * size + BAR + b"\r\n")
    assert tail(path, 1) == b"\r" * size + BAR + b"\r\n"
    assert tail(path, 1, keep=0) == b"100%\r\n"
    assert tail(path, 2, keep=0) == path.read_bytes()
    assert tail(path, 1, keep=10) == b" 99%\r100%\r\n"
    path.write_bytes(BAR + b"\r" * 3)
    assert tail(path, 1, keep=0) == b"100%\r\r\r"
    path.write_bytes(b"no bar at all\r\n")
    assert tail(path, 1, keep=0) == b"no bar at all\r\n"


@pytest.fixture
def wrote(queuectl: Shell) -> Callable[[bytes], str]:
    """A job that has written these bytes, and ended."""

    def run(data: bytes) -> str:
        (queuectl.folder / "data").write_bytes(data)
        job = queuectl("enqueue", "cat data").ok().out.strip()
        queuectl("worker", "start", "--drain").ok()
        return job

    return run


def test_following_a_removed_output_says_so(queuectl: Shell, wrote: Callable[[bytes], str]):
    job = wrote(b"hello\n")
    for file in (queuectl.folder / "q.db.d" / "output").iterdir():
        file.unlink()
    told = queuectl("logs", job).refused(1)
    assert f"attempt 1 of job {job} wrote 6 B, and its output file is gone" in told
    for words in ((), ("--attempt", "1"), ("--tail", "3")):
        assert queuectl("logs", job, "--follow", *words).refused(1) == told


def test_only_a_terminal_folds_a_finished_bar(
    queuectl: Shell, terminal: Callable[..., str], wrote: Callable[[bytes], str]
):
    evil = b"\x1b]52;c;aGk=\x07\x1b[2J\n"
    data = b"begin\n" + BAR + b"\r\n" + evil + b"\x1b[32mgreen\n" + BAR + b"\n"
    job = wrote(data)
    clean = "\\x1b]52;c;aGk=\\x07\\x1b[2J\n\x1b[32mgreen"
    assert queuectl("logs", job).raw == data
    assert queuectl("logs", job, "--tail", "1").raw == b"100%\n"
    assert queuectl("logs", job, "--tail", "1", "--raw").raw == BAR + b"\n"
    assert terminal("logs", job) == f"begin\n100%\n{clean}\x1b[0m\n\x1b[32m100%\x1b[0m\n"
    assert terminal("logs", job, "--tail", "1") == "100%\n"
    assert terminal("logs", job, "--raw") == f"begin\n{BAR.decode()}\r\n{clean}\n{BAR.decode()}\n\x1b[0m"
    assert terminal("logs", job, "--follow") == terminal("logs", job, "--raw")
    page = terminal("inspect", job)
    assert "\n  100%\n" in page
    assert "\n  \x1b[32mgreen\x1b[0m\n" in page
    assert "\x1b[2J" not in page
    assert "\x1b" not in queuectl("inspect", job).out


def test_a_bar_that_runs_is_seen_to_run(queuectl: Shell, terminal: Callable[..., str]):
    queuectl.make()
    (queuectl.folder / "data").write_bytes(BAR + b"\x1b[1A\x1b[31m\x1b[")
    assert terminal("run", "cat data", "--timeout", "none") == f"{BAR.decode()}\\x1b[1A\x1b[31m\\x1b[\x1b[0m\n"
