"""A command on a terminal that goes on drawing, and what it has drawn."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from select import select

from queuectl.clock import monotonic
from tests.support.shell import Shell


class Terminal:
    """A command on a terminal, and what it has drawn so far."""

    def __init__(self, queuectl: Shell, *words: str, columns: int, rows: int) -> None:
        self._fd, child = pty.openpty()
        self.resize(columns, rows)
        self.drawn = ""
        self.process = subprocess.Popen(
            queuectl.command(*words), cwd=queuectl.folder, env=queuectl.env | {"TERM": "xterm", "NO_COLOR": "1"},
            stdin=child, stdout=child, stderr=child,
        )  # fmt: skip
        os.close(child)

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def frame(self, pattern: str) -> str:
        """Read on until a whole screen shows this; return it, from what is written before its first line."""
        deadline = monotonic() + 20
        while monotonic() < deadline:
            if select([self._fd], [], [], 0.1)[0]:
                self.drawn += os.read(self._fd, 65536).decode().replace("\r\n", "\n")
            for frame in re.findall(r"(?:\x1b\[2J)?\x1b\[H.*?\x1b\[J", self.drawn, re.DOTALL):
                if re.search(pattern, frame):
                    return frame
        raise AssertionError(f"{pattern} is not in {self.drawn!r}")

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._fd)
