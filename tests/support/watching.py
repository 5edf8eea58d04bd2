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

    def __init__(self, queuectl: Shell, *words: str, columns: int, rows: int, term: str = "xterm") -> None:
        self._fd, child = pty.openpty()
        self.resize(columns, rows)
        self.drawn = ""
        self.process = subprocess.Popen(
            queuectl.command(*words), cwd=queuectl.folder, env=queuectl.env | {"TERM": term, "NO_COLOR": "1"},
            stdin=child, stdout=child, stderr=child, preexec_fn=_lead_session,
        )  # fmt: skip
        self._child = child  # stays open: what the command left of its settings is looked at

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, keys: bytes) -> None:
        """Type these."""
        os.write(self._fd, keys)

    def echoes(self) -> bool:
        """Whether the terminal shows what is typed and gives it line by line, as a shell needs it."""
        local = termios.tcgetattr(self._child)[3]
        return bool(local & termios.ECHO and local & termios.ICANON)

    def shows(self, pattern: str) -> str:
        """Read on until this was written; return what was up to its end, and forget that."""
        deadline = monotonic() + 20
        while (found := re.search(pattern, self.drawn)) is None:
            assert monotonic() < deadline, f"{pattern} is not in {self.drawn!r}"
            if select([self._fd], [], [], 0.1)[0]:
                self.drawn += os.read(self._fd, 65536).decode(errors="replace")
        drawn, self.drawn = self.drawn[: found.end()], self.drawn[found.end() :]
        return drawn

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
        os.close(self._child)
        os.close(self._fd)


def _lead_session() -> None:
    """Make the terminal on stdin that of a new session: Ctrl-C is sent to its process."""
    os.setsid()
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
