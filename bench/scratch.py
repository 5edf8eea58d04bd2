"""Fresh directories for runs, all removed at the very end.

Not one is removed earlier: ext4 creates files 30 times slower for half a minute after thousands were deleted nearby.
"""

import os
import shutil
import statistics
import tempfile
from typing import Self

from queuectl import clock


class Scratch:
    """A temporary folder of folders. A context manager: leaving it removes everything."""

    def __init__(self, parent: str | None = None) -> None:
        self.root = tempfile.mkdtemp(prefix="queuectl-bench-", dir=parent)
        self._made = 0

    def fresh(self) -> str:
        """A new empty folder."""
        self._made += 1
        folder = os.path.join(self.root, str(self._made))
        os.mkdir(folder, 0o700)
        return folder

    def database(self) -> str:
        """The path of a database that is not there yet, in a folder of its own."""
        return os.path.join(self.fresh(), "q.db")

    def copy(self, database: str) -> str:
        """The path of a copy of a database (and of what belongs to it) that nobody has open; it is on the disk."""
        folder = shutil.copytree(os.path.dirname(database), self.fresh(), dirs_exist_ok=True)
        os.sync()  # or the first commit that is measured would pay for it
        return os.path.join(folder, os.path.basename(database))

    def creation(self, files: int = 500) -> float:
        """Microseconds that making one file takes here just now, at the median."""
        folder = self.fresh()
        took: list[float] = []
        for number in range(files):
            began = clock.monotonic()
            os.close(os.open(os.path.join(folder, str(number)), os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
            took.append(clock.monotonic() - began)
        return statistics.median(took) * 1e6

    def sync(self, times: int = 50) -> float:
        """Milliseconds that it takes here just now until one written page is on the disk, at the median."""
        took: list[float] = []
        with open(os.path.join(self.fresh(), "page"), "wb", buffering=0) as file:
            for _ in range(times):
                began = clock.monotonic()
                file.write(bytes(4096))
                os.fdatasync(file.fileno())
                took.append(clock.monotonic() - began)
        return statistics.median(took) * 1e3

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        shutil.rmtree(self.root)
