"""Whether a folder has changed since it was looked at: one `stat` instead of one for each file, or a listing."""

import os

from queuectl import clock

FINE = 100_000_000
COARSE = 3_000_000_000
"""Nanoseconds after which two changes of a folder bear two times, where it keeps parts of a second; where it doesn't
(some file systems keep every other second)."""


class FolderWatch:
    """One folder: `if watch.changed():` look at what is in it, and where all was well, `watch.looked()`.

    Adding, removing or renaming a file sets the folder's time of change to the kernel's clock, which stands still
    between two ticks: of two changes within a tick the second leaves no trace. So a time is kept only where the clock
    had gone on from it before the look: whatever the look could miss sets a later time.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._seen = self._found = (0, 0, 0)  # device, inode and time of change: at the last look, and now

    def changed(self) -> bool:
        """Whether anything may have been added, removed or renamed since the last look; now is the time for one.

        What changes before the call begins is told by it. Raises OSError where there is no such folder.
        """
        found = os.stat(self._folder)
        seen = found.st_dev, found.st_ino, found.st_ctime_ns  # unlike st_mtime, no program can set it
        if seen == self._seen:
            return False
        age = clock.file_time() - found.st_ctime_ns
        self._found = seen if age > (FINE if found.st_ctime_ns % 1_000_000_000 else COARSE) else (0, 0, 0)
        return True

    def looked(self) -> None:
        """What `changed` told of was looked at, to the end: it is no change any more."""
        self._seen = self._found
