"""The engines that the conformance suite is run against. To add one, write its `Lab` and name it in LABS."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from queuectl import engines
from queuectl.engines.base import Engine
from tests.support.paths import ROOT


class Lab(Protocol):
    """One new database, and the ways to open it."""

    def make(self) -> Engine:
        """An engine on the new database; the first call creates it."""
        ...

    def opening(self) -> str:
        """Python that binds `engine` to an engine on that database, for another process."""
        ...


class SqliteLab:
    def __init__(self, folder: Path) -> None:
        self.path = str(folder / "q.db")

    def make(self) -> Engine:
        return engines.connect(self.path)

    def opening(self) -> str:
        return f"from queuectl import engines; engine = engines.connect({self.path!r})"


class PostgresLab:
    def __init__(self, url: str) -> None:
        self.url = url

    def make(self) -> Engine:
        return engines.connect(self.url)

    def opening(self) -> str:
        return f"from queuectl import engines; engine = engines.connect({self.url!r})"


LABS: dict[str, Callable[[pytest.FixtureRequest], Lab]] = {
    "sqlite": lambda request: SqliteLab(request.getfixturevalue("tmp_path")),
    "postgres": lambda request: PostgresLab(request.getfixturevalue("postgres_url")),
}

PRELUDE = """
import sys
from tests.support.engine_actions import *
def say(*words):
    print(*words, flush=True)
def wait_for_line():
    return sys.stdin.readline()
"""


class Process:
    """Another process with an engine of its own on the same database; lines are exchanged by its stdin and stdout."""

    def __init__(self, opening: str, script: str, *args: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"{PRELUDE}{opening}\n{script}", *args],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip

    def read_line(self) -> str:
        """Return the next line of its stdout."""
        assert self._process.stdout is not None
        return self._process.stdout.readline().rstrip("\n")

    def send_line(self, words: str = "") -> None:
        """Write a line to its stdin."""
        assert self._process.stdin is not None
        self._process.stdin.write(words + "\n")
        self._process.stdin.flush()

    def end(self) -> int:
        """Wait for it and return its exit code."""
        return self._process.wait(30)

    def kill(self) -> None:
        """Kill it and close its pipes."""
        self._process.kill()
        self._process.communicate()


class Site:
    """A database under test."""

    def __init__(self, lab: Lab, stack: ExitStack) -> None:
        self._lab = lab
        self._stack = stack

    def again(self) -> Engine:
        """Another engine on the same database."""
        engine = self._lab.make()
        self._stack.callback(engine.close)
        return engine

    def process(self, script: str, *args: str) -> Process:
        """Run a script in another process, with `engine` on the same database and the names of `engine_actions`."""
        process = Process(self._lab.opening(), script, *args)
        self._stack.callback(process.kill)
        return process


@pytest.fixture(params=LABS)
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    with ExitStack() as stack:
        yield Site(LABS[request.param](request), stack)


@pytest.fixture
def engine(site: Site) -> Engine:
    return site.again()
