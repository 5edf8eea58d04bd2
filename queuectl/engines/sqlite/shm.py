"""The WAL index (`-shm`) on a file system whose blocks are smaller than a page of memory.

SQLite maps it into memory, after it has written one byte of each page. Where a page takes several blocks, the others
get theirs when they are first written to; on a full disk the kernel then ends the process (SIGBUS). So they are given
theirs before, through the descriptor that SQLite has: no other one may be opened (R6).
"""

import errno
import os
from contextlib import suppress

from queuectl.engines.sqlite.location import Location
from queuectl.errors import Unusable, shown
from queuectl.host import procfs

PAGE = os.sysconf("SC_PAGE_SIZE")

REGION = 32768
"""Bytes by which SQLite lets the index grow."""

FRAMES = 4096
"""Pages of the WAL for which a region has room; the first one has less, by its head."""

HEAD = 34

FRAME = 4096 + 24
"""Bytes of a page in the WAL."""


class WalIndex:
    """The index of one connection. On other file systems nothing is done here."""

    def __init__(self, location: Location) -> None:
        _, self._wal, self._path = location.files
        self._folder = os.path.dirname(self._path)
        self._name = shown(location.database)
        self._small = os.statvfs(self._folder).f_frsize < PAGE
        self._fd = -1

    def check_room(self) -> None:
        """Raise Unusable where there is no room for it. Before SQLite opens it; then `allocate`."""
        if not self._small:
            return
        disk, found = os.statvfs(self._folder), _found(self._path)
        if self._wanted() - (found.st_blocks * 512 if found else 0) > disk.f_bavail * disk.f_frsize:
            raise self._full()

    def allocate(self, ahead: int) -> None:
        """Give it all blocks, and those of so many regions more. Raises Unusable where the disk is full."""
        if not self._small:
            return
        wanted, found = self._wanted() + ahead * REGION, os.stat(self._path)
        if found.st_size >= wanted and found.st_blocks * 512 >= wanted:
            return
        if self._fd < 0:
            self._fd = _descriptor(found)
        if self._fd >= 0 and _lacks_room(self._fd, wanted):
            raise self._full()

    def _wanted(self) -> int:
        found = _found(self._wal)
        return REGION * (1 + ((found.st_size if found else 0) // FRAME + HEAD) // FRAMES)

    def _full(self) -> Unusable:
        return Unusable(f"{self._name}: the disk is full: nothing was written; make room and try again")


def _found(path: str) -> os.stat_result | None:
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def _descriptor(file: os.stat_result) -> int:
    """The descriptor by which this process has the file open; -1 where it can't be told."""
    for fd in procfs.open_descriptors():
        with suppress(OSError):  # the one by which they were listed
            if os.path.samestat(os.fstat(fd), file):
                return fd
    return -1


def _lacks_room(fd: int, size: int) -> bool:
    from queuectl.host.fallocate import allocate  # ctypes is needed on few file systems

    try:
        allocate(fd, size)
    except OSError as error:
        return error.errno == errno.ENOSPC
    return False
