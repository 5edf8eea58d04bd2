"""What was acknowledged last, and in which file, noted beside the database: what that must at least hold (R42).

Where the `-wal` was removed, or an older copy put in the database's place, SQLite opens it without a word, as it was
some time ago; where another database was laid under a `-wal` that was left, it mixes the two. The note tells that
events are missing, or that this is another file: each has a random mark of its own.
"""

import os
from typing import NamedTuple

from queuectl.engines.sqlite.location import Location
from queuectl.errors import Unusable, shown

DIGITS = 20
"""Of the seq; older programs write, and read, no more than this."""

LENGTH = DIGITS + 1 + 32
"""With the mark behind a space."""

_SAFE = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
"""Nothing else that was put there leads elsewhere, or makes us wait."""


class HighWaterMark(NamedTuple):
    """What stands in the note."""

    seq: int = 0
    """Of the last event that was acknowledged; 0 where that is not known."""
    mark: str | None = None
    """The mark of the database; None where it was never noted."""


class HighWater:
    """The note of one queue. It is written after a commit has reached the disk, never before, and is not synced itself:
    what it says after a power cut may be too little, but not too much. No number in it is ever lowered."""

    def __init__(self, location: Location) -> None:
        self._location = location
        self._path = location.high_water
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
            name, folder = shown(self._location.database), shown(self._location.home.folder)
            raise Unusable(
                f"{name}: is not the database that was here, but a copy or another one: put that back; or, to go on"
                f" with this one, stop the workers, move {name}-wal, {name}-shm and {folder} away and try again"
            )

    def check_head(self, head: int, note: HighWaterMark) -> None:
        """Raise Unusable where acknowledged events are missing; `note` was read before the head was."""
        if head < note.seq:
            name = shown(self._location.database)
            raise Unusable(
                f"{name}: ends with event {head}, but {note.seq} were acknowledged: its -wal was removed, or an older"
                f" copy put in its place. Put back what belongs to it, or remove {shown(self._path)} to go on so"
            )

    def record(self, seq: int, mark: str | None) -> None:
        """Note that everything up to `seq` is on disk (3 µs); by who holds the gate. A full disk is no reason to fail:
        the event is safe, the note is only older."""
        try:
            if not self._is_open():
                self._open(os.O_CREAT)
                os.fchmod(self._fd, 0o600)
            seq = max(seq, _parsed(os.pread(self._fd, LENGTH, 0)).seq)
            os.pwrite(self._fd, b"%0*d" % (DIGITS, seq) + (b" " + mark.encode() if mark is not None else b""), 0)
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
    number, _, mark = text.partition(b" ")
    if len(number) != DIGITS or not number.isdigit():
        return HighWaterMark()
    return HighWaterMark(int(number), mark.decode() if len(mark) == 32 and mark.isalnum() and mark.isascii() else None)
