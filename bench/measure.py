"""How a figure is measured: in turn with what it is compared to, several times, medians of what came out."""

import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

import msgspec

from queuectl import clock

Better = Literal["higher", "lower"]
Trial = Callable[[], float]
"""Measures once; returns what it measured."""
T = TypeVar("T")


class Options(msgspec.Struct, frozen=True):
    """What all workloads are told."""

    quick: bool = False
    """A tenth of the work or less, to see that it runs; the numbers mean little."""

    @property
    def rounds(self) -> int:
        """How often everything is measured."""
        return self.of(5, 3)

    def of(self, whole: T, quick: T) -> T:
        """The first for a whole run, the second for a quick one."""
        return quick if self.quick else whole


class Side(msgspec.Struct, frozen=True):
    """What a figure is compared to: a floor, a peer, or QueueCTL itself under other conditions."""

    name: str
    values: list[float]
    """In the unit of the figure, round by round as its own."""
    durability: str = ""
    """What of its work survives what, where that differs from ours."""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the report.

    What is judged is the ratio to the floor, round by round; where there is no floor, the values themselves.
    """

    name: str
    unit: str
    better: Better
    ours: list[float]
    floor: Side | None = None
    goal: float | None = None
    """The least that is wanted of what is judged where higher is better, else the greatest."""
    judge: Literal["median", "worst"] = "median"
    """Whether the goal is one for the run as a rule, or a bound for each of its rounds."""
    peers: Sequence[Side] = ()
    """Others that do the same, measured in the same rounds; nobody is judged by them."""

    @property
    def judged(self) -> list[float]:
        """What the goal is about."""
        return self.ours if self.floor is None else ratios(self.ours, self.floor.values)

    @property
    def judged_unit(self) -> str:
        """The unit of that; a ratio has none."""
        return self.unit if self.floor is None else ""

    @property
    def value(self) -> float:
        """What is held against the goal."""
        worst = min if self.better == "higher" else max
        return {"median": statistics.median, "worst": worst}[self.judge](self.judged)

    @property
    def reached(self) -> bool | None:
        """Whether what was wanted came out; None where nothing was asked."""
        return self.holds(1.0)

    def holds(self, share: float) -> bool | None:
        """Whether at least so much of what was wanted came out (0.5: half as good); None where nothing was asked."""
        if self.goal is None:
            return None
        return self.value >= self.goal * share if self.better == "higher" else self.value <= self.goal / share


def ratios(ours: Sequence[float], others: Sequence[float]) -> list[float]:
    """Ours to the other's, round by round."""
    return [a / b for a, b in zip(ours, others, strict=True)]


def rounds(count: int, *trials: Trial, what: str) -> list[list[float]]:
    """Measure all trials in turn, `count` times, every second time the other way round; the values of each in order.

    Progress goes to stderr where that is a terminal.
    """
    values: list[list[float]] = [[] for _ in trials]
    for turn in range(count):
        order = range(len(trials)) if turn % 2 == 0 else reversed(range(len(trials)))
        for number in order:
            values[number].append(trials[number]())
        if sys.stderr.isatty():
            end = "\n" if turn + 1 == count else ""
            print(f"\r\x1b[K{what}: {turn + 1}/{count}", end=end, file=sys.stderr, flush=True)
    return values


def timed(work: Callable[[], object]) -> float:
    """The seconds that a call takes."""
    began = clock.monotonic()
    work()
    return clock.monotonic() - began


def cpu(work: Callable[[], object]) -> float:
    """The seconds of CPU, user's and system's, that a call takes in this process."""
    began = time.process_time()
    work()
    return time.process_time() - began


def environment() -> dict[str, str]:
    """Ours, for what is timed: Python may keep what it compiles, as it does where it is installed.

    Some environments forbid it in a checkout, and then every start would compile anew.
    """
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


def seconds(argv: list[str]) -> float:
    """How long a command takes from its start to its end; its output is dropped. Raises RuntimeError if it fails."""
    null = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1)]
    began = clock.monotonic()
    pid = os.posix_spawnp(argv[0], argv, environment(), file_actions=null)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    took = clock.monotonic() - began
    if status != 0:
        raise RuntimeError(f"{' '.join(argv)} ended with {status}")
    return took


def queuectl() -> list[str]:
    """The command as it is installed beside this Python, or this Python with `-m queuectl`."""
    installed = os.path.join(os.path.dirname(sys.executable), "queuectl")
    return [installed] if os.access(installed, os.X_OK) else [sys.executable, "-m", "queuectl"]
