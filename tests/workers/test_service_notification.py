"""`worker start` as the main process of a service: what its manager hears, and what nothing else may send."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuectl.clock import monotonic
from tests.support.lab import Lab
from tests.support.shell import Shell

LONG = 20.0
"""Seconds for which a message is waited for."""


class Manager:
    """The socket of a service manager."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(str(path))

    def next(self, seconds: float = LONG) -> dict[str, str] | None:
        """The next message; None where none comes in so many seconds."""
        self.socket.settimeout(seconds)
        try:
            lines = self.socket.recv(4096).decode().splitlines()
        except TimeoutError:
            return None
        return dict(line.split("=", 1) for line in lines)

    def until(self, name: str) -> dict[str, str]:
        """The next message that has this name."""
        end = monotonic() + LONG
        while monotonic() < end:
            if (message := self.next()) and name in message:
                return message
        raise AssertionError(f"{name} did not come")


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    yield manager
    manager.socket.close()


class Service:
    """`worker start` as a manager starts it: it alone may notify, and knows so by WATCHDOG_PID."""

    def __init__(self, queuectl: Shell, manager: Manager, *words: str, watchdog: float = 0.4) -> None:
        given = {"NOTIFY_SOCKET": str(manager.path), "WATCHDOG_USEC": str(round(watchdog * 1_000_000))}
        line = 'export WATCHDOG_PID=$$; exec "$0" -m queuectl worker start "$@"'
        self.process = subprocess.Popen(
            ["/bin/sh", "-c", line, sys.executable, *words], cwd=queuectl.folder, env=queuectl.env | given,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip

    def ended(self) -> tuple[int, str]:
        _, told = self.process.communicate(timeout=LONG)
        return self.process.returncode, told.decode()


@pytest.fixture
def service(queuectl: Shell, manager: Manager) -> Iterator[Service]:
    queuectl.make()
    service = Service(queuectl, manager, "--slots", "2")
    yield service
    if service.process.poll() is None:
        service.process.send_signal(signal.SIGCONT)
        service.process.send_signal(signal.SIGTERM)
        service.ended()


def test_a_manager_hears_ready_alive_and_stopping(manager: Manager, service: Service):
    pid = str(service.process.pid)
    assert manager.next() == {"READY": "1", "STATUS": "1 worker up, 2 slots each", "MAINPID": pid}
    assert [manager.next() for _ in range(3)] == [{"WATCHDOG": "1"}] * 3
    service.process.send_signal(signal.SIGTERM)
    assert manager.until("STOPPING") == {"STOPPING": "1", "STATUS": "finishing what runs"}
    assert service.ended() == (0, "")


def test_a_stopped_parent_shows_no_life(manager: Manager, service: Service):
    manager.until("WATCHDOG")
    service.process.send_signal(signal.SIGSTOP)
    while manager.next(1.0) is not None:
        pass
    service.process.send_signal(signal.SIGCONT)
    assert manager.next() == {"WATCHDOG": "1"}


def test_life_is_shown_while_jobs_finish(queuectl: Shell, manager: Manager, service: Service):
    queuectl("enqueue", "touch began; while ! test -e go; do sleep 0.05; done").ok()
    end = monotonic() + LONG
    while not (queuectl.folder / "began").exists():
        assert monotonic() < end
        manager.next()
    service.process.send_signal(signal.SIGTERM)
    manager.until("STOPPING")
    manager.until("WATCHDOG")
    (queuectl.folder / "go").touch()
    assert service.ended() == (0, "")


@pytest.mark.parametrize("words", [(), ("--detach",)])
def test_neither_workers_nor_jobs_may_notify(queuectl: Shell, manager: Manager, words: tuple[str, ...]):
    queuectl("enqueue", "env; tr '\\0' '\\n' < /proc/$PPID/environ").ok()
    assert Service(queuectl, manager, "--drain", *words).ended()[0] == 0
    queuectl("wait", "1").ok()
    seen = {line.partition("=")[0] for line in queuectl("logs", "1").ok().lines}
    assert "QUEUECTL_DB" in seen
    assert not {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} & seen


def test_a_manager_that_is_gone_harms_nothing(queuectl: Shell, manager: Manager):
    queuectl("enqueue", "true").ok()
    os.unlink(manager.path)
    code, told = Service(queuectl, manager, "--drain").ended()
    assert code == 0
    assert told.startswith("queuectl: the service manager can't be reached at ")
    assert told.count("\n") <= 2
    assert queuectl("inspect", "1", "--json").json["state"] == "completed"


def test_what_runs_is_ended_after_the_stop_timeout(lab: Lab):
    id = lab.queue.enqueue("echo began; sleep 60", timeout=None)
    parent = lab.start(stop_timeout=0.5)
    lab.until(lambda: lab.queue.job(id).state == "processing")
    began = monotonic()
    parent.send_signal(signal.SIGTERM)
    assert lab.ended(parent, 20) == (0, "")
    assert 0.5 <= monotonic() - began < 10
    assert lab.log(id) == ["enqueued", "claimed", "interrupted"]
    assert lab.queue.job(id).state == "pending"


def test_what_ends_in_time_is_no_interruption(lab: Lab):
    id = lab.queue.enqueue("sleep 0.5", timeout=None)
    parent = lab.start(stop_timeout=30)
    lab.until(lambda: lab.queue.job(id).state == "processing")
    parent.send_signal(signal.SIGTERM)
    assert lab.ended(parent, 20) == (0, "")
    assert lab.queue.job(id).state == "completed"
