"""What was acknowledged last, and in which database, noted on this host: what that must at least hold (R42).

A database that was replaced by an older copy of itself, or a standby that was promoted without the last events, opens
without a word, as it was some time ago. The note tells that events are missing, or that this is another database: each
has a random mark of its own.
"""

import os
from abc import ABC, abstractmethod
from typing import NamedTuple

from queuectl.errors import Unusable, shown

DIGITS = 20
"""Of the seq; older programs write, and read, no more than this."""

LENGTH = DIGITS + 1 + 32 + 1 + DIGITS
"""With the mark behind a space, and the moment of the event behind another."""

_SAFE = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""Nothing else that was put there leads elsewhere, or makes us wait."""


class HighWaterMark(NamedTuple):
    """What stands in the note."""

    seq: int = 0
    """Of the last event that was acknowledged; 0 where that is not known."""
    mark: str | None = None
    """The mark of the database; None where it was never noted."""
    at: int | None = None
    """The moment of that event (µs UTC); None where it is not noted."""


class HighWater(ABC):
    """The note of one queue, whose errors its engine words.

    It is written after a commit has reached the disk, never before, and is not synced itself: what it says after a
    power cut may be too little, but not too much. No number in it is ever lowered.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._fd = -1
        self._file = (0, 0)
        self._last = (b"", HighWaterMark())

    def read(self) -> HighWaterMark:
        """What was noted; nothing where there is no note, or a damaged one. Raises Unusable where it can't be read."""
        try:
            fd = os.open(self._path, os.O_RDONLY | _SAFE)
            try:
                return _parsed(os.read(fd, LENGTH))
            finally:
                os.close(fd)
        except FileNotFoundError:
            return HighWaterMark()
        except OSError as error:
            raise Unusable(f"{shown(self._path)}: {error.strerror}: remove it") from error

    def check(self, mark: str | None, head: int) -> None:
        """`check_mark` and `check_head` with what is noted now, by who holds the gate (1 µs)."""
        note = self._noted()
        if note.seq > head or note.mark not in (None, mark):
            self.close()  # it may have been removed, to go on without
            note = self._noted()
            self.check_mark(mark, note)
            self.check_head(head, note)

    def _noted(self) -> HighWaterMark:
        """What stands in the file that is open; nothing where it can't be read."""
        try:
            if self._fd < 0:
                self._open(0)
            text = os.pread(self._fd, LENGTH, 0)
        except OSError:
            self.close()
            return HighWaterMark()
        if text != self._last[0]:
            self._last = (text, _parsed(text))
        return self._last[1]

    def check_mark(self, mark: str | None, note: HighWaterMark) -> None:
        """Raise Unusable where this is not the database that the note is about."""
        if note.mark is not None and note.mark != mark:
            raise self._another()

    def check_head(self, head: int, note: HighWaterMark) -> None:
        """Raise Unusable where acknowledged events are missing; `note` was read before the head was."""
        if head < note.seq:
            raise self._behind(head, note.seq)

    @abstractmethod
    def _another(self) -> Unusable:
        """The error for a database that is not the one of the note."""

    @abstractmethod
    def _behind(self, head: int, acknowledged: int) -> Unusable:
        """The error for a log that ends with event `head`, though a later one was acknowledged."""

    def record(self, seq: int, mark: str | None, at: int | None = None) -> None:
        """Note that everything up to `seq`, of the moment `at`, is on disk (3 µs); by who holds the gate. A full disk
        is no reason to fail: the event is safe, the note is only older."""
        try:
            if not self._is_open():
                self._open(os.O_CREAT)
                os.fchmod(self._fd, 0o600)
            noted = _parsed(os.pread(self._fd, LENGTH, 0))
            if noted.seq > seq:
                seq, at = noted.seq, noted.at
            moment = b" %0*d" % (DIGITS, at) if at is not None else b""
            text = b" " + mark.encode() + moment if mark is not None else b""
            os.pwrite(self._fd, b"%0*d" % (DIGITS, seq) + text, 0)
        except OSError:
            self.close()

    def close(self) -> None:
        """Let go of the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self, flags: int) -> None:
        self.close()
        self._fd = os.open(self._path, os.O_RDWR | flags | _SAFE, 0o600)
        found = os.fstat(self._fd)
        self._file = (found.st_dev, found.st_ino)

    def _is_open(self) -> bool:
        """Whether the file that is open is still the one at its path: it may have been removed, to go on without."""
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return False
        return self._fd >= 0 and (found.st_dev, found.st_ino) == self._file


def _parsed(text: bytes) -> HighWaterMark:
    number, _, rest = text.partition(b" ")
    mark, _, at = rest.partition(b" ")
    if len(number) != DIGITS or not number.isdigit():
        return HighWaterMark()
    known = mark.decode() if len(mark) == 32 and mark.isalnum() and mark.isascii() else None
    return HighWaterMark(int(number), known, int(at) if len(at) == DIGITS and at.isdigit() else None)
