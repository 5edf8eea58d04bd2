"""The socket by which a service tells its manager how it is, as sd_notify(3) has it: ready, alive, stopping.

Datagrams of lines `NAME=VALUE` to the address in NOTIFY_SOCKET, a path, or one of the abstract namespace after an `@`.
Written out here: the protocol is three lines, and every library for it is as old and as long as this module.
"""

import math
import os
import warnings
from collections.abc import Mapping

from queuectl.errors import Notice

VARIABLES = frozenset({"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"})
"""What a manager gives the main process of a service alone: nothing that it starts may have them."""

_PATIENCE = 1.0
"""Seconds for which a datagram is tried where the manager reads none just now."""


class NotifySocket:
    """Notifications of one process to its service manager; without one, nothing is sent."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        """`environ`: the environment of this process. Messages that can't be sent are told by a Notice, once."""
        self._address = environ.get("NOTIFY_SOCKET", "")
        self._interval = _interval(environ) if self._address else math.inf
        self.due = -math.inf if self._interval < math.inf else math.inf
        """When to call `keep_alive` next, in monotonic seconds; infinite where nobody watches."""

    def ready(self, status: str) -> None:
        """The service is up."""
        self._send(READY="1", STATUS=status, MAINPID=str(os.getpid()))

    def stopping(self, status: str) -> None:
        """The service ends, by its own decision or because it was asked to."""
        self._send(STOPPING="1", STATUS=status)

    def keep_alive(self, now: float) -> None:
        """This process works: to be called by what works alone, and at the latest when it is `due`."""
        if now >= self.due:
            self.due = now + self._interval
            self._send(WATCHDOG="1")

    def _send(self, **fields: str) -> None:
        if not self._address:
            return
        import socket  # few are services

        address = f"\0{self._address[1:]}" if self._address.startswith("@") else self._address
        text = "".join(f"{name}={value}\n" for name, value in fields.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.settimeout(_PATIENCE)
                sender.sendto(text.encode(), address)
        except OSError as error:
            told = f"the service manager can't be reached at {self._address!r} (NOTIFY_SOCKET): {error}"
            warnings.warn(told, Notice, stacklevel=1)


def _interval(environ: Mapping[str, str]) -> float:
    """Half of the seconds after which the manager takes this process for hung; infinite where it does not watch it."""
    micros, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    if not micros.isdecimal() or not int(micros) or (pid and pid != str(os.getpid())):
        return math.inf
    return int(micros) / 2 / 1_000_000


UNWATCHED = NotifySocket({})
"""That of a process that is no service."""


def without(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment for what a service starts: nothing of it is the manager's to hear from."""
    return {name: value for name, value in environ.items() if name not in VARIABLES}
