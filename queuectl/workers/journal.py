"""`logs/worker.jsonl`: what workers did and every failure, one JSON object a line, for those who watch files.

The log of events is the truth; this is a convenience, so a line that can't be written (disk full) is dropped.
"""

import fcntl
import os
from collections.abc import Iterable
from typing import Any

from queuectl import clock, paths
from queuectl.errors import Unusable
from queuectl.events import encode
from queuectl.workers.ledger import Report, Turn

LIMIT = 8 << 20
"""Bytes after which the file is put aside as `worker.jsonl.1`, in place of the one before."""


class Journal:
    """An open file that several workers append to; whoever finds it full puts it aside."""

    def __init__(self, folder: str, worker: str) -> None:
        """Raises Unusable where the folder can't be made or written."""
        self._path = f"{folder}/worker.jsonl"
        self._worker = worker
        try:
            os.makedirs(folder, mode=0o700, exist_ok=True)
            self._fd = self._open()
        except OSError as error:
            raise Unusable(f"{paths.shown(self._path)}: {error.strerror}: name another folder with --logs") from error

    def write(self, lines: Iterable[dict[str, Any]]) -> None:
        """Append one line for each, with time and worker, in one write."""
        at = clock.text(clock.now())
        data = b"".join(encode({"at": at, "worker": self._worker, **line}) + b"\n" for line in lines)
        if not data:
            return
        try:
            self._turn_over(len(data))
            os.write(self._fd, data)
        except OSError:
            return

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._fd)

    def _open(self) -> int:
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.fchmod(fd, 0o600)
        return fd

    def _turn_over(self, more: int) -> None:
        mine = os.fstat(self._fd)
        if mine.st_size + more <= LIMIT and mine.st_nlink:
            return
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # let go with the descriptor
        except BlockingIOError:
            return  # somebody else is putting it aside
        try:
            current = os.stat(self._path)
        except FileNotFoundError:
            current = None
        if current is not None and current.st_ino == mine.st_ino:
            os.replace(self._path, self._path + ".1")
        old, self._fd = self._fd, self._open()
        os.close(old)


def turn_lines(reports: Iterable[Report], turn: Turn) -> list[dict[str, Any]]:
    """What became of the attempts that a turn has reported, a line each."""
    fates = dict(turn.failed)
    refused = set(turn.fenced)
    lines: list[dict[str, Any]] = []
    for report in reports:
        lease, outcome = report.lease, report.outcome
        event = "fenced" if lease in refused else "completed" if outcome.cause is None else "failed"
        line: dict[str, Any] = {"event": event, "job": lease.job, "attempt": lease.attempt}
        for key in ("cause", "exit_code", "signal", "error", "run_seconds"):
            if (value := getattr(outcome, key)) is not None:
                line[key] = value
        if lease in fates:
            line["then"] = fates[lease]
        lines.append(line)
    return lines
