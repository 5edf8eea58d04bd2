"""Blocks of a file: allocated, or given back in the middle of it (fallocate(2))."""

import ctypes
import os

_KEEP_SIZE, _PUNCH_HOLE = 1, 2


def allocate(fd: int, size: int) -> None:
    """Give the file all blocks of its first `size` bytes. Raises OSError.

    The kernel does it. C's `posix_fallocate` writes by itself where the kernel can't, beside other writers.
    """
    _fallocate(fd, 0, 0, size)


def punch_hole(fd: int, offset: int, length: int) -> None:
    """Free the blocks of a part of the file, whose size stays. Raises OSError where the file system can't."""
    _fallocate(fd, _KEEP_SIZE | _PUNCH_HOLE, offset, length)


def _fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    fallocate = getattr(libc, "fallocate64", None) or libc.fallocate
    if fallocate(fd, ctypes.c_int(mode), ctypes.c_int64(offset), ctypes.c_int64(length)) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
