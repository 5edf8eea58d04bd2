"""A queue in a scratch folder, and real workers on it, which are all gone at the end of a test."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from projections.workers import Worker
from queuectl import Queue
from queuectl.clock import monotonic
from queuectl.events import Recorded, encode
from queuectl.host import processes, procfs
from queuectl.workers.start_options import WorkerOptions

START = """
import sys, json
from queuectl.workers.supervisor import start
sys.exit(start(sys.argv[1], **json.loads(sys.argv[2])))
"""
ALONE = """
import sys, json
from importlib import import_module
from queuectl.workers.__main__ import main
for path, value in json.loads(sys.argv[2]).items():
    name, constant = path.rsplit(".", 1)
    module = import_module("queuectl.workers." + name)
    assert hasattr(module, constant), path
    setattr(module, constant, value)
sys.exit(main(sys.argv[1:2]))
"""


class Lab:
    """A queue, and what it takes to run workers on it and to see what they do."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.database = str(folder / "q.db")
        self.queue = Queue(self.database)
        self._bell = self.queue.engine.listen("log")
        self._parents: list[subprocess.Popen[str]] = []

    def start(self, **options: Any) -> subprocess.Popen[str]:
        """`queuectl worker start` with these options, in the foreground of a session of its own."""
        return self.python(START, self.database, encode(options).decode())

    def worker(
        self, *, slots: int = 1, drain: bool = False, constants: Mapping[str, float] | None = None
    ) -> subprocess.Popen[str]:
        """One worker process without a parent; it has the id `alone`.

        `constants` are set in it before it starts, each by its module below `queuectl.workers` and its name.
        """
        options = WorkerOptions(self.database, "alone", slots=slots, drain=drain)
        return self.python(ALONE, encode(options).decode(), encode(dict(constants or {})).decode())

    def python(self, code: str, *words: str, **options: Any) -> subprocess.Popen[str]:
        """A Python process that ends with the test at the latest."""
        process = subprocess.Popen(
            [sys.executable, "-c", code, *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            **options,
        )
        self._parents.append(process)
        return process

    def ended(self, process: subprocess.Popen[str], seconds: float = 50) -> tuple[int, str]:
        """Wait for its end: exit code and what it said."""
        said, _ = process.communicate(timeout=seconds)
        return process.returncode, said

    def drain(self, **options: Any) -> None:
        """Run workers until nothing is left."""
        code, said = self.ended(self.start(drain=True, **options), 40)
        assert (code, said) == (0, "")

    def until(self, condition: Callable[[], Any], seconds: float = 50) -> Any:
        """Wait until it is true, asking at every event and a few times a second; returns what it is."""
        deadline = monotonic() + seconds
        while not (found := condition()):
            assert monotonic() < deadline, f"still waiting after {seconds} s; the log: {self.log()}"
            self._bell.wait(0.1)
        return found

    def up(self, count: int = 1) -> list[Worker]:
        """Wait until so many workers are up."""
        return self.until(lambda: len(found := self.queue.workers()) == count and found)

    def processing(self, id: str) -> None:
        """Wait until the job is processing."""
        self.until(lambda: self.queue.job(id).state == "processing")

    def log(self, job: str | None = None) -> list[str]:
        """The types of all events, or of those of one job."""
        return [record.type for record in self.queue.events(job=job)]

    def records(self, type: str, job: str | None = None) -> list[Recorded]:
        """The events of one type."""
        return list(self.queue.events(type=type, job=job))

    def completed(self) -> list[str]:
        """The ids of the jobs that have completed, in the order of the alphabet."""
        return sorted(job.id for job in self.queue.jobs(state="completed"))

    def journal(self) -> str:
        """What workers have noted of themselves."""
        return Path(self.queue.home.logs, "worker.jsonl").read_text()

    def stopped(self, parent: subprocess.Popen[str]) -> str:
        """Stop workers in good order; returns what they said."""
        parent.send_signal(signal.SIGTERM)
        code, said = self.ended(parent)
        assert code == 0, said
        return said

    def ours(self) -> list[int]:
        """The processes of this queue: parents, workers, and what they run."""
        found: list[int] = []
        for pid in procfs.pids():
            if pid != os.getpid() and processes.state(pid) not in (None, "Z"):
                try:
                    text = Path(f"/proc/{pid}/environ").read_bytes() + Path(f"/proc/{pid}/cmdline").read_bytes()
                except (FileNotFoundError, ProcessLookupError, PermissionError):
                    continue
                if self.database.encode() in text:
                    found.append(pid)
        return found

    def close(self) -> None:
        for _ in range(100):
            left = self.ours()
            for pid in left:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            if not left:
                break
        for process in self._parents:
            process.communicate()
        self._bell.close()
        self.queue.close()


class Fifo:
    """A FIFO that commands write to: `echo $$ > {fifo}`."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        os.mkfifo(path)
        self._fd = os.open(path, os.O_RDWR)

    def __str__(self) -> str:
        return self.path

    def line(self, seconds: float = 50) -> str:
        """Return the next line; fail after `seconds` without one."""
        line = b""
        deadline = monotonic() + seconds
        while not line.endswith(b"\n"):
            assert select.select([self._fd], [], [], max(0.0, deadline - monotonic()))[0], "nothing was said"
            line += os.read(self._fd, 1)
        return line.decode().strip()

    def silent(self) -> bool:
        """Whether no unread text is in it."""
        return not select.select([self._fd], [], [], 0)[0]

    def close(self) -> None:
        os.close(self._fd)


def gone(pid: int) -> bool:
    """Whether the process has ended (a zombie has)."""
    return processes.state(pid) in (None, "Z", "X")


def kill_all(lab: Lab) -> Worker:
    """SIGKILL the parent and the only worker, parent first, so that no process is left to recover."""
    [worker] = lab.up()
    parent = int(Path(f"/proc/{worker.pid}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(parent, signal.SIGSTOP)  # it must not see its worker end
    os.kill(worker.pid, signal.SIGKILL)
    os.kill(parent, signal.SIGKILL)
    lab.until(lambda: not lab.queue.alive(worker.id))
    return worker
