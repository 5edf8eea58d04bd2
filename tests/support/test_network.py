"""Hosts on a network: they reach each other unless cut off, and nothing is left of them."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest

from tests.support.network import Host, Network, NoNetwork, is_possible
from tests.support.paths import ROOT

needs_network = pytest.mark.skipif(not is_possible(), reason=str(NoNetwork.__doc__))

CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=0.5)"


WITHOUT_RIGHTS = """
import os
from tests.support.network import Network, NoNetwork

if os.geteuid() == 0:
    os.setuid(65534)
try:
    Network()
except NoNetwork as error:
    print(error)
"""


@pytest.fixture
def network() -> Iterator[Network]:
    with Network() as network:
        yield network


def reaches(one: Host, other: Host) -> bool:
    """Whether a process on one host gets a connection to the other."""
    with other.inside():
        listener = socket.create_server((other.address, 0))
    with listener, one.inside():
        command = [sys.executable, "-S", "-c", CONNECT, other.address, str(listener.getsockname()[1])]
        return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0


@needs_network
def test_hosts_reach_each_other_unless_cut_off(network: Network) -> None:
    first, second, third, _ = network.hosts
    assert reaches(first, second)
    network.cut(second)
    assert not reaches(first, second)
    assert not reaches(second, first)
    assert reaches(first, third)
    network.restore(second)
    assert reaches(first, second)


@needs_network
def test_this_process_is_on_no_host(network: Network) -> None:
    before = os.stat("/proc/thread-self/ns/net").st_ino
    names = socket.if_nameindex()
    with network.hosts[0].inside():
        assert os.stat("/proc/thread-self/ns/net").st_ino != before
        assert [name for _, name in socket.if_nameindex()] == ["lo", "cable"]
    assert os.stat("/proc/thread-self/ns/net").st_ino == before
    assert socket.if_nameindex() == names


def test_without_rights_there_is_no_network() -> None:
    said = subprocess.run(
        [sys.executable, "-c", WITHOUT_RIGHTS], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert said.startswith("The kernel refuses network namespaces: hosts need root's rights")
