"""Sweeping: what no job needs any more is removed from the folder of the queue on this host (R24).

Outputs of jobs that were archived or purged on another host, or by a command that was killed meanwhile; copies of
inputs (`--stdin`) that nothing in the queue names; old reports of recoveries. A copy is kept for a day after it was
last asked for, since it is made before the job that reads it.
"""

import os
import stat
from collections.abc import Collection
from contextlib import suppress
from itertools import islice

import msgspec

from projections.replay import Progress
from queuectl import clock, inputs
from queuectl.audit.retention_rules import DAY
from queuectl.errors import Unusable, shown
from queuectl.home import job_of
from queuectl.host.atomic_file import write_file
from queuectl.queue import Queue

PAGE = 500
"""Files that are looked at together."""
REPORTS = 1000
"""Reports of recoveries that are kept."""
LOG_LIMIT = 8 << 20
"""Bytes of `worker.log` above which it begins anew; as much of its end is kept beside it."""

REPORT = "recovered_jobs_"


class Swept(msgspec.Struct):
    """How many files were removed."""

    outputs: int = 0
    inputs: int = 0
    reports: int = 0


class Sweep:
    """Removes them, once."""

    def __init__(self, queue: Queue, unused: dict[str, str], progress: Progress) -> None:
        """`unused` is what `inputs_unused` was after the sweep before, at least a day ago. `progress` is called between
        portions of work, and may sleep."""
        self._queue = queue
        self._unused = unused
        self._progress = progress
        self.unused: dict[str, str] = {}
        """The inputs in the database that nothing names, each with what tells whether it was asked for since."""

    def run(self) -> Swept:
        """Remove what is not needed. Raises Unusable."""
        try:
            self._shorten_log()
            return Swept(self._outputs(), self._inputs(), self._reports())
        except OSError as error:
            raise Unusable(f"{shown(str(error.filename))}: {error.strerror}") from error

    def _outputs(self) -> int:
        removed = 0
        with os.scandir(self._queue.home.output) as entries:
            while page := list(islice(entries, PAGE)):
                with self._queue.engine.snapshot() as view:
                    gone = view.gone_jobs({job_of(entry.name) for entry in page})
                for entry in page:
                    if job_of(entry.name) in gone:
                        remove(entry.path)
                        removed += 1
                self._progress(removed, 0)
        return removed

    def _inputs(self) -> int:
        engine, folder = self._queue.engine, self._queue.home.stdin
        kept = dict(engine.shared_files.input_versions()) if engine.shared_files is not None else dict[str, str]()
        before = clock.now() / clock.SECOND - DAY
        old = [name for name in os.listdir(folder) if name[0] != "." and _changed(f"{folder}/{name}") < before]
        if not kept and not old:
            return 0
        named = self._named()
        self._progress(0, 0)
        removed = sum(inputs.remove(name, engine.home, before) for name in old if name not in named)
        self.unused = {name: version for name, version in kept.items() if name not in named}
        if engine.shared_files is not None:
            still = {name: version for name, version in self.unused.items() if self._unused.get(name) == version}
            engine.shared_files.forget_inputs(still)
            removed += len(still)
        return removed

    def _named(self) -> Collection[str]:
        """The inputs that jobs and schedules name."""
        with self._queue.engine.snapshot() as view:
            scheduled = {schedule.job.stdin for schedule in view.schedules()}
            return {*view.inputs_of_jobs(), *filter(None, scheduled)}

    def _reports(self) -> int:
        """Remove all reports but the latest."""
        logs = self._queue.logs
        reports = sorted(name for name in os.listdir(logs) if name.startswith(REPORT))[:-REPORTS]
        for name in reports:
            os.unlink(f"{logs}/{name}")
        return len(reports)

    def _shorten_log(self) -> None:
        """Begin the file anew to which a supervisor in the background writes its messages: it has it open, and
        appends."""
        path = f"{self._queue.logs}/worker.log"
        try:
            fd = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        except FileNotFoundError:
            return
        with open(fd, "r+b") as file:
            found = os.fstat(fd)
            if found.st_size > LOG_LIMIT and stat.S_ISREG(found.st_mode) and found.st_uid == os.geteuid():
                file.seek(-LOG_LIMIT, os.SEEK_END)
                write_file(path + ".1", file.read(), replace=True)
                file.truncate(0)


def remove(path: str) -> None:
    """Remove a file of an attempt, or the folder that recovery made in its place; what is not ours stays."""
    with suppress(FileNotFoundError, IsADirectoryError):
        os.unlink(path)
        return
    with suppress(OSError):
        os.rmdir(path)


def _changed(path: str) -> float:
    """When a file was changed last, in seconds since 1970; now, where it is gone."""
    try:
        return os.stat(path).st_mtime
    except FileNotFoundError:
        return clock.now() / clock.SECOND
