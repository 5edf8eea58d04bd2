"""Thousands of jobs depend on one that dies, or are in a batch that it halts: all are cancelled once.

Whoever is killed in between, and others write on. Then the first one is retried with all that it took along, and each
completes once.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from projections.jobs import FINAL
from queuectl import Queue, Spec
from queuectl.clock import monotonic
from queuectl.engines import dependants
from tests.torture.verdict import Breach, Figures, Run

SLOTS = 4
LONGEST_WAIT = 0.5
"""Seconds that an enqueue of a bystander may take."""


def fan(seed: int, full: bool, folder: Path | None = None) -> Figures:
    """All depend on the first."""
    count = 10_000 if full else 3 * dependants.MOST
    return _run(seed, [Spec(command="true", after=("first",))] * count, 20 if full else 8, folder)


def chain(seed: int, full: bool, folder: Path | None = None) -> Figures:
    """Each depends on the one before it."""
    count = 10_000 if full else 3 * dependants.MOST
    names = ["first", *(f"@n{number}" for number in range(1, count))]
    jobs = [Spec(command="true", name=f"n{place}", after=(name,)) for place, name in enumerate(names, 1)]
    return _run(seed, jobs, 20 if full else 8, folder)


def halt(seed: int, full: bool, folder: Path | None = None) -> Figures:
    """All are in a batch, which the death of the first one halts; each second one depends on the one before it."""
    count = 10_000 if full else 3 * dependants.MOST
    jobs = [
        Spec(command="true", batch="b", name=f"n{place}", after=(f"@n{place - 1}",) if place % 2 else (), priority=-1)
        for place in range(count)
    ]
    return _run(seed, jobs, 20 if full else 8, folder, batch="b")


RUNS: dict[str, Run] = {"cascade-fan": fan, "cascade-chain": chain, "cascade-halt": halt}


def _run(seed: int, jobs: list[Spec], kills: int, folder: Path | None, batch: str | None = None) -> Figures:
    pick = random.Random(seed)
    made = Path(tempfile.mkdtemp(prefix="queuectl-cascade-", dir=folder))
    with Queue(made / "q.db") as queue:
        rule = "soon,fail=1" if batch is not None else None
        # It takes all slots of a worker: none of its batch has started beside it.
        queue.enqueue(Spec(command="false", id="first", max_retries=0, batch=batch, halt=rule, slots=SLOTS))
        children = queue.enqueue_many(jobs)
        bystander = _Bystander(str(made / "q.db"))
        bystander.start()
        killed = _kill_until(queue, lambda: queue.job("first").state == "dead" and not _left(queue), pick, kills)
        longest = bystander.finish()
        _judge(queue, children, "cancelled", 1)
        if longest > LONGEST_WAIT:
            raise Breach([f"an enqueue took {longest:.2f} s while dependants were cancelled"], {"kills": killed})
        chosen = () if batch is not None else ("first",)
        queue.retry(*chosen, batch=batch, cascade=True, command="true")
        _kill_until(queue, lambda: queue.job("first").state == "completed" and not _left(queue), pick, 0)
        _judge(queue, ["first", *children], "completed", 1)
        if differences := queue.check():
            raise Breach(differences, {"kills": killed})
    shutil.rmtree(made)
    return {"jobs": len(children), "kills": killed, "longest wait of a bystander (ms)": round(longest * 1000)}


def _left(queue: Queue) -> int:
    """How many jobs have not ended, those of the bystander aside."""
    counts = queue.status(queue="default").counts
    return sum(jobs for state, jobs in counts.items() if state not in FINAL)


def _kill_until(queue: Queue, done: Callable[[], bool], pick: random.Random, kills: int) -> int:
    """Run workers, and kill so many of them at random; returns how many were killed before all was done."""
    deadline, killed = monotonic() + 300, 0
    while True:
        worker = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "queuectl",
                "worker",
                "start",
                f"--slots={SLOTS}",
                "--queue=default",
                "--db",
                queue.url,
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        until = monotonic() + pick.uniform(0.25, 0.6) if killed < kills else deadline
        while monotonic() < until and not done():
            time.sleep(0.02)
        if killed >= kills or done():
            worker.terminate()
            worker.wait(60)
            if not done():
                raise Breach(["not over after 300 s"], {**queue.status(queue="default").counts})
            return killed
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait(10)
        killed += 1


class _Bystander(threading.Thread):
    """Enqueues held jobs all the time, and measures how long each takes."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url
        self._stop_it = threading.Event()
        self._longest = 0.0

    def run(self) -> None:
        with Queue(self._url) as queue:
            while not self._stop_it.wait(0.02):
                began = monotonic()
                queue.enqueue("true", queue="aside", held=True)
                self._longest = max(self._longest, monotonic() - began)

    def finish(self) -> float:
        """Stop, and return the longest time, in seconds."""
        self._stop_it.set()
        self.join()
        return self._longest


def _judge(queue: Queue, ids: list[str], state: str, times: int) -> None:
    """All are in this state, and came to it so many times."""
    ends = Counter(record.subject for record in queue.events() if record.type == state)
    wrong = [id for id in ids if queue.job(id).state != state or ends[id] != times]
    if wrong:
        raise Breach([f"{id} is {queue.job(id).state}, and {state} {ends[id]} times" for id in wrong], {})
