"""`logs/worker.jsonl`: what workers did and every failure, one JSON object a line, for programs that follow files.

The log of events is the truth; this is a convenience, so a line that can't be written (disk full) is dropped.
"""

import errno
import fcntl
import os
import stat
from collections.abc import Iterable
from typing import Any

from queuectl import clock
from queuectl.decisions import Report
from queuectl.errors import Unusable, shown
from queuectl.events import encode
from queuectl.home import make_folder
from queuectl.host.trust import check_folder
from queuectl.workers.turn import Turn

NAME = "worker.jsonl"

LIMIT = 8 << 20
"""Bytes after which the file is put aside as `worker.jsonl.1`, in place of the one before."""


def open_log_file(folder: str, name: str, flags: int = os.O_APPEND) -> int:
    """A file in the folder for logs, made where it is missing, open for writing, of mode 0600; returns the descriptor.

    Raises Unusable, one line, where the folder can't be made, or others could put something else in the file's place:
    a user that can write to the folder, or has put a link or a pipe there, would decide where the lines go.
    """
    path = f"{folder}/{name}"
    try:
        make_folder(folder)
        check_folder(folder, "write logs into")
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | flags, 0o600)
    except OSError as error:
        why = "is a symbolic link" if error.errno == errno.ELOOP else error.strerror
        raise Unusable(f"{shown(path)}: {why}: name another folder with --logs") from error
    found = os.fstat(fd)
    if not stat.S_ISREG(found.st_mode) or found.st_uid != os.geteuid() or found.st_nlink > 1:
        os.close(fd)
        raise Unusable(f"{shown(path)}: is not a file of our own alone: name another folder with --logs")
    os.fchmod(fd, 0o600)
    return fd


class Journal:
    """An open file that several workers append to; one that finds it full moves it aside."""

    def __init__(self, folder: str, worker: str) -> None:
        """Raises Unusable where the folder can't be made or written."""
        self._folder = folder
        self._path = f"{folder}/{NAME}"
        self._worker = worker
        self._fd = open_log_file(folder, NAME)

    def write(self, lines: Iterable[dict[str, Any]]) -> None:
        """Append one line for each, with time and worker, in one write."""
        at = clock.text(clock.now())
        data = b"".join(encode({"at": at, "worker": self._worker, **line}) + b"\n" for line in lines)
        if not data:
            return
        try:
            self._rotate(len(data))
            os.write(self._fd, data)
        except (OSError, Unusable):
            return

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)

    def _rotate(self, more: int) -> None:
        mine = os.fstat(self._fd)
        if mine.st_size + more <= LIMIT and mine.st_nlink:
            return
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # let go with the descriptor
        except BlockingIOError:
            return  # another worker is moving it aside
        try:
            current = os.lstat(self._path)
        except FileNotFoundError:
            current = None
        if current is not None and current.st_ino == mine.st_ino:
            os.replace(self._path, self._path + ".1")
        old, self._fd = self._fd, open_log_file(self._folder, NAME)
        os.close(old)


def turn_lines(reports: Iterable[Report], turn: Turn) -> list[dict[str, Any]]:
    """What became of the attempts that a turn has reported, a line each."""
    fates = dict(turn.failed)
    refused = set(turn.fenced)
    lines: list[dict[str, Any]] = []
    for report in reports:
        lease, outcome = report.lease, report.outcome
        ended = "completed" if outcome.cause is None else "failed"
        if outcome.stop is not None and lease not in fates:
            ended = "interrupted"
        event = "fenced" if lease in refused else ended
        line: dict[str, Any] = {"event": event, "job": lease.job, "attempt": lease.attempt}
        for key in ("cause", "exit_code", "signal", "error", "run_seconds"):
            if (value := getattr(outcome, key)) is not None:
                line[key] = value
        if lease in fates:
            line["then"] = fates[lease]
        lines.append(line)
    return lines
