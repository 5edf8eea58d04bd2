"""Retention: jobs that ended long enough ago are archived without a command, as `keep` and `keep-dead` say (R24).

The archives are files in the folder of the queue, about one a day. Where hosts share a database, one of them makes
them: that of the worker which has been up longest. What is to be archived is read off the jobs alone, so that there is
no timetable to lose. The archive that was begun is noted, and finished first.
"""

import glob
import os
from collections.abc import Iterator
from contextlib import suppress

from projections.replay import ProgressBars
from queuectl import clock
from queuectl.audit.archive import ArchiveResult, archive
from queuectl.audit.retention_rules import (
    Begun,
    change_state,
    is_archivist,
    is_sweep_due,
    oldest_overdue,
    read_state,
    rules,
)
from queuectl.audit.sweep import Sweep, Swept
from queuectl.engines.base import Engine
from queuectl.errors import QueueError, Refused, Unusable
from queuectl.home import failed, make_folder
from queuectl.host.flock import locked
from queuectl.queue import Queue

MOST = 10_000
"""Jobs in one archive: what is kept in memory, and done again by whoever finishes it, is bounded."""


def retain(queue: Queue, bars: ProgressBars = lambda what: lambda done, total: None) -> Iterator[ArchiveResult | Swept]:
    """Archive what is overdue, and sweep the folder of the queue once a day; yields what was done.

    To be run under the lock `LOCK`. `bars` are those of `archive`: what they return is called between portions of work,
    and may sleep. Raises QueueError where something can't be done; it is noted in the folder of the queue.
    """
    error: str | None = None
    try:
        yield from Retention(queue, bars).run()
        state = read_state(queue.home)
        if is_sweep_due(state):
            sweep = Sweep(queue, state.unused, bars("Sweeping"))
            yield sweep.run()
            change_state(queue.home, swept=clock.now(), unused=sweep.unused)
    except QueueError as problem:
        error = str(problem)
        raise
    finally:
        with suppress(Unusable):  # the disk is full: that is the error then
            change_state(queue.home, at=clock.now(), error=error)


class Retention:
    """Makes the archives that are wanted, one after the other."""

    def __init__(self, queue: Queue, bars: ProgressBars = lambda what: lambda done, total: None) -> None:
        """`bars` as of `retain`."""
        self._queue = queue
        self._home = queue.home
        self._bars = bars

    def run(self) -> Iterator[ArchiveResult]:
        """Archive until nothing is overdue; yields what each archive came to. Raises QueueError."""
        if (begun := self._begun()) is not None:
            yield self._archive(begun)
        while (following := self._next()) is not None:
            yield (done := self._archive(following))
            if not done.jobs:
                return  # something has happened to all of them meanwhile

    def _begun(self) -> Begun | None:
        """The archive to be finished; None where the settings do not want that any more."""
        self._clear()
        if (begun := read_state(self._home).begun) is None:
            return None
        with self._queue.engine.snapshot() as view:
            wanted = rules(self._queue.settings(view))
        now = self._queue.engine.now()
        latest = [now - round(rule.keep * clock.SECOND) for rule in wanted if rule.states == begun.states]
        if latest and begun.before <= latest[0]:
            return begun
        change_state(self._home, begun=None)
        return None

    def _clear(self) -> None:
        """Remove what processes that were killed had not written to its end."""
        for path in glob.glob(glob.escape(self._home.archives) + "/*.part"):
            if locked(path) is False:
                with suppress(FileNotFoundError):
                    os.unlink(path)

    def _next(self) -> Begun | None:
        """The archive that is to be made next, by the settings as they are now."""
        queue = self._queue
        with queue.engine.snapshot() as view:
            now = queue.engine.now()
            wanted = rules(queue.settings(view))
            if not wanted or not is_archivist(view, self._home, self._home.identity()):
                return None
            if (rule := oldest_overdue(view, wanted, now)) is None:
                return None
            before = now - round(rule.keep * clock.SECOND)
            ends = sorted(end for state in rule.states for end in view.oldest_ends(before, state, now, MOST))
        if len(ends) >= MOST:
            before = ends[MOST - 1]
        return Begun(new_file(queue.engine, before, rule.word), before, rule.states)

    def _archive(self, begun: Begun) -> ArchiveResult:
        try:
            make_folder(self._home.archives)
        except OSError as error:
            raise failed(self._home.archives, error) from error
        change_state(self._home, begun=begun)
        try:
            done = archive(self._queue, begun.file, begun.before, begun.states, self._bars)
        except (Unusable, Refused):
            raise
        except QueueError:
            if os.path.lexists(begun.file):  # it is damaged: what is still in the log goes to another file
                change_state(self._home, begun=None)
            raise
        change_state(self._home, begun=None)
        return done


def new_file(engine: Engine, before: int, word: str) -> str:
    """The path of a new archive: the day (UTC) up to which it has what ended, and the host where it is one of many."""
    day = clock.text(before)[:10]
    host = f"-{os.uname().nodename}" if engine.many_hosts else ""
    stem = f"{engine.home.archives}/{day}{word}{host}"
    path, number = f"{stem}.ndjson.gz", 1
    while os.path.lexists(path):
        number += 1
        path = f"{stem}.{number}.ndjson.gz"
    return path
