"""The WAL index (`-shm`) on a file system whose blocks are smaller than a page of memory.

SQLite maps it into memory, after it has written one byte of each page. Where a page takes several blocks, the others
get theirs when they are first written to; on a full disk the kernel then ends the process (SIGBUS). So they are given
theirs before, through the descriptor that SQLite has: no other one may be opened (R6).
"""

import errno
import os

from queuectl.engines.sqlite.location import Location
from queuectl.errors import Unusable, shown

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
        if self._fd >= 0 and _allocate(self._fd, wanted) == errno.ENOSPC:
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
    try:
        names = os.listdir("/proc/self/fd")
    except OSError:
        return -1
    for name in names:
        try:
            if os.path.samestat(os.fstat(int(name)), file):
                return int(name)
        except OSError:  # the one by which they were listed
            continue
    return -1


def _allocate(fd: int, size: int) -> int:
    """Let the kernel do it; the errno, 0 where it is done. (C's `posix_fallocate` writes itself where the kernel can't,
    beside others who write.)"""
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    fallocate = getattr(libc, "fallocate64", None) or libc.fallocate
    return 0 if fallocate(fd, 0, ctypes.c_int64(0), ctypes.c_int64(size)) == 0 else ctypes.get_errno()
