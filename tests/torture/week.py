"""A week of a workstation, in minutes: jobs, schedules, upgrades, crashes, a full disk, a suspended machine.

Each day something happens to the machine while jobs run and others are enqueued; in between it is used as on any day.
The week begins with two earlier versions of the program, each upgraded while its worker runs. At the end every job that
was acknowledged has ended, by the log and by what the jobs wrote (see `verdict.py`), `doctor` has nothing to say, and
all of it can be archived, sealed and verified.
"""

import errno
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from queuectl.clock import monotonic
from queuectl.events import encode
from queuectl.workers.start_options import WorkerOptions
from tests.support.paths import ROOT
from tests.torture.disk_full import hurt
from tests.torture.kills import JOB, Arena, spec
from tests.torture.verdict import Breach, Figures, processes_of

VERSIONS = [ROOT / "tests" / "data" / "versions" / f"{day}.tar.xz" for day in ("2026-11-29", "2026-11-30")]
"""Those that the week begins with: an earlier one keeps its output files in another way."""
SCHEDULES = {"mail": "1s", "backup": "2s", "report": "3s"}
"""Their intervals: a second is a quarter of an hour."""
TROUBLE = ("is full", "database or disk is full", "No space left", "upgraded by a newer queuectl")
"""What workers may note and say of the disk and of upgrades."""


