"""Kill a worker in the middle of a job, and measure whether two attempts of that job run at the same time.

`python -m bench.killed_worker [queuectl|spoolctl ...] [--seconds N]`. Each queue (spoolctl: `pip install spoolctl`)
gets one job of N seconds and two workers. Three seconds after the job has started, the worker that runs it gets
SIGKILL. The job writes down its process id five times a second, so the overlap is read from what the job itself did.
"""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

JOB = """
import os, sys, time

path, seconds = sys.argv[1], float(sys.argv[2])
end = time.monotonic() + seconds
while time.monotonic() < end:
    with open(path, "a") as file:
        print(os.getpid(), os.getppid(), time.monotonic(), file=file)
    time.sleep(0.2)
"""

BEFORE_THE_KILL = 3.0
"""Seconds that the job has run when its worker is killed."""

Start = Callable[[Path, Sequence[str]], list["subprocess.Popen[bytes]"]]
"""Adds a job to a queue in a new folder and starts two workers; returns their processes."""


def program(name: str) -> str | None:
    """The path of a command beside this Python, or in PATH; None where it is not installed."""
    return shutil.which(name, path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}")


def queuectl(folder: Path, job: Sequence[str]) -> list["subprocess.Popen[bytes]"]:
    """QueueCTL with its defaults, but for the time limit."""
    command = [sys.executable, "-m", "queuectl", "--db", str(folder / "q.db")]
    subprocess.run([*command, "enqueue", "--timeout", "none", "--", *job], check=True, capture_output=True)
    return [subprocess.Popen([*command, "worker", "start", "--count", "2"], stderr=subprocess.DEVNULL)]


def spoolctl(folder: Path, job: Sequence[str]) -> list["subprocess.Popen[bytes]"]:
    """spoolctl with its defaults."""
    command, database = program("spoolctl") or "spoolctl", ["--db", str(folder / "q.db")]
    subprocess.run([command, "add", *database, "--", *job], check=True, capture_output=True)
    return [subprocess.Popen([command, "work", *database], stderr=subprocess.DEVNULL) for _ in range(2)]


QUEUES: dict[str, Start] = {"queuectl": queuectl, "spoolctl": spoolctl}


def ticks(path: Path) -> dict[int, list[float]]:
    """The moments that each process of the job wrote down, in the order in which the processes started."""
    seen: dict[int, list[float]] = {}
    if path.exists():
        for line in path.read_text(encoding="utf-8").splitlines():
            pid, _, moment = line.split()
            seen.setdefault(int(pid), []).append(float(moment))
    return seen


def until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until something holds, at most so long; whether it did."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.1)
    return True


def measure(start: Start, seconds: float) -> tuple[float, float]:
    """Seconds from the kill to the second attempt's start, and seconds during which both attempts ran.

    Raises TimeoutError where the job does not start, or is not started again.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "ticks"
        workers = start(folder, [sys.executable, "-c", JOB, str(path), str(seconds)])
        try:
            if not until(lambda: bool(ticks(path)), 30):
                raise TimeoutError("the job did not start")
            time.sleep(BEFORE_THE_KILL)
            os.kill(int(path.read_text(encoding="utf-8").split()[1]), signal.SIGKILL)
            killed = time.monotonic()
            for worker in workers:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    worker.wait(0.5)  # reaped: a zombie would look like a worker that lives
            if not until(lambda: len(ticks(path)) > 1, 120):
                raise TimeoutError("the job was not started again")
            time.sleep(seconds)  # more than what is left of the first attempt
            first, second, *_ = ticks(path).values()
            return second[0] - killed, max(0.0, first[-1] - second[0])
        finally:
            for _ in range(2):  # the second signal ends what runs
                for worker in workers:
                    worker.send_signal(signal.SIGTERM)
                time.sleep(0.5)
            for worker in workers:
                worker.wait()


def main() -> int:
    """Measure the queues that are named or installed, and print a line for each."""
    parser = argparse.ArgumentParser(prog="python -m bench.killed_worker", description=__doc__)
    parser.add_argument("queue", nargs="*", metavar="queue", help=f"{', '.join(QUEUES)}; those installed if none")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long the job takes (60)")
    asked = parser.parse_args()
    names: list[str] = asked.queue or [name for name in QUEUES if name == "queuectl" or program(name)]
    if unknown := [name for name in names if name not in QUEUES]:
        parser.error(f"unknown queue {unknown[0]!r}; known: {', '.join(QUEUES)}")
    for name in names:
        again, both = measure(QUEUES[name], asked.seconds)
        print(f"{name}: started again {again:.1f} s after the kill; two attempts at once for {both:.1f} s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
