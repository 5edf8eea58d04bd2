"""Hosts on one network, whose links can be cut: network namespaces, each with a cable to one bridge.

None of them has a name: a namespace is gone, with its end of the cable, when it is closed and no process is in it.
"""

import ctypes
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from ipaddress import IPv4Interface
from typing import NamedTuple, Self

from tests.support.rtnetlink import Links

_CLONE_NEWNET = 0x40000000
_LOOPBACK = 1
_libc = ctypes.CDLL(None, use_errno=True)


class NoNetwork(Exception):
    """The kernel refuses network namespaces: hosts need root's rights (CAP_SYS_ADMIN and CAP_NET_ADMIN)."""


class Host(NamedTuple):
    """A host of a network."""

    address: str
    namespace: int
    """A descriptor."""
    socket: int
    """The index of the link at the other end of its cable, in the bridge."""

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Meanwhile the processes that this thread starts run on this host, and sockets that it opens are there."""
        with _inside(self.namespace):
            yield


class Network:
    """Hosts that reach each other, and nothing else. Raises NoNetwork where there can be none."""

    def __init__(self, hosts: int = 4) -> None:
        self._stack = ExitStack()
        try:
            self._build(hosts)
        except PermissionError as refused:
            self.close()
            raise NoNetwork(f"{NoNetwork.__doc__} {refused}") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Remove it; processes that run on its hosts must have ended."""
        self._stack.close()

    def cut(self, host: Host) -> None:
        """Cut a host off: what it sends is lost, and so is what is sent to it. Nobody is told."""
        self._links.set_master(host.socket, 0)

    def restore(self, host: Host) -> None:
        """Connect it again."""
        self._links.set_master(host.socket, self._bridge)

    def _build(self, hosts: int) -> None:
        with _inside(self._namespace()):
            self._links = self._stack.enter_context(closing(Links()))
            self._links.add_bridge("bridge")
            self._bridge = socket.if_nametoindex("bridge")
            self._links.set_up(self._bridge)
            self.hosts = [self._add(number) for number in range(1, hosts + 1)]

    def _add(self, number: int) -> Host:
        address = IPv4Interface(f"10.77.0.{number}/24")
        namespace = self._namespace()
        name = f"host{number}"
        self._links.add_pair(name, "cable", namespace)
        host = Host(str(address.ip), namespace, socket.if_nametoindex(name))
        with host.inside(), closing(Links()) as links:
            cable = socket.if_nametoindex("cable")
            links.add_address(cable, address)
            links.set_up(cable)
            links.set_up(_LOOPBACK)
        self._links.set_up(host.socket)
        self.restore(host)
        return host

    def _namespace(self) -> int:
        """A descriptor of a new namespace."""
        here = _current()
        try:
            _checked(_libc.unshare(_CLONE_NEWNET))
            made = _current()
            self._stack.callback(os.close, made)
            _checked(_libc.setns(here, _CLONE_NEWNET))
        finally:
            os.close(here)
        return made


def is_possible() -> bool:
    """Whether there can be a network."""
    try:
        Network(0).close()
    except NoNetwork:
        return False
    return True


@contextmanager
def _inside(namespace: int) -> Iterator[None]:
    before = _current()
    try:
        _checked(_libc.setns(namespace, _CLONE_NEWNET))
        try:
            yield
        finally:
            _checked(_libc.setns(before, _CLONE_NEWNET))
    finally:
        os.close(before)


def _current() -> int:
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _checked(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
