"""Which process runs which attempt: kept in the worker's lock file, for its parent to read when the worker has died.

The parent adopts what a dead worker ran and reaps it, but a process that has ended tells no more than its pid. With the
roster its exit status becomes the attempt's outcome, where otherwise the attempt would be lost and run again (R18).
Written through shared memory, which costs no system call and outlives the process.
"""

import mmap
import os
import struct

import msgspec

_ENTRY = struct.Struct("<qqqq")


class Entry(msgspec.Struct, frozen=True):
    """An attempt that was running: its main process, the job (by the seq of its `enqueued`), and the lease."""

    pid: int
    job: int
    lease: int
    started_at: int
    """Microseconds UTC."""


class Roster:
    """One worker's: an entry for each slot."""

    def __init__(self, path: str, slots: int) -> None:
        """`path` is the worker's lock file. On a full disk nobody will read the roster, and the worker works on."""
        size = slots * _ENTRY.size
        fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            os.posix_fallocate(fd, 0, size)  # a hole could not be filled later: to write there would kill us
            self._map = mmap.mmap(fd, size)
        except OSError:
            self._map = mmap.mmap(-1, size)
        finally:
            os.close(fd)
        self._free = list(range(0, size, _ENTRY.size))

    def enter(self, pid: int, job: int, lease: int, started_at: int) -> int:
        """Note what runs; returns the place, for `leave`."""
        place = self._free.pop()
        _ENTRY.pack_into(self._map, place, pid, job, lease, started_at)
        return place

    def leave(self, place: int) -> None:
        """It has ended, and the worker knows how."""
        _ENTRY.pack_into(self._map, place, 0, 0, 0, 0)
        self._free.append(place)


def read(path: str) -> list[Entry]:
    """What a worker was running, by its lock file; nothing where there is none."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        return []
    whole = len(data) // _ENTRY.size * _ENTRY.size
    return [Entry(*entry) for entry in _ENTRY.iter_unpack(data[:whole]) if entry[0]]
