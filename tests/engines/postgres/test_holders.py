"""A host hangs, or is cut off, in the middle of a turn and with the write lock: others wait for seconds (P1, P2)."""

import signal
import subprocess
import sys
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from queuectl import Queue
from queuectl.clock import monotonic
from tests.support.link import Link
from tests.support.network import Network
from tests.support.paths import ROOT
from tests.support.postgres.database import Database
from tests.support.postgres.keeper import OWNER, Room, make_owner
from tests.support.postgres.servers import Servers
from tests.support.test_network import needs_network

LONGEST = 5.0
"""Seconds that others may wait."""

HOLDER = """
import signal, sys
from queuectl import Queue
with Queue(sys.argv[1]) as queue, queue.engine.transaction() as tx:
    if sys.argv[2] == "reading":
        tx._session._connection.pgconn.send_query(b"select repeat('x', 1000) from generate_series(1, 100000)")
    print("inside", flush=True)
    signal.pause()
"""
"""Holds the lock for ever: while it thinks, or while it reads more than the network keeps for it."""

POINTS = pytest.mark.parametrize("point", ["thinking", "reading"])


@contextmanager
def holder(url: str, point: str) -> Generator["subprocess.Popen[bytes]"]:
    """A process that holds the lock, on the host that this thread is on."""
    words = [sys.executable, "-c", HOLDER, url, point]
    process = subprocess.Popen(words, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"inside\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def others_go_on(queue: Queue) -> None:
    """Check that another writer gets the lock in time, but not at once."""
    calls: list[None] = []
    began = monotonic()
    with queue.engine.transaction(30.0, lambda: calls.append(None)):
        waited = monotonic() - began
    assert calls, "nobody held the lock"
    assert waited < LONGEST


@POINTS
def test_a_stopped_holder_makes_way(postgres_url: str, point: str) -> None:
    with Queue(postgres_url) as queue, holder(postgres_url, point) as process:
        process.send_signal(signal.SIGSTOP)
        others_go_on(queue)


@POINTS
def test_a_holder_behind_a_dead_link_makes_way(postgres: Database, point: str) -> None:
    with Queue(postgres.url) as queue, Link(postgres.address.host, postgres.address.port) as link:
        url = postgres.url.replace(f":{postgres.address.port}/", f":{link.port}/")
        with holder(url, point):
            link.cut()
            others_go_on(queue)


@pytest.fixture
def hosts(postgres_room: Room, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Network, str]]:
    """A network whose first host has a server, and the URL of a queue there."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with Network(3) as network, Servers(postgres_room) as servers:
        server = servers.create(host=network.hosts[0].address)
        with network.hosts[0].inside():
            server.start()
        make_owner(server.address)
        yield network, server.address.url(OWNER, OWNER)


@needs_network
@POINTS
def test_a_host_cut_off_makes_way(hosts: tuple[Network, str], point: str) -> None:
    network, url = hosts
    _, far, near = network.hosts
    with ExitStack() as stack:
        with near.inside():
            queue = stack.enter_context(Queue(url))
        with far.inside():
            stack.enter_context(holder(url, point))
        with near.inside():
            network.cut(far)
            others_go_on(queue)
