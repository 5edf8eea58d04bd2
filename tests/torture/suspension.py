"""A job that runs commands of the queue all the time is stopped and goes on, again and again: nobody waits for it.

One that stayed stopped while it held the gate would keep all other commands waiting, also that which ends it (R33).
"""

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from queuectl.clock import monotonic
from queuectl.host import processes, procfs
from tests.support.lab import Lab
from tests.torture.verdict import Breach, Figures, Run

ANSWER = 5.0
"""Seconds in which each command has to have answered."""
LOOP = """
from queuectl import Queue, Refused
queue = Queue({database!r})
while True:
    queue.enqueue("true", queue="inside")
    try:
        queue.note("x")
    except Refused:  # there are too many, which is found out while the gate is held
        pass
"""


def suspension(seed: int, full: bool, folder: Path | None = None) -> Figures:
    """So many times its queue is paused with `--suspend`, another job enqueued, and the queue resumed."""
    rounds = 50 if full else 5
    pick = random.Random(seed)
    made = Path(tempfile.mkdtemp(prefix="queuectl-suspension-", dir=folder))
    lab = Lab(made)
    try:
        id = _busy(lab)
        lab.until(lambda: lab.queue.status(queue="inside").counts["pending"])
        times: dict[str, float] = {}
        for _ in range(rounds):
            time.sleep(pick.uniform(0.0, 0.1))
            _command(lab, times, "pause", "jobs", "--suspend")
            _command(lab, times, "enqueue", "--queue", "outside", "true")
            lab.until(lambda: _rests(lab, id))
            _command(lab, times, "resume", "jobs")
        figures: Figures = {"rounds": rounds, "enqueued by the job": lab.queue.status(queue="inside").counts["pending"]}
        figures |= {"noted by the job": len(lab.queue.notes(id))}
        figures |= {f"longest {name} (ms)": round(seconds * 1000) for name, seconds in times.items()}
        if (went_on := lab.log(id).count("continued")) != rounds:
            raise Breach([f"it went on {went_on} times"], figures)
    finally:
        lab.close()
    shutil.rmtree(made)
    return figures


RUNS: dict[str, Run] = {"suspension": suspension}


def _busy(lab: Lab) -> str:
    """Start a job of four processes that note and enqueue without end: two programs, one in a session of its own."""
    (lab.folder / "loop.py").write_text(LOOP.format(database=lab.database))
    program = f"{sys.executable} {lab.folder}/loop.py"
    command = f"{sys.executable} -m queuectl"
    shell = f"while :; do {command} note x || {command} enqueue --queue inside true; done"
    id = lab.queue.enqueue(f"setsid {program} & {program} & ({shell}) & {shell}", queue="jobs", timeout=None)
    lab.start(queues=["jobs"])
    return id


def _rests(lab: Lab, id: str) -> bool:
    """Whether nothing of the job runs, nor has done anything between two looks."""
    before = lab.queue.status(queue="inside").counts["pending"]
    for _ in range(2):
        if any(map(processes.runs, _processes_of(id))):
            return False
        time.sleep(0.1)
    return lab.queue.status(queue="inside").counts["pending"] == before


def _processes_of(id: str) -> list[int]:
    """What there is of the job, by its environment."""
    mark = f"\0QUEUECTL_JOB_ID={id}\0".encode()
    return [pid for pid in procfs.pids() if mark in procfs.environment(pid)]


def _command(lab: Lab, times: dict[str, float], *words: str) -> None:
    """Run a command from outside, and note the longest time that its kind has taken."""
    began = monotonic()
    environ = {**os.environ, "QUEUECTL_DB": lab.database}
    subprocess.run([sys.executable, "-m", "queuectl", *words], env=environ, check=True, capture_output=True, timeout=60)
    times[words[0]] = max(times.get(words[0], 0.0), seconds := monotonic() - began)
    if seconds > ANSWER:
        raise Breach([f"queuectl {' '.join(words)} took {seconds:.1f} s"], {**times})
