"""No connection is open across a fork (R7): what is open is closed before it, or never touched by the child."""

import os
from typing import Protocol
from weakref import WeakSet


class Forkable(Protocol):
    """What has a connection."""

    def close_before_fork(self) -> None:
        """Before a fork: close the connection, where it is not in use."""
        ...

    def abandon_after_fork(self) -> None:
        """In a forked child: never close an inherited connection."""
        ...


_open: WeakSet[Forkable] = WeakSet()


def register(engine: Forkable) -> None:
    """Close an engine's connection before each fork, until it is unregistered or garbage."""
    _open.add(engine)


def unregister(engine: Forkable) -> None:
    """Unregister the engine."""
    _open.discard(engine)


def _before_fork() -> None:
    for engine in _open:
        engine.close_before_fork()


def _after_fork() -> None:
    for engine in _open:
        engine.abandon_after_fork()


os.register_at_fork(before=_before_fork, after_in_child=_after_fork)
