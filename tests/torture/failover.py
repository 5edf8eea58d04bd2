"""The primary is killed and its standby promoted, again and again, while hosts enqueue and run jobs.

Each job writes down that it runs, and whoever enqueues what was acknowledged. Before some of the kills, drawn at
random, the standby is cut off, so that it lacks what the primary has just written. Nothing that was acknowledged may be
lost, and nothing run twice. The control does the same with an asynchronous standby.
"""

import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from unittest.mock import patch

from queuectl import Queue, Spec
from queuectl.clock import monotonic
from queuectl.engines.postgres.errors import Unsure
from queuectl.errors import Deadline, QueueError
from tests.support.paths import ROOT
from tests.support.postgres import replication
from tests.support.postgres.keeper import Keeper, room
from tests.support.postgres.pair import Pair
from tests.support.postgres.servers import Servers
from tests.torture.verdict import Breach, Figures, Run

HOSTS = 4
BETWEEN = 40
"""How many jobs are acknowledged between two failovers, at least."""
LAG = 10
"""How many are acknowledged, in the control, after the standby was cut off."""
PATIENCE = 90.0

JOB = """
echo "S $1" >> marks
sleep 0.02
echo "E $1" >> marks
"""

CLIENT = """
import sys
from tests.torture.failover import enqueue
enqueue(*sys.argv[1:])
"""

FORGOTTEN = re.compile(r"ends with event \d+, but \d+ were acknowledged")


def enqueue(url: str, folder: str, host: str) -> None:
    """Enqueue one job after another, each with a word of its own, until the file `over` is there.

    What was acknowledged is written down with the moment and the id; what was refused is asked for again, for it was
    not written; what nobody knows the outcome of is written down as well.
    """
    rng = random.Random(host)
    number = 0
    with Queue(url) as queue, open(f"{folder}/book-{host}", "a", buffering=1) as book:
        while not os.path.exists(f"{folder}/over"):
            word = f"{host}-{number}"
            try:
                id = queue.enqueue(Spec(argv=("sh", "job.sh", word), cwd=folder))
            except Unsure:
                book.write(f"unsure {word}\n")
                number += 1
            except QueueError as error:
                book.write(f"refused {error}\n")
                time.sleep(0.05)
            else:
                book.write(f"acknowledged {word} {id} {monotonic()}\n")
                number += 1
            time.sleep(rng.uniform(0, 0.05))


class Books:
    """What those who enqueue have written down."""

    def __init__(self, folder: Path) -> None:
        self._paths = [folder / f"book-{host}" for host in range(HOSTS)]
        self._read = dict.fromkeys(self._paths, 0)
        self.acknowledged: dict[str, str] = {}
        """By word, the id of the job."""
        self.moments: list[float] = []
        self.unsure: set[str] = set()
        self.refused: Counter[str] = Counter()

    def look(self) -> int:
        """Read on; returns how many were acknowledged."""
        for path in self._paths:
            if not path.exists():
                continue
            with path.open("rb") as file:
                file.seek(self._read[path])
                whole = file.read().rpartition(b"\n")[0]
            self._read[path] += len(whole) + bool(whole)
            for line in whole.decode().splitlines():
                self._take(line)
        return len(self.acknowledged)

    def _take(self, line: str) -> None:
        kind, _, rest = line.partition(" ")
        match kind:
            case "acknowledged":
                word, id, moment = rest.split()
                self.acknowledged[word] = id
                self.moments.append(float(moment))
            case "unsure":
                self.unsure.add(rest)
            case _:
                self.refused["forgotten" if FORGOTTEN.search(rest) else rest] += 1


class Trial:
    """A queue in a pair of servers, and hosts that work on it, each with a folder of its own."""

    def __init__(self, folder: Path, pair: Pair, stack: ExitStack) -> None:
        self.folder, self.pair = folder, pair
        self.books = Books(folder)
        self._stack = stack
        self._url = pair.url
        (folder / "job.sh").write_text(JOB)
        with Queue(self._url):
            pass
        self.workers = [
            self._start("-m", "queuectl", "worker", "start", "--slots", "4", host=host) for host in range(HOSTS)
        ]
        with Queue(self._url) as queue:
            self.until(lambda: len(queue.workers()) == HOSTS)  # one that starts while no server is there is refused
        self.clients = [
            self._start("-c", CLIENT, self._url, str(folder), str(host), host=host) for host in range(HOSTS)
        ]

    def _start(self, *words: str, host: int) -> "subprocess.Popen[bytes]":
        env = {**os.environ, "QUEUECTL_DB": self._url, "XDG_STATE_HOME": str(self.folder / f"state-{host}")}
        said = self._stack.enter_context((self.folder / f"said-{host}").open("ab"))
        process = subprocess.Popen(
            [sys.executable, *words], cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=said, stderr=said
        )
        self._stack.callback(_end, process)
        return process

    def until(self, condition: Callable[[], object]) -> None:
        deadline = monotonic() + PATIENCE
        while not condition():
            if monotonic() > deadline:
                raise Breach([f"still waiting after {PATIENCE} s"], self.figures())
            time.sleep(0.02)

    def acknowledged(self, more: int) -> None:
        """Wait until so many more were acknowledged."""
        enough = self.books.look() + more
        self.until(lambda: self.books.look() >= enough)

    def figures(self) -> Figures:
        self.books.look()
        return {"acknowledged": len(self.books.acknowledged), "unsure": len(self.books.unsure)}

    def forget(self) -> None:
        """What an operator does when the last events are lost for good: remove what the hosts know of them."""
        self.until(lambda: self.books.look() and self.books.refused["forgotten"] >= HOSTS)
        for note in self.folder.glob("*/queuectl/postgresql/*/high-water"):
            note.unlink()

    def finish(self) -> list[str]:
        """Wait until all is done, and stop; returns what went wrong."""
        (self.folder / "over").touch()
        for client in self.clients:
            client.wait(PATIENCE)
        faults: list[str] = []
        with Queue(self._url) as queue:
            try:
                queue.wait(timeout=PATIENCE)
            except Deadline as problem:
                faults.append(str(problem))
        for worker in self.workers:
            worker.terminate()
        return faults + [f"a parent ended with {code}" for worker in self.workers if (code := worker.wait(60))]


