"""SIGKILL at random: of workers while they work, of their parents, and of everything at once, as a reboot does it.

The jobs are short, leave processes in the background in ways that make them hard to find, and write down what they do;
`verdict.py` judges that. What is drawn at random comes from the seed; when it hits what depends on the machine.
"""

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
from queuectl.errors import Deadline, Refused
from queuectl.events import encode
from queuectl.job_fields import Spec
from tests.support.paths import ROOT
from tests.torture.verdict import Breach, Figures, Run, judge, leftover_files, leftover_processes, names

JOB = r"""
mark() { printf '%s %s %s %s\n' "$1" "$QUEUECTL_JOB_ID" "$QUEUECTL_ATTEMPT" "${EPOCHREALTIME/[.,]/}" >> marks; }
ticks() { for ((i = 0; i < $1; i++)); do mark T; sleep 0.02; done; }
if [ "$1" = ticks ]; then
    # By itself, with nothing open that would show whose it is.
    exec </dev/null >/dev/null 2>&1
    for fd in /proc/self/fd/*; do fd=${fd##*/}; [ $fd -le 2 ] || eval "exec $fd>&-"; done
    ticks $2
    exit
fi
mark S
case $1 in
    quick) ;;
    sleeps) sleep 0.$2 ;;
    fails) [ $QUEUECTL_ATTEMPT -gt 3 ] || exit 3 ;;
    daemon) setsid bash job.sh ticks $2 & [ $QUEUECTL_ATTEMPT -gt 2 ] || exit 3; wait ;;
    background) ticks $2 & wait ;;
    silent) ticks $2 >/dev/null 2>&1 77>&- & wait ;;
    session) setsid bash job.sh ticks $2 & wait ;;
    hidden)
        env -i PATH="$PATH" QUEUECTL_JOB_ID="$QUEUECTL_JOB_ID" QUEUECTL_ATTEMPT="$QUEUECTL_ATTEMPT" \
            setsid bash job.sh ticks $2 "$QUEUECTL_DB" & wait ;;
    leaves) ticks 50 >/dev/null 2>&1 & ;;
    stubborn) trap '' TERM; ticks $2 & wait ;;
esac
mark E
"""

KINDS = {
    "quick": 46, "sleeps": 17, "fails": 4, "daemon": 3, "background": 6, "silent": 6, "session": 8, "leaves": 5,
    "stubborn": 1, "hidden": 4,
}  # fmt: skip
"""How often each kind of job comes, of a hundred. What is hidden is out of reach once the parent is killed too."""

LAUNCH = """
import json, sys
from queuectl import liveness
from queuectl.host import procfs
from queuectl.workers import supervisor, worker_process
worker, boot, restart, url, options = sys.argv[1:]
if boot:
    liveness.boot_id = procfs.boot_id = lambda: boot
supervisor.RESTART = float(restart)
worker_process.command = lambda *words: [sys.executable, "-c", worker, boot, *words]
sys.exit(supervisor.start(url, **json.loads(options)))
"""
"""A parent as `queuectl worker start` makes it, in the boot that it is told, with workers in the same one."""

WORKER = """
import sys
from queuectl import liveness
from queuectl.host import procfs
if sys.argv[1]:
    boot = sys.argv[1]
    liveness.boot_id = procfs.boot_id = lambda: boot
from queuectl.workers.__main__ import main
sys.exit(main(sys.argv[2:]))
"""

ENQUEUE = """
import sys
from tests.torture.kills import acknowledge
acknowledge(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4]), sys.argv[5:] == ["hidden"])
"""


def acknowledge(folder: str, seed: int, count: int, seconds: float, hidden: bool) -> None:
    """Enqueue `count` jobs a few at a time over so many seconds, and write down each id once it is acknowledged."""
    rng = random.Random(seed)
    pause = seconds / count
    with Queue(f"{folder}/q.db") as queue, open(f"{folder}/acknowledged", "a", buffering=1) as book:
        while count > 0:
            few = min(count, rng.choice((1, 1, 5, 20)))
            ids = queue.enqueue_many([spec(rng, folder, hidden) for _ in range(few)])
            book.write("".join(f"{id}\n" for id in ids))
            count -= few
            time.sleep(rng.uniform(0, 2 * pause * few))


def spec(rng: random.Random, folder: str, hidden: bool) -> Spec:
    """A job of a kind drawn at random, with a policy drawn at random; some that are `hidden` only where that is so."""
    [kind] = rng.choices(list(KINDS), list(KINDS.values()))
    if kind == "hidden" and not hidden:
        kind = "quick"
    # Most must get through however often they are lost; the others may end up dead, in exactly as many failures.
    [policy] = rng.choices(("many", "few", "dead"), (90, 5, 5))
    return Spec(
        argv=("bash", "job.sh", kind, str(rng.randint(1, 9))),
        cwd=folder,
        max_retries=1 if policy == "few" else 100_000,
        on_lost="dead" if policy == "dead" else "retry",
        backoff_base=1.0,
        backoff_max=0.02,
        timeout=None,
        priority=rng.choice((0, 0, 0, 1)),
    )


