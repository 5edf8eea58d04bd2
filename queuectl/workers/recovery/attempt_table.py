"""The table of a worker's attempts and how they ended, kept in its lock file for the recovery of a dead worker (R18).

Without it, an outcome that a worker has seen and not yet appended to the log would be lost with the worker, and the
attempt run again. The supervisor needs it to map the pids it reaps to attempts. It is written through shared memory,
which costs no system call and outlives the process.
"""

import math
import mmap
import os
import struct

import msgspec

from queuectl.decisions import Stop

UNREPORTED = 128
"""Number of entries for ended attempts that are not in the log yet, in addition to one entry for each slot."""

RUNNING = 1 << 32
"""The code of an attempt that has not ended."""

HEADER = 256
"""Size in bytes of the header: the reason for which the worker was killed, the order by which it was stopped, whether
it is outdated, and when its parent is to end it."""
_WHY = 64
"""Size in bytes of the reason."""
_STOP = slice(_WHY, HEADER - 9)
_OUTDATED = HEADER - 9
_DEADLINE = struct.Struct("<d")

_ENTRY = struct.Struct("<qqqqqq")
_END = struct.Struct("<qq")
_END_AT = _ENTRY.size - _END.size
_FREE = _ENTRY.pack(0, 0, 0, 0, 0, RUNNING)


class TableEntry(msgspec.Struct, frozen=True):
    """One attempt: the pid of its main process, the job (the seq of its `enqueued`) and the lease."""

    pid: int
    job: int
    lease: int
    started_at: int
    """Microseconds UTC."""
    ran: int = 0
    """Run time in microseconds, once it has ended."""
    code: int = RUNNING
    """Its exit code, or the negative number of the signal that ended it."""


class AttemptTable:
    """The attempt table of this worker."""

    def __init__(self, path: str, slots: int) -> None:
        """Open the table in the lock file at `path`. On a full disk it is kept in memory only."""
        size = HEADER + (slots + UNREPORTED) * _ENTRY.size
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.posix_fallocate(fd, 0, size)  # a write to a hole on a full disk would raise SIGBUS
            self._map = mmap.mmap(fd, size)
        except OSError:
            self._map = mmap.mmap(-1, size)
        finally:
            os.close(fd)
        self._free = list(range(HEADER, size, _ENTRY.size))
        for offset in self._free:
            self._map[offset : offset + _ENTRY.size] = _FREE

    def move(self, fd: int) -> None:
        """Copy the table to another open file and use that one. On a full disk, nothing is changed."""
        size = len(self._map)
        try:
            os.posix_fallocate(fd, 0, size)
            new = mmap.mmap(fd, size)
        except OSError:
            return
        new[:] = self._map[:]
        self._map = new

    def set_stop(self, stop: Stop) -> None:
        """Record the order by which this worker was stopped, which explains the attempts it leaves unfinished."""
        self._map[_STOP] = _encoded(stop)

    def set_outdated(self) -> None:
        """Record that this worker writes no more, heartbeats included, and lives until what it runs has ended."""
        self._map[_OUTDATED] = 1

    def set_deadline(self, moment: float) -> None:
        """Record when this worker's parent is to end it and what it runs (`clock.boottime`); infinity: never."""
        _DEADLINE.pack_into(self._map, _OUTDATED + 1, moment)

    def add(self, pid: int, job: int, lease: int, started_at: int) -> int | None:
        """Add a running attempt; returns its offset for `set_end` and `remove`, or None if the table is full."""
        if not self._free:
            return None
        offset = self._free.pop()
        # A free entry already has the code RUNNING: a kill in the middle of this can't leave a code of another attempt.
        _ENTRY.pack_into(self._map, offset, pid, job, lease, started_at, 0, RUNNING)
        return offset

    def set_end(self, offset: int, ran: int, code: int) -> None:
        """Record that an attempt ended by itself after `ran` microseconds, with this code."""
        _END.pack_into(self._map, offset + _END_AT, ran, code)

    def remove(self, offset: int) -> None:
        """Remove an attempt whose outcome is in the log."""
        self._map[offset : offset + _ENTRY.size] = _FREE
        self._free.append(offset)


def read(path: str) -> list[TableEntry]:
    """The attempts in the lock file at `path`; empty if there is no such file."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return []
    whole = max(0, len(data) - HEADER) // _ENTRY.size * _ENTRY.size
    return [TableEntry(*entry) for entry in _ENTRY.iter_unpack(data[HEADER : HEADER + whole]) if entry[0]]


def write_kill_reason(path: str, why: str) -> None:
    """Record why this worker is about to be killed, in at most 64 bytes. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.pwrite(fd, why.encode()[:_WHY], 0)
    finally:
        os.close(fd)


def read_kill_reason(path: str) -> str | None:
    """The recorded reason for which this worker was killed; None if there is none, or no text. Raises OSError."""
    with open(path, "rb", buffering=0) as file:
        why = file.read(_WHY).rstrip(b"\0")
    try:
        return why.decode() or None
    except UnicodeDecodeError:  # a damaged file, or one of an older version
        return None


def read_outdated(path: str) -> bool:
    """Whether this worker is of an older version than the database, and only waits for the ends of what it runs."""
    try:
        with open(path, "rb", buffering=0) as file:
            header = file.read(HEADER)
    except FileNotFoundError:
        return False
    return len(header) == HEADER and header[_OUTDATED] == 1


def read_deadline(path: str) -> float:
    """When the parent of this worker is to end it and what it runs (`clock.boottime`); infinity: never."""
    try:
        with open(path, "rb", buffering=0) as file:
            header = file.read(HEADER)
    except FileNotFoundError:
        return math.inf
    return (_DEADLINE.unpack_from(header, _OUTDATED + 1)[0] if len(header) == HEADER else 0.0) or math.inf


def write_stop(path: str, stop: Stop) -> None:
    """Record the order by which a worker is about to be stopped. Raises OSError."""
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        os.pwrite(fd, _encoded(stop), _WHY)
    finally:
        os.close(fd)


def read_stop(path: str) -> Stop | None:
    """The recorded order by which a worker was stopped; None if there is none."""
    try:
        with open(path, "rb", buffering=0) as file:
            return msgspec.json.decode(file.read(HEADER)[_STOP].rstrip(b"\0"), type=Stop)
    except (FileNotFoundError, msgspec.DecodeError):
        return None


def _encoded(stop: Stop) -> bytes:
    """Encode the order in the bytes left of the header; the log has what is cut off."""
    text = msgspec.json.encode(stop)
    room = _STOP.stop - _STOP.start
    if len(text) > room:
        text = msgspec.json.encode(Stop(stop.by[:60], job=stop.job if len(stop.job or "") < 60 else None))
    return text[:room].ljust(room, b"\0")