def _end(process: "subprocess.Popen[bytes]") -> None:
    """Whatever happened, it ends, and a supervisor takes its workers along."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def trial(folder: Path | None, *, synchronous: bool) -> Iterator[Trial]:
    """In this folder, or in a scratch folder that is kept where something was wrong."""
    where = folder if folder is not None else Path(tempfile.mkdtemp(prefix="queuectl-torture-"))
    try:
        with ExitStack() as stack:
            stack.enter_context(patch.dict(os.environ, XDG_STATE_HOME=str(where / "judge")))
            keeper = stack.enter_context(Keeper())
            servers = stack.enter_context(Servers(room(keeper.name)))
            pair = stack.enter_context(Pair(servers, synchronous=synchronous))
            yield Trial(where, pair, stack)
    except Breach as breach:
        breach.add_note(f"all of it is kept in {where}")
        raise
    if folder is None:
        shutil.rmtree(where)


LOST, TWICE = "was acknowledged, and is lost", "was run more than once"
TAKEN = "is completed, and did not run"
"""What a host reports of a lost job, whose id and lease another has got since: with an asynchronous standby only."""


def failovers(seed: int, full: bool, folder: Path | None = None) -> Figures:
    """20 of them, or 2; nothing may be lost and nothing run twice."""
    rng = random.Random(seed)
    waits: list[float] = []
    cuts = 0
    with trial(folder, synchronous=True) as it:
        rounds = 20 if full else 2
        for number in range(rounds):
            it.acknowledged(BETWEEN)
            if number == 1 or rng.random() < 0.4:
                cuts += 1
                it.pair.cut()
                replication.await_row(
                    it.pair.primary.address.administrator(),
                    "select 1 from pg_stat_activity where wait_event = 'SyncRep'",
                )
            else:
                time.sleep(rng.uniform(0, 0.2))
            promoted = it.pair.fail_over()
            it.acknowledged(1)
            waits.append(next(moment for moment in sorted(it.books.moments) if moment > promoted) - promoted)
            it.pair.rejoin()
        faults, figures = _judged(it)
        waits.sort()
        figures |= {
            "failovers": rounds,
            "with the standby cut off before": cuts,
            "first acknowledged after s, median": round(statistics.median(waits), 2),
            "first acknowledged after s, longest": round(waits[-1], 2),
        }
        if faults:
            raise Breach(faults, figures)
    return figures


def control(seed: int, full: bool, folder: Path | None = None) -> Figures:
    """The same with an asynchronous standby, and hosts that are made to forget: some are lost, but the log is whole."""
    with trial(folder, synchronous=False) as it:
        for _ in range(3 if full else 1):
            it.acknowledged(BETWEEN)
            it.pair.cut()
            it.acknowledged(LAG)
            it.pair.fail_over()
            it.forget()
            it.acknowledged(1)
            it.pair.rejoin()
        faults, figures = _judged(it)
        figures["refused by hosts that knew of more"] = it.books.refused["forgotten"]
        figures["taken for a lost one"] = sum(fault.endswith(TAKEN) for fault in faults)
        faults = [fault for fault in faults if not fault.endswith((LOST, TWICE, TAKEN))]
        if not figures["lost"]:
            faults.append("an asynchronous standby has lost nothing")
        if faults:
            raise Breach(faults, figures)
    return figures


def _judged(it: Trial) -> tuple[list[str], Figures]:
    faults = it.finish()
    figures = it.figures()
    runs = Counter((it.folder / "marks").read_text().split("\n"))
    with Queue(it.pair.url) as queue:
        jobs = {job.id: job for job in queue.jobs()}
        faults += [f"check: {line}" for line in queue.check()]
    words = Counter(job.command.split()[-1] for job in jobs.values())
    lost = [
        word for word, id in it.books.acknowledged.items() if id not in jobs or jobs[id].command.split()[-1] != word
    ]
    twice = [line for line, times in runs.items() if line.startswith("S ") and times > 1]
    faults += [f"{word} {LOST}" for word in lost]
    faults += [f"{line.removeprefix('S ')} {TWICE}" for line in twice]
    faults += [f"{word} is {times} jobs" for word, times in words.items() if times > 1]
    faults += [f"job {job.id} is {job.state}" for job in jobs.values() if job.state != "completed"]
    faults += [f"{word} {TAKEN}" for word in words if not runs[f"E {word}"]]
    return faults, {"jobs": len(jobs), "lost": len(lost), "run twice": len(twice), **figures}


RUNS: dict[str, Run] = {"failover": failovers, "failover-asynchronous": control}
