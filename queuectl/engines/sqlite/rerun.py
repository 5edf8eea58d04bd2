"""The log folded again from a moment on, transaction by transaction, into tables of its own."""

from collections.abc import Iterator, Sequence

import apsw

from projections import Builtin, Change
from projections.replay import Progress, Subjects
from queuectl.engines.sqlite.past import any_archived
from queuectl.engines.sqlite.store import SqliteStore
from queuectl.engines.sqlite.view import SqliteView
from queuectl.engines.view import Rerun, View
from queuectl.errors import QueueError

PAGE = 1000
"""Events that are read, and folded, at a time."""


class SqliteRerun(Rerun):
    """See `Rerun`. Beside the scratch tables the live log is read for what jobs were enqueued with."""

    def __init__(
        self,
        scratch: apsw.Connection,
        folding: Sequence[Builtin],
        live: SqliteView,
        path: str | None,
        span: tuple[int, int],
        progress: Progress | None,
    ) -> None:
        """`live`: a view of the database at `path`; `span`: the event that the scratch tables are at, and the last."""
        self._folding, self._live, self._span, self._progress = folding, live, span, progress
        self._store = SqliteStore(scratch)
        self._taken: list[Change] = []
        self._end = live.head()[0]
        self._view = SqliteView(scratch)
        for setting in ("journal_mode = off", "synchronous = off"):
            scratch.execute(f"pragma {setting}").fetchall()
        if path is not None:
            scratch.execute("attach ? as live", (path,))

    def __iter__(self) -> Iterator[Sequence[Change]]:
        begin, upto = self._span
        after = begin
        subjects = Subjects(self._live.history)
        whole: list[Change] = []
        while after < upto and (page := self._live.events(after=after, upto=upto, limit=PAGE)):
            for change in subjects.changes(page):
                if whole and change.record.at != whole[0].record.at:
                    yield whole
                    whole = []
                whole.append(change)
            after = page[-1].seq
            if self._progress is not None:
                self._progress(after - begin, upto - begin)
        if whole:
            yield whole
        if any_archived(self._live, self._end):
            raise QueueError("events were archived while the log was read: ask again")

    def take(self, changes: Sequence[Change]) -> None:
        self._taken += changes
        if len(self._taken) >= PAGE:
            self._fold()

    @property
    def view(self) -> View:
        self._fold()
        return self._view

    def _fold(self) -> None:
        if self._taken:
            for projection in self._folding:
                projection.fold(self._taken, self._store)
            self._taken = []
