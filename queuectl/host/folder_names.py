"""The names in a folder that is looked at often: it is listed anew only when it has changed."""

import os
from collections.abc import Sequence

from queuectl import clock

FINE = 100_000_000
COARSE = 3_000_000_000
"""Nanoseconds after which two changes of a folder bear two times, where it keeps parts of a second; where it doesn't
(some file systems keep every other second)."""


class FolderNames:
    """The names in one folder. What has changed before a `read` begins is seen by it.

    Adding, removing or renaming a file sets the folder's time of change to the kernel's clock, which stands still
    between two ticks: of two changes within a tick the second leaves no trace. So a list is kept only where the clock
    had gone on from the time of change before the folder was listed: any change that the list lacks sets a later time.
    """

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._names: Sequence[str] = ()
        self._listed = (0, 0)  # the folder, and its time of change, for which the names hold

    def read(self) -> Sequence[str]:
        """The names in the folder. Raises OSError where it can't be read."""
        found = os.stat(self._folder)
        changed = found.st_ctime_ns  # unlike st_mtime, no program can set it
        if (found.st_ino, changed) != self._listed:
            age = clock.file_time() - changed
            self._listed = (0, 0)
            self._names = os.listdir(self._folder)
            if age > (FINE if changed % 1_000_000_000 else COARSE):
                self._listed = (found.st_ino, changed)
        return self._names