class Arena:
    """A queue in a scratch folder, and the processes that work on it."""

    def __init__(self, folder: Path, url: str | None = None) -> None:
        """`url`: of another queue than a file of that folder."""
        self.folder = folder
        (folder / "job.sh").write_text(JOB)
        self.queue = Queue(url or folder / "q.db")
        self.identity = self.queue.home.identity()
        self.boot = "boot-0"
        self.killed = 0
        self._parents: list[subprocess.Popen[bytes]] = []
        self._enqueuers: list[subprocess.Popen[bytes]] = []
        self._said = 0

    def start(self, count: int, slots: int, restart: float) -> None:
        """A parent with its workers."""
        options = encode({"count": count, "slots": slots}).decode()
        words = [LAUNCH, WORKER, self.boot, str(restart), self.queue.engine.access, options]
        self._parents.append(self._python(words))

    def enqueue(self, seed: int, count: int, seconds: float, *, hidden: bool = False) -> None:
        """A process that enqueues, for so long."""
        words = [str(self.folder), str(seed), str(count), str(seconds)]
        self.enqueue_by(ENQUEUE, *words, *(["hidden"] if hidden else []))

    def enqueue_by(self, code: str, *words: str) -> None:
        """A process that enqueues, by this code."""
        self._enqueuers.append(self._python([code, *words]))

    @property
    def enqueuers(self) -> list[int]:
        """The pids of those that are up."""
        return [each.pid for each in self._enqueuers if each.poll() is None]

    def _python(self, words: list[str]) -> subprocess.Popen[bytes]:
        self._said += 1
        with open(self.folder / f"said-{self._said}", "wb") as said:
            return subprocess.Popen(
                [sys.executable, "-c", *words],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    @property
    def parents(self) -> list[int]:
        """The pids of the parents that are up."""
        return [parent.pid for parent in self._parents if parent.poll() is None]

    def workers(self, *, settled: bool = False) -> list[int]:
        """The pids of the worker processes; those that have just been started too, unless they are to be `settled`."""
        up = {worker.pid for worker in self.queue.workers()} if settled else None
        found = [child for parent in self.parents for child in self.hands(parent)]
        return [pid for pid in found if up is None or pid in up]

    def hands(self, parent: int) -> list[int]:
        """The pids of a parent's workers."""
        return [child for child in children_of(parent) if names(self.queue, words_of(child))]

    def kill(self, pid: int) -> None:
        """SIGKILL one of ours."""
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.killed += 1

    def reboot(self) -> None:
        """Everything ends at once, and what comes next finds itself in another boot."""
        everyone = [*self.parents, *self.workers(), *self.enqueuers]
        for pid in everyone:  # stopped first: a machine's end is not seen by one process before the others
            _send(pid, signal.SIGSTOP)
        for pid in everyone:
            self.kill(pid)
        self._sweep()
        self.boot = f"boot-{int(self.boot.partition('-')[2]) + 1}"

    def finish(self, seconds: float) -> list[str]:
        """Wait until nothing is left to do, then stop the workers in good order. Faults are told."""
        faults: list[str] = []
        deadline = monotonic() + seconds
        for each in self._enqueuers:
            try:
                each.wait(max(0.1, deadline - monotonic()))
            except subprocess.TimeoutExpired:
                faults.append("an enqueuer is still at work")
        try:
            self.queue.wait(timeout=max(0.1, deadline - monotonic()))
        except Deadline as problem:
            faults.append(str(problem))
        faults += self._held_by_the_dead()
        for pid in self.parents:
            os.kill(pid, signal.SIGTERM)
        for parent in self._parents:
            try:
                code = parent.wait(20)
            except subprocess.TimeoutExpired:
                faults.append(f"parent {parent.pid} has not stopped within 20 s")
                continue
            if code not in (0, -signal.SIGKILL):
                faults.append(f"parent {parent.pid} ended with exit code {code}")
        return faults

    def _held_by_the_dead(self) -> list[str]:
        """Recovery has a few seconds more for workers that held nothing."""
        until = monotonic() + 8
        while True:
            dead = [worker for worker in self.queue.workers() if not self.queue.alive(worker.id)]
            if not dead or monotonic() > until:
                return [f"worker {worker.id} is dead, but {worker.state} in the log" for worker in dead]
            time.sleep(0.1)

    def verdict(self) -> tuple[list[str], Figures]:
        """Everything that is wrong now, after `finish`."""
        book = self.folder / "acknowledged"
        acknowledged = book.read_text().split() if book.exists() else []
        self.queue.cancel(self.queue.enqueue("true"))  # rings, which removes the bells of the dead
        faults, figures = judge(self.queue, self.folder / "marks", acknowledged)
        faults += leftover_processes(self.queue, self.identity) + leftover_files(self.queue) + list(self._said_wrong())
        return faults, {"acknowledged": len(acknowledged), "kills": self.killed, **figures}

    def _said_wrong(self) -> Iterator[str]:
        for number in range(1, self._said + 1):
            for line in (self.folder / f"said-{number}").read_text(errors="replace").splitlines():
                if "was killed, perhaps for memory" not in line or "starting another" not in line:
                    yield f"a parent or an enqueuer said: {line}"
        for path in sorted(Path(self.queue.logs).glob("worker.jsonl*")):
            for line in path.read_text(errors="replace").splitlines():
                if '"event":"error"' in line:
                    yield f"a worker noted: {line}"

    def close(self) -> None:
        """Nothing is left behind, whatever happened."""
        for each in [*self._parents, *self._enqueuers]:
            if each.poll() is None:
                each.kill()
        self._sweep()
        self.queue.close()

    def _sweep(self) -> None:
        """Kill what is left of everything that ever ran here, until nothing is."""
        until = monotonic() + 10
        while left := leftover_processes(self.queue, self.identity):
            for line in left:
                _send(int(line.split()[1]), signal.SIGKILL)
            if monotonic() > until:
                raise Breach(left, {})
        for each in [*self._parents, *self._enqueuers]:
            if each.poll() is None:
                each.wait(10)


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def children_of(pid: int) -> list[int]:
    """The children of a process."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def words_of(pid: int) -> bytes:
    """The command line of a process."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


@contextmanager
def arena(folder: Path | None, url: str | None = None) -> Iterator[Arena]:
    """An arena in this folder, or in a scratch folder that is kept where something was wrong."""
    where = folder if folder is not None else Path(tempfile.mkdtemp(prefix="queuectl-torture-"))
    it = Arena(where, url)
    try:
        yield it
    except Breach as breach:
        breach.add_note(f"all of it is kept in {where}")
        raise
    finally:
        it.close()
    if folder is None:
        shutil.rmtree(where)


def workers(seed: int, full: bool, folder: Path | None = None) -> Figures:
    """A random worker is killed every 50 to 200 ms while short jobs run; parents start others in their place."""
    jobs, kills, restart = (10_000, 1000, 0.3) if full else (500, 25, 0.3)
    rng = random.Random(seed)
    began = monotonic()
    with arena(folder) as it:
        for count in (3, 2, 1):
            it.start(count, rng.choice((1, 2, 4)), restart)
        for _ in range(2):
            it.enqueue(rng.getrandbits(32), jobs // 2, kills * 0.15, hidden=True)
        cancelled = 0
        while it.killed < kills:
            time.sleep(rng.uniform(0.05, 0.2))
            if found := it.workers(settled=rng.random() < 0.8):
                it.kill(rng.choice(found))
            if rng.random() < 0.1:
                cancelled += _cancel_something(it.queue, rng)
        faults = it.finish(900 if full else 40)
        wrong, figures = it.verdict()
        figures |= {"cancels": cancelled, "seconds": round(monotonic() - began, 1)}
        if faults := faults + wrong:
            raise Breach(faults, figures)
        return figures


def _cancel_something(queue: Queue, rng: random.Random) -> int:
    # Beside other commands nobody can tell whose a hidden process is, when its job is only called off.
    held = [job for job in queue.jobs(state="processing", limit=20) if "hidden" not in job.command]
    if not held:
        return 0
    try:
        queue.cancel(rng.choice(held).id)
    except Refused:
        return 0  # it has ended meanwhile
    return 1


def reboots(seed: int, full: bool, folder: Path | None = None) -> Figures:
    """Parents are killed as well, alone or with their workers, and the machine `reboots` at random moments."""
    rounds, jobs = (60, 6000) if full else (8, 400)
    rng = random.Random(seed)
    began = monotonic()
    done = {"a parent": 0, "a parent and its workers": 0, "everything": 0}
    with arena(folder) as it:
        for _ in range(rounds):
            it.enqueue(rng.getrandbits(32), jobs // rounds, 1.0)
            while len(it.parents) < 3:
                it.start(2, rng.choice((1, 3)), 0.3)
            time.sleep(rng.uniform(0.3, 2.0))
            what = rng.choice(list(done))
            done[what] += 1
            _strike(it, what, rng)
        while len(it.parents) < 2:
            it.start(2, 2, 0.3)
        faults = it.finish(600 if full else 40)
        wrong, figures = it.verdict()
        figures |= {f"killed: {what}": count for what, count in done.items()}
        figures["seconds"] = round(monotonic() - began, 1)
        if faults := faults + wrong:
            raise Breach(faults, figures)
        return figures


def _strike(it: Arena, what: str, rng: random.Random) -> None:
    if what == "everything":
        it.reboot()
        return
    parent = rng.choice(it.parents)
    hands = it.hands(parent)
    _send(parent, signal.SIGSTOP)  # it must not see its workers end
    if what == "a parent and its workers":
        for hand in hands:
            it.kill(hand)
    it.kill(parent)


RUNS: dict[str, Run] = {"kills": workers, "reboots": reboots}
