"""The free space on a queue's disk, beside the floor below which no new job starts.

A queue that runs its disk full harms more than itself, and a command that meets a full disk fails in the middle of its
work: what has not started had better wait.
"""

import os

import msgspec

from queuectl.home import Home
from queuectl.settings import Settings
from queuectl.units import size_text


class Disk(msgspec.Struct, frozen=True):
    """Bytes: what is free for us, and what the setting `disk-floor` wants to stay so."""

    free: int
    floor: int

    @property
    def low(self) -> bool:
        """Whether no new job starts."""
        return self.free < self.floor

    def __str__(self) -> str:
        return f"{size_text(self.free)} free on the queue's disk, disk-floor is {size_text(self.floor)}"


def space(home: Home, settings: Settings) -> Disk:
    """The disk of a queue, as it is now (2 µs). Raises OSError where its folder is gone."""
    found = os.statvfs(home.folder)
    return Disk(found.f_bavail * found.f_frsize, settings.disk_floor)
