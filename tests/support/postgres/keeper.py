"""The process that starts the servers which all tests of a run share, when the first asks; and that leaves nothing.

It ends with the run, however that ends: then the servers are stopped, and the folder is removed where all is.
"""

import itertools
import os
import secrets
import select
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Self

import msgspec

from tests.support.paths import ROOT
from tests.support.postgres.programs import wheel
from tests.support.postgres.server import PASSWORD, Address, Server, kill

OWNER = "queuectl"
"""A role that owns a database of its name, and is nothing more: as the documentation tells people to set it up."""


class Request(msgspec.Struct, frozen=True):
    """A server that is asked for, or, without a version, only the room."""

    version: int | None
    settings: dict[str, str]


class Room(msgspec.Struct, frozen=True):
    """Where servers may live: all that is in the folder is removed at the end of the run."""

    folder: str
    wheel: str


class Answer(msgspec.Struct, frozen=True):
    room: Room | None = None
    address: Address | None = None
    problem: str | None = None


class Keeper:
    """The process, as the run sees it, which has to close it. It starts no server before one is asked for."""

    def __init__(self) -> None:
        self.name = f"\0queuectl-tests-{secrets.token_hex(8)}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listener:
            listener.bind(self.name)
            listener.listen(100)
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(listener.fileno()), str(os.getpid())],
                cwd=ROOT, stdin=subprocess.PIPE, pass_fds=[listener.fileno()], start_new_session=True,
            )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End it; returns when nothing is left."""
        self._process.communicate(b"the run is over")


def shared(keeper: str, version: int = 16, **settings: str) -> Address:
    """The server of the run of this version and with these settings, started when it is first asked for (1 s)."""
    address = _ask(keeper, Request(version, settings)).address
    assert address is not None
    return address


def room(keeper: str) -> Room:
    """Where a test may have servers of its own."""
    room = _ask(keeper, Request(None, {})).room
    assert room is not None
    return room


def _ask(keeper: str, request: Request) -> Answer:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as asking:
        asking.connect(keeper)
        asking.send(msgspec.json.encode(request))
        answer = msgspec.json.decode(asking.recv(1 << 20), type=Answer)
    if answer.problem is not None:
        raise RuntimeError(answer.problem)
    return answer


# -- the process -----------------------------------------------------------------------------------------------------


class _Servers:
    def __init__(self) -> None:
        self._room: Room | None = None
        self._numbers = itertools.count()
        self._running: dict[bytes, Server] = {}

    def answer(self, request: Request) -> Answer:
        room = self._room = self._room or _make_room()
        if request.version is None:
            return Answer(room)
        key = msgspec.json.encode(request, order="sorted")
        if key not in self._running:
            server = Server(Path(room.folder, f"shared-{next(self._numbers)}"), Path(room.wheel), request.version)
            server.create(request.settings)
            server.start()
            self._running[key] = server
            make_owner(server.address)
        return Answer(room, self._running[key].address)

    def close(self) -> None:
        """End all servers that are in the room, those of tests that were killed too, and remove it."""
        if self._room is not None:
            for data in Path(self._room.folder).glob("*/data"):
                kill(data)
            shutil.rmtree(self._room.folder)


def _make_room() -> Room:
    folder = tempfile.mkdtemp(prefix="queuectl-", dir="/tmp")  # the path of a socket has at most 107 bytes
    os.chmod(folder, 0o755)
    return Room(folder, str(wheel(Path(folder))))


def make_owner(address: Address) -> None:
    """Make the role, and its database, on a new server."""
    import psycopg

    with psycopg.connect(address.administrator(), autocommit=True) as connection:
        connection.execute(f"create role {OWNER} login password '{PASSWORD}'")
        connection.execute(f"create database {OWNER} owner {OWNER}")


def _serve(listener: socket.socket, over: tuple[int, ...], answer: Callable[[Request], Answer]) -> None:
    """Answer until one of the descriptors `over` can be read."""
    poll = select.poll()
    for fd in (listener.fileno(), *over):
        poll.register(fd, select.POLLIN)
    while not {fd for fd, _ in poll.poll()}.intersection(over):
        asked, _ = listener.accept()
        with asked:
            request = asked.recv(1 << 20)
            if not request:
                continue  # who asked is gone
            try:
                said = answer(msgspec.json.decode(request, type=Request))
            except (OSError, RuntimeError, AssertionError) as problem:
                said = Answer(problem=str(problem))
            try:
                asked.send(msgspec.json.encode(said))
            except BrokenPipeError:
                pass


def _main(listener: int, parent: int) -> None:
    run = os.pidfd_open(parent)
    if os.getppid() != parent:
        return
    servers = _Servers()
    try:
        with socket.socket(fileno=listener) as listening:
            _serve(listening, (sys.stdin.fileno(), run), servers.answer)
    finally:
        servers.close()


if __name__ == "__main__":
    _main(int(sys.argv[1]), int(sys.argv[2]))
