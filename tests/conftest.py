"""Fixtures and settings of every test: nothing comes from the shell that runs them; hypothesis has a time limit."""

import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import freezegun
import pytest
from freezegun.config import DEFAULT_IGNORE_LIST
from hypothesis import HealthCheck, settings

from tests.support import fork_server
from tests.support.lab import Fifo, Lab
from tests.support.shell import Answer, Shell

# freezegun leaves the clock alone in every module whose name begins with `queue`; it means the standard library's.
freezegun.configure(default_ignore_list=[name for name in DEFAULT_IGNORE_LIST if name != "queue"])

# Python is started hundreds of times: what it compiles is kept, whatever the shell says.
sys.dont_write_bytecode = False
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

settings.register_profile(
    "here",
    deadline=None,
    database=None,
    derandomize=False,  # hypothesis would draw the same histories each time where CI is set
    max_examples=100,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("here")

pytest_plugins = ["tests.support.postgres.fixtures", "tests.support.application"]

IGNORED_BY_PYTHON = {signal.SIGPIPE, signal.SIGXFSZ}


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Torture needs the whole machine; most other tests wait more than they compute."""
    return 0 if config.option.markexpr == "torture" else 2 * len(os.sched_getaffinity(0))


def pytest_sessionstart() -> None:
    """Start everything with the signals that a person's shell gives it, also where the tests are run by nohup or `&`.

    What was ignored is handled, by doing nothing: here it changes nothing, but no handler outlives an exec.
    """
    for number in signal.valid_signals() - IGNORED_BY_PYTHON:
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, _nothing)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _nothing(*_: object) -> None:
    pass


@pytest.fixture(autouse=True)
def _no_settings_of_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("QUEUECTL_") or name in ("DB_PATH", "MAX_RETRIES", "BACKOFF_BASE"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("QUEUECTL_KEEP_ENV", "none")  # or the first event of every log were an environment


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    lab = Lab(tmp_path)
    yield lab
    lab.close()


@pytest.fixture
def fifo(tmp_path: Path) -> Iterator[Fifo]:
    fifo = Fifo(tmp_path / "fifo")
    yield fifo
    fifo.close()


@pytest.fixture
def queuectl(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture
def inside(
    queuectl: Shell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Answer]:
    """The same command in this process, for tables of command lines: a tenth of the time."""
    from queuectl.cli import main

    monkeypatch.chdir(queuectl.folder)
    monkeypatch.setenv("QUEUECTL_DB", "q.db")

    def run(*words: str) -> Answer:
        capsys.readouterr()
        code = main(words)
        out, err = capsys.readouterr()
        return Answer(code, out.encode(), err.encode())

    return run


@pytest.fixture
def terminal(queuectl: Shell) -> Callable[..., str]:
    """What a command shows on a terminal (80 columns), stdout and stderr together."""

    def show(*words: str, columns: int = 80, **env: str) -> str:
        import fcntl
        import pty
        import struct
        import termios

        parent, child = pty.openpty()
        fcntl.ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        environ = queuectl.env | {"TERM": "xterm-256color"} | env
        process = fork_server.Child(words, environ, queuectl.folder, (child, child, child))
        os.close(child)
        seen = b"".join(_until_closed(parent))
        os.close(parent)
        process.wait()
        return seen.decode("utf-8").replace("\r\n", "\n")

    return show


def _until_closed(fd: int) -> Iterator[bytes]:
    while True:
        try:
            data = os.read(fd, 65536)
        except OSError:  # EIO: the other end is closed
            return
        if not data:
            return
        yield data


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can get to: what pytest makes is closed to others."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder).resolve()
