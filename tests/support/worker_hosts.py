"""Hosts of one queue: each has a home of its own, from which its commands and its real workers know the queue."""

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from queuectl import Queue
from queuectl.clock import monotonic
from queuectl.home import Home
from queuectl.host.procfs import machine_id
from tests.support.shell import Shell


class WorkerHost(Shell):
    """One of them: the real command, run there."""

    def __init__(self, folder: Path, url: str, name: str) -> None:
        super().__init__(folder)
        self.name = name
        self.env |= {"QUEUECTL_DB": url, "XDG_STATE_HOME": str(folder / f"home of {name}")}
        self._begun: list[subprocess.Popen[bytes]] = []

    @property
    def identity(self) -> str:
        """That of the queue's home there, by which the log tells hosts apart."""
        [home] = Path(self.env["XDG_STATE_HOME"], "queuectl", "postgresql").iterdir()
        return Home(str(home), machine_id()).identity()

    def worker(self, *words: str) -> "subprocess.Popen[bytes]":
        """`worker start` with these words, which ends with the test."""
        return self.background("worker", "start", *words)

    def background(self, *words: str) -> "subprocess.Popen[bytes]":
        """A command that ends with the test."""
        process = subprocess.Popen(
            self.command(*words), cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        self._begun.append(process)
        return process

    def close(self) -> None:
        """End what was started here: the second signal ends what runs."""
        for process in self._begun:
            for _ in range(2):
                process.send_signal(signal.SIGTERM)
                try:
                    process.communicate(timeout=1)
                except subprocess.TimeoutExpired:
                    continue
                break
            process.communicate(timeout=50)


class WorkerHosts:
    """Hosts `a`, `b`, … and what a test asks of their queue."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.queue = Queue(url)
        self._url = url
        self._hosts: list[WorkerHost] = []
        self._bell = self.queue.engine.listen("log")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for host in self._hosts:
            host.close()
        self._bell.close()
        self.queue.close()

    def add(self) -> WorkerHost:
        """One more host."""
        host = WorkerHost(self.folder, self._url, "abcdefgh"[len(self._hosts)])
        self._hosts.append(host)
        return host

    def host(self, name: str) -> WorkerHost:
        """The host of that name."""
        return next(host for host in self._hosts if host.name == name)

    def until(self, condition: Callable[[], Any], seconds: float = 50) -> Any:
        """Wait until it is true, asking at every event and a few times a second; returns what it is."""
        deadline = monotonic() + seconds
        while not (found := condition()):
            log = [(record.stream, record.type) for record in self.queue.events()]
            assert monotonic() < deadline, f"still waiting after {seconds} s; the log: {log}"
            self._bell.wait(0.1)
            self._bell.clear()
        return found

    def up(self, count: int) -> None:
        """Wait until so many workers are up."""
        self.until(lambda: len(self.queue.workers()) == count)

    def processing(self, id: str) -> None:
        """Wait until a job runs."""
        self.until(lambda: self.queue.job(id).state == "processing")

    def ended(self) -> None:
        """Wait until nothing is left that starts by itself."""
        self.until(lambda: not sum(self.queue.status().counts[state] for state in ("pending", "processing", "failed")))

    def ran(self, id: str) -> str:
        """The names of the hosts on which the attempts of a job ran, in order."""
        return "".join(self.host_of(attempt.worker) for attempt in self.queue.attempts(id))

    def host_of(self, worker: str) -> str:
        """The name of the host of a worker."""
        [identity] = [each.identity for each in self.queue.workers(all=True) if each.id == worker]
        return next(host.name for host in self._hosts if host.identity == identity)

    def worker_of(self, host: WorkerHost) -> str:
        """The id of the only worker that is up on a host."""
        [worker] = [each.id for each in self.queue.workers() if each.identity == host.identity]
        return worker
