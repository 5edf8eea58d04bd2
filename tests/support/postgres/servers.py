"""Servers of a test's own, to be stopped, killed and failed over: they end with the test."""

import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from tests.support.postgres.keeper import Room
from tests.support.postgres.server import Server


class Servers:
    """Makes them in the room of a run. Each starts when it is told to, on the host that this thread is on."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._made: list[Server] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._made:
            server.kill()

    def plan(self, version: int = 16, *, host: str = "127.0.0.1") -> Server:
        """A server without any data: what makes them is `Server.create`, or `replication.follow`."""
        folder = Path(self._room.folder, f"own-{secrets.token_hex(4)}")
        server = Server(folder, Path(self._room.wheel), version, host=host)
        self._made.append(server)
        return server

    def create(
        self, settings: Mapping[str, str] | None = None, version: int = 16, *, host: str = "127.0.0.1"
    ) -> Server:
        """A server with an empty cluster (0.6 s)."""
        server = self.plan(version, host=host)
        server.create(settings)
        return server
