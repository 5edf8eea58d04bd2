"""How a figure is measured: alternately with its floor, several times, medians of what came out."""

import os
import statistics
import sys
from collections.abc import Callable
from typing import Literal

import msgspec

from queuectl import clock

Better = Literal["higher", "lower"]


class Options(msgspec.Struct, frozen=True):
    """What all workloads are told."""

    quick: bool = False
    """A tenth of the work, to see that it runs; the numbers mean little."""


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the report. `ours`, `floor` and `ratios` belong together pair by pair, in the order they were run."""

    name: str
    floor_name: str
    unit: str
    better: Better
    ours: list[float]
    floor: list[float]
    wanted_ratio: float | None = None
    """The least ratio wanted where higher is better, else the greatest."""
    wanted: float | None = None
    """The same for the median of ours, in `unit`."""

    @property
    def ratios(self) -> list[float]:
        """Ours to the floor, for each pair."""
        return [a / b for a, b in zip(self.ours, self.floor, strict=True)]

    @property
    def ratio(self) -> float:
        """The median of the ratios of the pairs."""
        return statistics.median(self.ratios)

    @property
    def reached(self) -> bool | None:
        """Whether what was wanted came out; None where nothing was asked."""
        asked = [(self.ratio, self.wanted_ratio), (statistics.median(self.ours), self.wanted)]
        verdicts = [
            (got >= want) if self.better == "higher" else (got <= want) for got, want in asked if want is not None
        ]
        return all(verdicts) if verdicts else None


def pairs(
    count: int, ours: Callable[[], float], floor: Callable[[], float], *, what: str
) -> tuple[list[float], list[float]]:
    """Measure both `count` times in turn; the first pair's order is ours, floor, the next one's the other way round.

    Both return what they measured. Progress goes to stderr where that is a terminal.
    """
    measured: tuple[list[float], list[float]] = ([], [])
    for turn in range(count):
        for side in (0, 1) if turn % 2 == 0 else (1, 0):
            measured[side].append((ours, floor)[side]())
        if sys.stderr.isatty():
            print(
                f"\r\x1b[K{what}: {turn + 1}/{count}",
                end="\n" if turn + 1 == count else "",
                file=sys.stderr,
                flush=True,
            )
    return measured


def seconds(argv: list[str]) -> float:
    """How long a command takes from its start to its end; its output is dropped. Raises RuntimeError if it fails.

    Python may keep what it has compiled, as it does where it is installed: some environments forbid it in a checkout.
    """
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    null = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in (0, 1)]
    began = clock.monotonic()
    pid = os.posix_spawnp(argv[0], argv, env, file_actions=null)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    took = clock.monotonic() - began
    if status != 0:
        raise RuntimeError(f"{' '.join(argv)} ended with {status}")
    return took


def queuectl() -> list[str]:
    """The command as it is installed beside this Python, or this Python with `-m queuectl`."""
    installed = os.path.join(os.path.dirname(sys.executable), "queuectl")
    return [installed] if os.access(installed, os.X_OK) else [sys.executable, "-m", "queuectl"]
