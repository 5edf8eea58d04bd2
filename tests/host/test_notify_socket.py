"""Notifications to a service manager, received at real sockets."""

import math
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from queuectl.errors import Notice
from queuectl.host.notify_socket import NotifySocket, without


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """A manager's socket, and its address as NOTIFY_SOCKET has it."""
    address = str(tmp_path / "notify") if request.param == "path" else f"@queuectl-test-{os.urandom(8).hex()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(address.replace("@", "\0") if address.startswith("@") else address)
        receiver.setblocking(False)
        yield receiver, address


def received(receiver: socket.socket) -> list[str]:
    return receiver.recv(4096).decode().splitlines()


def test_messages_arrive_at_each_kind_of_address(manager: tuple[socket.socket, str]):
    receiver, address = manager
    notify = NotifySocket({"NOTIFY_SOCKET": address})
    notify.ready("2 workers up")
    assert received(receiver) == ["READY=1", "STATUS=2 workers up", f"MAINPID={os.getpid()}"]
    notify.stopping("finishing what runs")
    assert received(receiver) == ["STOPPING=1", "STATUS=finishing what runs"]
    assert notify.due == math.inf, "nobody watches"


def test_life_is_shown_twice_in_each_interval(manager: tuple[socket.socket, str]):
    receiver, address = manager
    notify = NotifySocket({"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())})
    notify.keep_alive(100.0)
    assert received(receiver) == ["WATCHDOG=1"]
    assert notify.due == 101.5
    notify.keep_alive(101.4)
    with pytest.raises(BlockingIOError):
        received(receiver)
    notify.keep_alive(101.5)
    assert received(receiver) == ["WATCHDOG=1"]


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"WATCHDOG_USEC": "3000000"},
        {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"},
        {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "0"},
        {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "soon"},
    ],
)
def test_a_process_that_nobody_watches_is_silent(environ: dict[str, str]):
    assert NotifySocket(environ).due == math.inf


@pytest.mark.parametrize("address", ["/gone/notify", "vsock:2:1234"])
def test_a_manager_that_is_gone_is_told(address: str):
    with pytest.warns(Notice, match="the service manager can't be reached"):
        NotifySocket({"NOTIFY_SOCKET": address}).ready("up")


def test_what_is_started_has_no_socket():
    environ = {"NOTIFY_SOCKET": "/run/x", "WATCHDOG_USEC": "1", "WATCHDOG_PID": "1", "HOME": "/"}
    assert without(environ) == {"HOME": "/"}
