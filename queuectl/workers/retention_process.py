"""The process in which a worker has retention done: long work, of which the worker's loop must feel nothing.

It rests three times as long as it works, and ends with the worker: what it has begun is finished by the next.
"""

import ctypes
import signal
import time
from typing import Any, NoReturn

import msgspec

from queuectl.audit import retention
from queuectl.audit.archive import ArchiveResult
from queuectl.audit.retention_rules import LOCK, read_state
from queuectl.audit.sweep import Swept
from queuectl.clock import monotonic
from queuectl.errors import QueueError
from queuectl.queue import Queue
from queuectl.workers.journal import Journal
from queuectl.workers.start_options import RetentionOptions
from queuectl.workers.stderr import say

SHARE = 3.0
"""Seconds of rest for each second of work."""
LONGEST_REST = 1.0
"""Seconds: work that had to wait for others is no reason to wait as long again."""

PR_SET_PDEATHSIG = 1


def retain(options: RetentionOptions) -> int:
    """Archive what is to be archived by now, unless another process is at it; returns the exit code."""
    signal.signal(signal.SIGTERM, _leave)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    try:
        with Queue(options.url, create=False, actor=f"worker:{options.worker}", logs=options.logs) as queue:
            if (lock := queue.engine.alone(LOCK)) is None:
                return 0
            try:
                _retain(queue, options.worker)
            finally:
                lock.close()
    except QueueError as error:
        say(f"worker {options.worker}: can't archive: {error}")
        return error.exit_code
    return 0


def _retain(queue: Queue, worker: str) -> None:
    journal = Journal(queue.logs, worker)
    last = read_state(queue.home).error
    try:
        for done in retention.retain(queue, lambda what: Pace()):
            journal.write([_line(done)])
    except QueueError as error:
        journal.write([{"event": "error", "error": f"can't archive: {error}"}])
        if str(error) != last:  # each is told once
            raise
    finally:
        journal.close()


def _line(done: ArchiveResult | Swept) -> dict[str, Any]:
    """What the journal says of it."""
    if isinstance(done, Swept):
        return {"event": "swept", **msgspec.structs.asdict(done)}
    counts = {"jobs": done.jobs, "workers": done.workers, "events": done.events, "bytes": done.bytes}
    return {"event": "archived", "file": done.file, **counts}


class Pace:
    """Rests between two portions of work."""

    def __init__(self) -> None:
        self._since = monotonic()

    def __call__(self, done: int, total: int) -> None:
        """Rest for what has been done since the last portion."""
        time.sleep(min(SHARE * (monotonic() - self._since), LONGEST_REST))
        self._since = monotonic()


def _leave(number: int, frame: object) -> NoReturn:
    """End in order: what is being written is removed, and what is being changed is not changed."""
    raise SystemExit(0)
