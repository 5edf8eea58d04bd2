"""Flow control under SIGKILL: four workers on queues with a limit, a rate, two GPUs and pauses, judged from outside.

All is done by the real command, and `flow_judge.py` judges by its export and by what the jobs wrote. What is drawn at
random comes from the seed; when it hits what depends on the machine.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from queuectl import Queue
from queuectl.clock import monotonic
from tests.support.paths import ROOT
from tests.torture.flow_judge import Pause, judge
from tests.torture.flow_log import Law, Rate
from tests.torture.kills import children_of, words_of
from tests.torture.verdict import Breach, Figures, Run, leftover_files, leftover_processes

LAW = Law(limits={"three": 3}, rates={"rated": Rate(10, 5)}, pieces={"gpu": frozenset({0, 1})})

JOB = r"""
mark() {
    printf '%s %s %s %s000 %s\n' $1 $QUEUECTL_JOB_ID $QUEUECTL_ATTEMPT ${EPOCHREALTIME/[.,]/} \
        ${CUDA_VISIBLE_DEVICES:--} >> stamps
}
mark S
exec 9<> silence
for ((i = 0; i < $1; i++)); do read -t 0.03 -u 9; mark T; done
mark E
"""
"""Says when it began, that it still runs, and when it ends."""

QUEUES = ("three", "rated", "default")
TIMEOUT = 2.0
"""Seconds that an attempt may take; none needs as much."""
LONG = 0.6
"""Seconds that a pause has at least, so that there is something to be seen; the first one is longer than timeouts."""


class Scene:
    """A queue in a scratch folder, with two parents of two workers each."""

    def __init__(self, folder: Path, rng: random.Random) -> None:
        self.folder = folder
        self.killed = 0
        self.pauses: list[Pause] = []
        self._rng = rng
        self._paused: tuple[str | None, int, bool] | None = None
        self._parents: list[subprocess.Popen[bytes]] = []
        self._env = {
            "PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT),
            "QUEUECTL_DB": str(folder / "q.db"), "QUEUECTL_KEEP_ENV": "none",
        }  # fmt: skip
        (folder / "job.sh").write_text(JOB)
        os.mkfifo(folder / "silence")

    def queuectl(self, *words: str) -> bytes:
        """The answer of the command. Raises Breach where it fails."""
        done = subprocess.run(self._command(*words), cwd=self.folder, env=self._env, capture_output=True, check=False)
        if done.returncode != 0:
            raise Breach([f"queuectl {' '.join(words)}: exit code {done.returncode}: {done.stderr.decode()}"], {})
        return done.stdout

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "queuectl", *words]

    def fill(self, jobs: int) -> None:
        """Say what is allowed, and enqueue: some need a GPU or both, in whatever queue."""
        self.queuectl("queue", "set", "three", "--concurrency", "3")
        self.queuectl("queue", "set", "rated", "--rate", "10/s", "--burst", "5")
        self.queuectl("resource", "set", "gpu", "--indices", "0-1")
        with open(self.folder / "jobs", "w") as file:
            for _ in range(jobs):
                [queue] = self._rng.choices(QUEUES, (3, 3, 4))
                gpus = 1 if queue == "default" else self._rng.choice((0, 0, 0, 1))
                if gpus and self._rng.random() < 0.1:
                    gpus = 2
                ticks = self._rng.choice((1, 2, 3, 4, 5, 6, 7, 8, 20, 30))
                spec = {"command": ["bash", "job.sh", str(ticks)], "queue": queue}
                file.write(json.dumps(spec | ({"needs": {"gpu": gpus}} if gpus else {})) + "\n")
        policy = ("--max-retries", "100000", "--backoff-base", "1", "--backoff-max", "0.05", "--timeout", f"{TIMEOUT}s")
        self.queuectl("enqueue", "--file", "jobs", *policy)

    def start(self) -> None:
        """A parent with two workers."""
        with open(self.folder / f"said-{len(self._parents)}", "wb") as said:
            self._parents.append(
                subprocess.Popen(
                    self._command("worker", "start", "--count", "2", "--slots", "2"),
                    cwd=self.folder,
                    env=self._env,
                    stdin=subprocess.DEVNULL,
                    stdout=said,
                    stderr=said,
                    start_new_session=True,
                )
            )

    def _living(self) -> list[int]:
        return [parent.pid for parent in self._parents if parent.poll() is None]

    def _workers(self, parent: int) -> list[int]:
        return [pid for pid in children_of(parent) if b"queuectl.workers" in words_of(pid)]

    def strike(self) -> None:
        """Kill a worker; a parent, or one with its workers, and start another; pause, or resume what is paused."""
        what = self._rng.choices(("worker", "parent", "family", "pause"), (6, 1, 1, 6))[0]
        parent = self._rng.choice(self._living())
        workers = self._workers(parent)
        if what == "pause" and self._paused is None:
            self.pause()
        elif what == "pause":
            self.resume()
        elif what == "worker":
            self._kill(*self._rng.sample(workers, min(1, len(workers))))
        else:
            os.kill(parent, signal.SIGSTOP)  # it must not see its workers end
            self._kill(*(workers if what == "family" else ()), parent)
            self._parents[[each.pid for each in self._parents].index(parent)].wait()
            self.start()

    def _kill(self, *pids: int) -> None:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            self.killed += 1

    def pause(self) -> None:
        """Pause all, or a queue; every second time with what runs in it."""
        suspend = len(self.pauses) % 2 == 0
        queue = self._rng.choice((*QUEUES, None)) if self.pauses else None
        self.queuectl("pause", *_named(queue), *(["--suspend"] if suspend else []))
        self._paused = queue, time.time_ns(), suspend

    def resume(self) -> None:
        """End the pause."""
        if self._paused is not None:
            queue, began, suspend = self._paused
            self._paused = None
            long = LONG if self.pauses else TIMEOUT + LONG
            time.sleep(max(0.0, long - (time.time_ns() - began) / 1e9))
            self.pauses.append(Pause(queue, began, time.time_ns(), suspend))
            self.queuectl("resume", *_named(queue))

    def finish(self, seconds: int) -> None:
        """Wait until nothing is left to do, then stop the workers in good order."""
        self.resume()
        self.queuectl("wait", "--timeout", f"{seconds}s")
        for pid in self._living():
            os.kill(pid, signal.SIGTERM)
        for parent in self._parents:
            parent.wait(30)
        self.queuectl("recover")  # what was killed last, and held nothing

    def verdict(self) -> tuple[list[str], Figures]:
        """All that is wrong, after `finish`."""
        events = self.queuectl("export", "--what", "events", "--format", "ndjson").splitlines()
        faults, figures = judge(events, (self.folder / "stamps").read_bytes(), self.pauses, LAW, TIMEOUT)
        with Queue(self.folder / "q.db") as queue:
            faults += [f"check: {line}" for line in queue.check()]
            queue.cancel(queue.enqueue("true"))  # rings, which removes the bells of the dead
            faults += leftover_processes(queue, queue.home.identity()) + leftover_files(queue)
        return faults, {"kills": self.killed, **figures}

    def close(self) -> None:
        """Nothing is left behind, whatever happened."""
        for parent in self._parents:
            if parent.poll() is None:
                self._kill(*self._workers(parent.pid), parent.pid)
                parent.wait()
        with Queue(self.folder / "q.db") as queue:
            while left := leftover_processes(queue, queue.home.identity()):
                self._kill(*(int(line.split()[1]) for line in left))


def _named(queue: str | None) -> list[str]:
    return [queue] if queue is not None else []


@contextmanager
def scene(folder: Path | None, rng: random.Random) -> Iterator[Scene]:
    """A scene in this folder, or in a scratch folder that is kept where something was wrong."""
    where = folder if folder is not None else Path(tempfile.mkdtemp(prefix="queuectl-torture-"))
    it = Scene(where, rng)
    try:
        yield it
    except Breach as breach:
        breach.add_note(f"all of it is kept in {where}")
        raise
    finally:
        it.close()
    if folder is None:
        shutil.rmtree(where)


def flow(seed: int, full: bool, folder: Path | None = None) -> Figures:
    """200 jobs (in full 3,000) are run while something happens every 0.1 to 0.4 seconds."""
    jobs, strikes = (3000, 700) if full else (200, 45)
    rng = random.Random(seed)
    began = monotonic()
    with scene(folder, rng) as it:
        it.fill(jobs)
        for _ in range(2):
            it.start()
        for _ in range(strikes):
            time.sleep(rng.uniform(0.1, 0.4))
            it.strike()
        it.finish(900 if full else 60)
        faults, figures = it.verdict()
        figures["seconds"] = round(monotonic() - began, 1)
        if faults:
            raise Breach(faults, figures)
        return figures


RUNS: dict[str, Run] = {"flow": flow}
