"""Lists of jobs: which are shown, in which order, and how many are left out."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

import msgspec

from projections.job_list import JobFilter
from projections.jobs import FINAL, STATES, Job
from queuectl.engines.view import View

PAGE = 1000
"""Rows read at a time: nothing is kept open between two pages (R8)."""
MOST_WAITING = 1000
MOST_ENDED = 20
"""How many jobs a brief list has of those that have not ended, and of those that have."""


class Listing(Iterator[Job]):
    """Jobs to be iterated over once: what is processing, what waits in the order in which it will run, what has ended.

    Which they are is settled when the first is asked for. So each comes once, whatever happens to it meanwhile, as it
    is when its page is read; those that are gone by then are left out.
    """

    def __init__(self, where: JobFilter, limit: int | None, brief: bool) -> None:
        self.waiting_more = self.ended_more = 0
        """How many a brief list has left out; known once the first job was asked for."""
        self.now = 0
        """The moment (µs UTC) of which it tells; known then, too."""
        self.rows: Iterator[Job] = iter(())
        self._where, self._limit, self._brief = where, limit, brief

    def __next__(self) -> Job:
        return next(self.rows)

    def read(self, snapshot: Callable[[], AbstractContextManager[View]], now: int) -> Iterator[Job]:
        """The jobs, a page in each view that `snapshot` gives."""
        self.now = now
        with snapshot() as view:
            seqs = self._select(view)
        for start in range(0, len(seqs), PAGE):
            with snapshot() as view:
                page = view.jobs(seqs[start : start + PAGE])
            yield from page

    def _select(self, view: View) -> Sequence[int]:
        if not self._brief:
            return view.job_seqs(self._where, self.now, self._limit)
        states = self._where.states if self._where.states is not None else STATES
        live, self.waiting_more = self._first(view, [state for state in states if state not in FINAL], MOST_WAITING)
        over, self.ended_more = self._first(view, [state for state in states if state in FINAL], MOST_ENDED)
        return [*live, *over]

    def _first(self, view: View, states: Sequence[str], most: int) -> tuple[Sequence[int], int]:
        """At most so many of these states, and how many more there are."""
        if not states:
            return (), 0
        where = msgspec.structs.replace(self._where, states=tuple(states))
        seqs = view.job_seqs(where, self.now, most)
        return seqs, view.count_jobs(where) - len(seqs) if len(seqs) == most else 0
