"""Which process runs which attempt, and how it ended: kept in the worker's lock file, for whoever finds it dead.

What a worker has seen and not yet written into the log would be lost with it, and the attempt would run again; so would
a command that its parent reaps, for a process that has ended tells no more than its pid (R18). Written through shared
memory, which costs no system call and outlives the process.
"""

import mmap
import os
import struct

import msgspec

from queuectl.decisions import Stop

UNREPORTED = 128
"""Attempts that have ended and are not in the log yet, for which there is room beside those that run."""

RUNNING = 1 << 32
"""In the place of an exit code, while there is none."""

HEADER = 256
"""Bytes before the entries: why the worker was killed, where somebody here did it, and what it was told to stop by."""
_WHY = 64
"""Bytes of the first of these."""

_ENTRY = struct.Struct("<qqqqqq")
_END = struct.Struct("<qq")
_END_AT = _ENTRY.size - _END.size
_FREE = _ENTRY.pack(0, 0, 0, 0, 0, RUNNING)


class TableEntry(msgspec.Struct, frozen=True):
    """An attempt: its main process, the job (by the seq of its `enqueued`), and the lease."""

    pid: int
    job: int
    lease: int
    started_at: int
    """Microseconds UTC."""
    ran: int = 0
    """Microseconds, once it has ended."""
    code: int = RUNNING
    """How it ended by itself: its exit code, or minus the signal that ended it."""


class AttemptTable:
    """One worker's."""

    def __init__(self, path: str, slots: int) -> None:
        """`path` is the worker's lock file. On a full disk nobody will read the table, and the worker works on."""
        size = HEADER + (slots + UNREPORTED) * _ENTRY.size
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.posix_fallocate(fd, 0, size)  # a hole could not be filled later: to write there would kill us
            self._map = mmap.mmap(fd, size)
        except OSError:
            self._map = mmap.mmap(-1, size)
        finally:
            os.close(fd)
        self._free = list(range(HEADER, size, _ENTRY.size))
        for place in self._free:
            self._map[place : place + _ENTRY.size] = _FREE

    def move(self, fd: int) -> None:
        """Go on in another file, with all that stands in this one. On a full disk nobody will read it there."""
        size = len(self._map)
        try:
            os.posix_fallocate(fd, 0, size)
            new = mmap.mmap(fd, size)
        except OSError:
            return
        new[:] = self._map[:]
        self._map = new

    def set_stop(self, stop: Stop) -> None:
        """Note what this worker was told to stop by, so that what it leaves undone is explained."""
        self._map[_WHY:HEADER] = _note(stop)

    def add(self, pid: int, job: int, lease: int, started_at: int) -> int | None:
        """Note what runs; returns the place, for `end` and `leave`; None where there is no room."""
        if not self._free:
            return None
        place = self._free.pop()
        # The code is that of a free place until it has one of its own, so that no kill can leave it another's.
        _ENTRY.pack_into(self._map, place, pid, job, lease, started_at, 0, RUNNING)
        return place

    def set_end(self, place: int, ran: int, code: int) -> None:
        """It has ended by itself, after so many microseconds."""
        _END.pack_into(self._map, place + _END_AT, ran, code)

    def remove(self, place: int) -> None:
        """What has become of it is in the log."""
        self._map[place : place + _ENTRY.size] = _FREE
        self._free.append(place)


def read(path: str) -> list[TableEntry]:
    """What a worker was running, and had not reported, by its lock file; nothing where there is none."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return []
    whole = max(0, len(data) - HEADER) // _ENTRY.size * _ENTRY.size
    return [TableEntry(*entry) for entry in _ENTRY.iter_unpack(data[HEADER : HEADER + whole]) if entry[0]]


def write_kill_reason(path: str, why: str) -> None:
    """Say why this worker is killed, before it is: at most 64 bytes. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.pwrite(fd, why.encode()[:_WHY], 0)
    finally:
        os.close(fd)


def read_kill_reason(path: str) -> str | None:
    """Why somebody here killed this worker; None where nobody said so."""
    with open(path, "rb", buffering=0) as file:
        return file.read(_WHY).rstrip(b"\0").decode() or None


def write_stop(path: str, stop: Stop) -> None:
    """Note in a worker's lock file what it is told to stop by, before it is told. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.pwrite(fd, _note(stop), _WHY)
    finally:
        os.close(fd)


def read_stop(path: str) -> Stop | None:
    """What a worker was told to stop by, as far as its lock file tells."""
    try:
        with open(path, "rb", buffering=0) as file:
            return msgspec.json.decode(file.read(HEADER)[_WHY:].rstrip(b"\0"), type=Stop)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def _note(stop: Stop) -> bytes:
    """In so many bytes as there are for it: a long reason is cut short, and stands in the log."""
    note = msgspec.json.encode(stop)
    if len(note) > HEADER - _WHY:
        note = msgspec.json.encode(Stop(stop.by[:60], job=stop.job if len(stop.job or "") < 60 else None))
    return note[: HEADER - _WHY].ljust(HEADER - _WHY, b"\0")