class Workstation(Arena):
    """An arena on which a week passes."""

    def command(self, *words: str, version: Path = ROOT) -> str:
        """Run `queuectl` of a version as its user does; returns what it printed. Raises Breach where it fails."""
        done = subprocess.run(
            [sys.executable, "-P", "-m", "queuectl", *words], cwd=self.folder, env=environment(self.folder, version),
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        if done.returncode:
            raise Breach([f"{' '.join(words)}: exit {done.returncode}: {done.stderr}{done.stdout}"], {})
        return done.stdout

    def stop_the_clock(self, seconds: float) -> None:
        """Suspend the machine: nothing of the queue runs for so long, neither workers nor jobs."""
        stopped: set[int] = set()
        while more := {pid for pid, _ in processes_of(self.queue, self.identity)} - stopped:
            for pid in more:
                _signal(pid, signal.SIGSTOP)
            stopped |= more
        time.sleep(seconds)
        for pid in stopped:
            _signal(pid, signal.SIGCONT)

    def fill_the_disk(self, seconds: float) -> None:
        """A worker for which the disk is full for so long, beside others; commands are refused meanwhile."""
        switch, path = self.folder / "full", self.queue.engine.access
        options = WorkerOptions(path, f"hurt{self.killed}", slots=2)
        worker = hurt(path, switch, errno.ENOSPC, "worker", encode(options).decode())
        try:
            time.sleep(1)
            switch.touch()
            refused = hurt(path, switch, errno.ENOSPC, "cli", "enqueue", "true")
            _, said = refused.communicate(timeout=60)
            if refused.returncode != 4 or said.count("\n") != 1:
                raise Breach([f"enqueue on a full disk: exit {refused.returncode}: {said}"], {})
            time.sleep(seconds)
            switch.unlink()
            time.sleep(1)
        finally:
            self.kill(worker.pid)
            worker.communicate(timeout=20)

    def have_workers(self) -> None:
        """Two parents are up, as after a boot."""
        while len(self.parents) < 2:
            self.start(1, 2, 0.3)

    def look_over(self) -> list[str]:
        """What is wrong with a queue at rest: `doctor` finds anything, or it can't be sealed, archived and verified."""
        checks = msgspec.json.decode(self.command("doctor", "--json"))["checks"]
        findings = [found for check in checks for found in check["findings"]]
        faults = [f"doctor: {found['what']}" for found in findings if found["severity"] != "ok"]
        self.command("audit", "seal")
        self.command("archive", "--older-than", "0s", "-o", "week.archive")
        self.command("audit", "verify")
        self.command("replay", "--check")
        return faults

    def _said_wrong(self) -> Iterator[str]:
        return (line for line in super()._said_wrong() if not any(known in line for known in TROUBLE))


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def environment(folder: Path, version: Path) -> dict[str, str]:
    """What a command of a version finds in its environment."""
    return {
        "PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", "PYTHONPATH": str(version),
        "QUEUECTL_DB": str(folder / "q.db"), "QUEUECTL_KEEP_ENV": "none",
    }  # fmt: skip


def earlier_days(rng: random.Random, folder: Path, jobs: int, seconds: float) -> None:
    """Two days with earlier versions, so many jobs on each; each is replaced while its worker runs."""
    (folder / "job.sh").write_text(JOB)
    workers: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory() as room:
        for kept in VERSIONS:
            program = Path(room) / kept.name.partition(".")[0]
            with tarfile.open(kept) as source:
                source.extractall(program, filter="data")
            lines = b"\n".join(msgspec.json.encode(_as_of_then(rng, folder)) for _ in range(jobs))
            env = environment(folder, program)
            command = [sys.executable, "-P", "-m", "queuectl"]
            done = subprocess.run(
                [*command, "enqueue", "--file", "-"], cwd=folder, env=env, input=lines, capture_output=True,
                timeout=60, check=True,
            )  # fmt: skip
            with open(folder / "acknowledged", "ab") as book:
                book.write(done.stdout)
            with open(folder / f"old-{program.name}", "wb") as said:
                workers.append(
                    subprocess.Popen(
                        [*command, "worker", "start", "--slots", "2"],
                        cwd=folder,
                        env=env,
                        stdin=subprocess.DEVNULL,
                        stdout=said,
                        stderr=said,
                        start_new_session=True,
                    )
                )
            time.sleep(seconds)
            if workers[-1].poll() is not None:
                raise Breach([f"{program.name}: {(folder / f'old-{program.name}').read_text()}"], {})
        subprocess.run(
            [sys.executable, "-P", "-m", "queuectl", "status"], env=environment(folder, ROOT), check=True, timeout=60,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        codes = [worker.wait(60) for worker in workers]
    if codes != [4] * len(VERSIONS):
        raise Breach([f"workers of earlier versions ended with exit codes {codes}, not 4"], {})


def _as_of_then(rng: random.Random, folder: Path) -> dict[str, object]:
    """A job as each version takes it. What these lost is ended by recovery: it must not hide."""
    job = spec(rng, str(folder), hidden=False)
    kind = "quick" if job.argv and job.argv[2] in ("silent", "leaves") else job.argv[2] if job.argv else "quick"
    return {
        "command": f"bash job.sh {kind} {rng.randint(1, 9)}", "cwd": str(folder), "max_retries": 100_000,
        "backoff_base": 1.0, "backoff_max": 0.02, "timeout": None,
    }  # fmt: skip


def run(seed: int, full: bool, folder: Path | None = None) -> Figures:
    """The week."""
    jobs, seconds = (10_000, 30.0) if full else (420, 2.0)
    rng = random.Random(seed)
    began = monotonic()
    place = folder if folder is not None else Path(tempfile.mkdtemp(prefix="queuectl-week-"))
    share = jobs // 7
    earlier_days(rng, place, share, seconds)
    with workstation(place, kept=folder is not None) as it:
        for name, interval in SCHEDULES.items():
            it.command("schedule", "add", name, "--every", interval, "--", "bash", "job.sh", "quick", "1")
        for day in _days(it, rng, full, seconds):
            it.have_workers()
            it.enqueue(rng.getrandbits(32), share, seconds)
            time.sleep(seconds / 2)
            day()
            time.sleep(seconds / 2)
        it.have_workers()
        for name in SCHEDULES:
            it.command("schedule", "remove", name)
        faults = it.finish(1200 if full else 80)
        wrong, figures = it.verdict()
        figures |= {"fired": sum(1 for _ in it.queue.events(type="schedule_fired"))}
        faults += wrong + it.look_over()
        figures["seconds"] = round(monotonic() - began, 1)
        if faults:
            raise Breach(faults, figures)
        return figures


def _days(it: Workstation, rng: random.Random, full: bool, seconds: float) -> list[Callable[[], None]]:
    """What happens at noon of each day that is left of the week."""

    def kill_some() -> None:
        for _ in range(30 if full else 3):
            if found := it.workers(settled=True):
                it.kill(rng.choice(found))
            time.sleep(0.3)

    return [
        lambda: it.fill_the_disk(seconds / 2),
        lambda: it.stop_the_clock(20.0 if full else 2.0),
        it.reboot,
        kill_some,
        lambda: None,
    ]


@contextmanager
def workstation(folder: Path, *, kept: bool) -> Iterator[Workstation]:
    """The machine, in a folder that is removed where it is not to be `kept` and nothing was wrong."""
    it = Workstation(folder)
    try:
        yield it
    except Breach as breach:
        breach.add_note(f"all of it is kept in {folder}")
        raise
    finally:
        it.close()
    if not kept:
        shutil.rmtree(folder)
