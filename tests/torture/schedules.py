"""Eight workers fire schedules of every second while they are killed, and the schedules removed and added again.

A judge that reads the log alone finds each moment enqueued once, or told as skipped.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from queuectl import Queue, Spec
from queuectl.clock import monotonic, now
from queuectl.errors import NotFound, Refused
from queuectl.scheduling import Terms
from tests.support.schedule_judge import faults, fire
from tests.torture.verdict import Breach, Figures

TERMS: dict[str, Terms] = {
    "skip": {"every": 1},
    "queue": {"cron": "* * * * *", "tz": "Australia/Lord_Howe", "overlap": "queue"},
    "allow": {"every": 1, "overlap": "allow", "catch_up": "all"},
    "none": {"every": 2, "overlap": "allow", "catch_up": "none", "jitter": 1},
    "failing": {"every": 1, "overlap": "allow", "pause_on_failure": True},
}
"""By name, what the schedules are."""
COMMANDS = {"skip": "sleep 0.3", "failing": "exit $(($(date +%s) % 5 == 0))"}
WORKERS = 8


def run(seed: int, full: bool, folder: Path | None = None) -> Figures:
    """See the module."""
    pick = random.Random(seed)
    made = Path(tempfile.mkdtemp(prefix="queuectl-schedules-", dir=folder))
    with Queue(made / "q.db") as queue:
        for name in TERMS:
            _add(queue, name)
        workers = subprocess.Popen(
            [sys.executable, "-m", "queuectl", "worker", "start", f"--count={WORKERS}", "--db", queue.url],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            kills, changes = _torment(queue, pick, 90.0 if full else 8.0)
        finally:
            workers.terminate()
            workers.wait(60)
        for name in TERMS:
            with suppress(NotFound):
                queue.schedules.resume(name)
            fire(queue, name)
        found = [f"{name}: {fault}" for name in TERMS for fault in faults(queue, name, now())] + queue.check()
        fired = sum(1 for _ in queue.events(type="schedule_fired"))
        skipped = sum(1 for _ in queue.events(type="schedule_skipped"))
        figures: Figures = {"fired": fired, "skips": skipped, "kills": kills, "changes": changes}
        if found or not fired:
            raise Breach(found or ["nothing was fired"], figures)
    shutil.rmtree(made)
    return figures


def _add(queue: Queue, name: str) -> None:
    spec = Spec(command=COMMANDS.get(name, "true"), max_retries=0)
    queue.schedules.add(name, spec, **TERMS[name])


def _torment(queue: Queue, pick: random.Random, seconds: float) -> tuple[int, int]:
    """Kill workers and change schedules at random; returns how many of each."""
    kills = changes = 0
    until = monotonic() + seconds
    while monotonic() < until:
        time.sleep(pick.uniform(0.02, 0.3))
        if (alive := queue.workers()) and pick.random() < 0.2:
            with suppress(ProcessLookupError):
                os.kill(pick.choice(alive).pid, signal.SIGKILL)
                kills += 1
        if pick.random() < 0.3:
            _change(queue, pick.choice([*TERMS]), pick)
            changes += 1
    return kills, changes


def _change(queue: Queue, name: str, pick: random.Random) -> None:
    with suppress(NotFound, Refused):
        match pick.choice(("again", "pause", "resume", "resume", "edit", "run", "backfill")):
            case "again":
                queue.schedules.remove(name)
                _add(queue, name)
            case "pause":
                queue.schedules.pause(name)
            case "resume":
                queue.schedules.resume(name)
            case "edit":
                every = pick.choice((1, 2, 3))
                queue.schedules.edit(name, terms={"every": every, "anchor": now()}, priority=pick.randint(0, 9))
            case "run":
                queue.schedules.run(name)
            case _:
                queue.schedules.backfill(name, now() - 3_000_000)
