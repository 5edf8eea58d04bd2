"""The little of rtnetlink(7) that makes a bridge with hosts on it, so that no test needs iproute2 installed."""

import os
import socket
import struct
from ipaddress import IPv4Interface

_NEWLINK, _NEWADDR = 16, 20
_REQUEST_ACK, _CREATE = 0x1 | 0x4, 0x200 | 0x400
_IFNAME, _MASTER, _LINKINFO, _NET_NS_FD = 3, 10, 18, 28
_KIND, _DATA, _PEER = 1, 2, 1
_ADDRESS, _LOCAL = 1, 2
_UP = 1


class Links:
    """The links of the network namespace in which it is made; each is known by its index."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)

    def close(self) -> None:
        self._socket.close()

    def add_bridge(self, name: str) -> None:
        """Add a bridge."""
        self._ask(_NEWLINK, _link() + _text(_IFNAME, name) + _nest(_LINKINFO, _text(_KIND, "bridge")), _CREATE)

    def add_pair(self, name: str, peer: str, namespace: int) -> None:
        """Add two links that are the ends of one cable, the other one in the namespace with this descriptor."""
        other = _link() + _text(_IFNAME, peer) + _number(_NET_NS_FD, namespace)
        kind = _nest(_LINKINFO, _text(_KIND, "veth") + _nest(_DATA, _nest(_PEER, other)))
        self._ask(_NEWLINK, _link() + _text(_IFNAME, name) + kind, _CREATE)

    def set_up(self, index: int) -> None:
        """Let it send and receive."""
        self._ask(_NEWLINK, _link(index, flags=_UP))

    def set_master(self, index: int, bridge: int) -> None:
        """Plug it into a bridge; 0 takes it out."""
        self._ask(_NEWLINK, _link(index) + _number(_MASTER, bridge))

    def add_address(self, index: int, address: IPv4Interface) -> None:
        """Give it an address."""
        header = struct.pack("=BBBBI", socket.AF_INET, address.network.prefixlen, 0, 0, index)
        self._ask(_NEWADDR, header + _nest(_LOCAL, address.packed) + _nest(_ADDRESS, address.packed), _CREATE)

    def _ask(self, kind: int, body: bytes, flags: int = 0) -> None:
        """Ask the kernel for something. Raises OSError where that is refused."""
        self._socket.send(struct.pack("=IHHII", 16 + len(body), kind, _REQUEST_ACK | flags, 1, 0) + body)
        (number,) = struct.unpack_from("=i", self._socket.recv(1 << 16), 16)
        if number:
            raise OSError(-number, os.strerror(-number))


def _link(index: int = 0, flags: int = 0) -> bytes:
    return struct.pack("=BBHiII", socket.AF_UNSPEC, 0, 0, index, flags, flags)


def _nest(kind: int, data: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(data), kind) + data + bytes(-len(data) % 4)


def _text(kind: int, text: str) -> bytes:
    return _nest(kind, text.encode() + b"\0")


def _number(kind: int, number: int) -> bytes:
    return _nest(kind, struct.pack("=I", number))
