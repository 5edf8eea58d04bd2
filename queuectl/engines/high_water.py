"""The last event that was acknowledged, noted beside the database: what that must at least hold when it is opened.

Where the `-wal` was removed, or an older copy put in the database's place, SQLite opens it without a word, as it was
some time ago. The note tells that events are missing.
"""

import os

from queuectl.errors import Unusable
from queuectl.paths import shown

LENGTH = 20

_SAFE = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""Nothing else that was put there leads elsewhere, or makes us wait."""


class HighWater:
    """The note of one queue. It is written after a commit has reached the disk, never before, and is not synced itself:
    what it says after a power cut may be too little, but not too much."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1

    def read(self) -> int:
        """The seq of the last event that was noted; 0 where none was, or the note is damaged. Raises Unusable."""
        try:
            fd = os.open(self._path, os.O_RDONLY | _SAFE)
            try:
                text = os.read(fd, LENGTH)
            finally:
                os.close(fd)
        except FileNotFoundError:
            return 0
        except OSError as error:
            raise Unusable(f"{shown(self._path)}: {error.strerror}: remove it") from error
        return int(text) if text.isdigit() else 0

    def note(self, seq: int) -> None:
        """Note that everything up to `seq` is on disk (2 µs); by who holds the gate. A full disk is no reason to fail:
        the event is safe, the note is only older."""
        try:
            if self._fd < 0:
                self._fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | _SAFE, 0o600)
                os.fchmod(self._fd, 0o600)
            os.pwrite(self._fd, b"%0*d" % (LENGTH, seq), 0)
        except OSError:
            self.close()

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
