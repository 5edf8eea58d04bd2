"""Callbacks under kills: the supervisor with its workers is SIGKILLed at random while jobs end in every way.

Users cancel, hold and retry meanwhile. Then the log says whether each end has had its callbacks once, and each coming
to rest its own, and what the callbacks wrote whether they were told the truth.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path

from projections.jobs import FINAL
from queuectl import Queue, Spec
from queuectl.clock import monotonic
from queuectl.errors import Refused
from queuectl.events import Enqueued
from queuectl.rest import live_jobs
from queuectl.wait_history import FOLDED
from tests.support.relations_judge import RelationsJudge
from tests.torture.verdict import Breach, Figures

WAYS = ("true", "true", "exit 3", "sleep 0.1", "kill -9 $$", "sleep 0.2; exit 1")
ROUNDS = 3
"""How many times all is done, and more is enqueued."""
LONGEST = 300
"""Seconds after which it is given up."""


def run(seed: int, full: bool, folder: Path | None = None) -> Figures:
    """Run it in a folder of its own, which is left where it was broken."""
    pick = random.Random(seed)
    made = Path(tempfile.mkdtemp(prefix="queuectl-callbacks-", dir=folder))
    with Queue(made / "q.db") as queue:
        queue.set_config("max-retries", "1")
        queue.set_config("backoff-base", "1")
        queue.set_config("backoff-max", "0.1")
        queue.set_config("on-dead", "true")
        queue.set_config("on-empty", "true")
        ids: list[str] = []
        kills = 0
        for lap in range(ROUNDS):
            ids += queue.enqueue_many(_specs(pick, lap, 300 if full else 30, made / "told"))
            kills += _kill(queue, ids, pick, 12 if full else 3)
        figures: Figures = {"jobs": len(ids), "kills": kills, **_ends(queue)}
        if faults := [*_untrue(queue, made / "told"), *_wrong_ends(queue), *_wrong_rests(queue), *queue.check()]:
            raise Breach(faults, figures)
    shutil.rmtree(made)
    return figures


def _specs(pick: random.Random, lap: int, count: int, told: Path) -> list[Spec]:
    line = f'echo "$QUEUECTL_JOB_ID $QUEUECTL_TRIGGER_JOB $QUEUECTL_TRIGGER_STATE" >> {told}'
    specs: list[Spec] = []
    for number in range(count):
        others = pick.sample(range(number), min(number, 1)) if pick.random() < 0.3 else []
        fields: dict[str, object] = {"after": tuple(f"@n{other}" for other in others)}
        if pick.random() < 0.2:
            fields = {"batch": f"b{lap}-{number % 3}", "halt": "now,fail=3"}
        callbacks = {"on_complete": line, "on_failure": line, "on_end": line}
        specs.append(Spec(command=pick.choice(WAYS), name=f"n{number}", **fields, **callbacks))  # pyright: ignore[reportArgumentType]
    return specs


def _kill(queue: Queue, ids: list[str], pick: random.Random, kills: int) -> int:
    """Run workers and kill so many of them, while a user does this and that; returns how many were killed."""
    command = [sys.executable, "-m", "queuectl", "worker", "start", "--count=2", "--slots=3", "--db", queue.url]
    deadline, killed = monotonic() + LONGEST, 0
    while True:
        worker = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
        )  # fmt: skip
        until = monotonic() + pick.uniform(0.3, 0.9) if killed < kills else deadline
        while monotonic() < until and not (killed >= kills and _is_over(queue)):
            if killed < kills:
                _change(queue, ids, pick)
            time.sleep(0.05)
        if killed >= kills:
            worker.terminate()
            worker.wait(60)
            if not _is_over(queue):
                raise Breach([f"not over after {LONGEST} s"], {**queue.status().counts})
            return killed
        os.killpg(worker.pid, signal.SIGKILL)
        worker.wait(10)
        killed += 1
        queue.release(*ids, among=("pending", "failed", "blocked"))


def _change(queue: Queue, ids: list[str], pick: random.Random) -> None:
    """A user cancels, holds or retries something."""
    some = pick.sample(ids, 2)
    with suppress(Refused):  # it would never start, or is not finished any more
        match pick.choice(("cancel", "hold", "retry", "retry", "none", "none")):
            case "cancel":
                queue.cancel(*some, among=("pending", "failed", "processing", "dead", "blocked"))
            case "hold":
                queue.hold(*some, among=("pending", "failed", "blocked"))
            case "retry":
                queue.retry(*some, among=FINAL)
            case _:
                pass


def _is_over(queue: Queue) -> bool:
    return not sum(jobs for state, jobs in queue.status().counts.items() if state not in FINAL)


def _ends(queue: Queue) -> dict[str, int]:
    counts = Counter(
        each.event.trigger.event
        for each in queue.events(type="enqueued")
        if isinstance(each.event, Enqueued) and each.event.trigger is not None
    )
    return {f"callbacks of {end}": count for end, count in sorted(counts.items(), key=str)}


def _wrong_ends(queue: Queue) -> list[str]:
    judge = RelationsJudge()
    judge.hear(queue.events())
    return judge.faults


def _wrong_rests(queue: Queue) -> list[str]:
    """The transactions after which nothing was left to do, and that did not say so, or said so without cause."""
    faults: list[str] = []
    before = 0
    with queue.engine.rerun(0, queue.status().seq, FOLDED) as rerun:
        for changes in rerun:
            rerun.take(changes)
            live = live_jobs(rerun.view, callbacks=False)
            events = [change.event for change in changes if isinstance(change.event, Enqueued)]
            told = sum(each.trigger is not None and each.trigger.event == "empty" for each in events)
            if told != (before > 0 and live == 0):
                faults.append(f"{changes[-1].record.seq}: {before} jobs were live, and {live} are: told {told} times")
            before = live
    return faults


def _untrue(queue: Queue, told: Path) -> list[str]:
    """What callbacks were told that is not so, and those that completed and have told nothing."""
    lines = [line.split() for line in told.read_text().splitlines()]
    faults: list[str] = []
    heard: set[str] = set()
    for id, job, state in lines:
        heard.add(id)
        trigger = queue.job(id).policy.trigger
        if trigger is None or (trigger.job, trigger.event) != (job, state):
            faults.append(f"callback {id} was told of {job} {state}, and tells of {trigger}")
    for job in queue.jobs(state="completed"):
        if job.past_limits and job.command.startswith("echo") and job.id not in heard:
            faults.append(f"callback {job.id} has completed, and told nothing")
    return faults
