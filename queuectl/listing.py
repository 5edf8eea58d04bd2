"""Lists of jobs: which are shown, in which order, and how many are left out."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import islice

import msgspec

from projections.job_list import JobFilter
from projections.jobs import FINAL, STATES, Job
from queuectl.engines.view import View
from queuectl.filters import Condition, NotesOf

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

    def __init__(self, wanted: Condition, limit: int | None, brief: bool) -> None:
        self.waiting_more: int | None = 0
        self.ended_more: int | None = 0
        """How many a brief list has left out, None for some that were not counted; known once the list was read."""
        self.now = 0
        """The moment (µs UTC) of which it tells; known once the first job was asked for."""
        self.rows: Iterator[Job] = iter(())
        self._where, self._is_meant, self._limit, self._brief = wanted.listed, wanted.rest, limit, brief

    def __next__(self) -> Job:
        return next(self.rows)

    def read(self, snapshot: Callable[[], AbstractContextManager[View]], now: int) -> Iterator[Job]:
        """The jobs, a page in each view that `snapshot` gives."""
        self.now = now
        if self._is_meant is not None:
            yield from self._examined(snapshot, self._is_meant)
            return
        with snapshot() as view:
            seqs = self._select(view)
        yield from _pages(snapshot, seqs)

    def _examined(self, snapshot: "_Snapshot", is_meant: "_Meant") -> Iterator[Job]:
        """The jobs where each has to be looked at: no more pages are read than it takes to find them."""
        parts = self._parts() if self._brief else (self._where,)
        with snapshot() as view:
            seqs = [view.job_seqs(part, self.now) for part in parts]
        found = [_pages(snapshot, each, is_meant) for each in seqs]
        if not self._brief:
            yield from islice(found[0], self._limit)
            return
        waiting, ended = found
        yield from islice(waiting, MOST_WAITING)
        self.waiting_more = 0 if next(waiting, None) is None else None
        yield from islice(ended, MOST_ENDED)
        self.ended_more = 0 if next(ended, None) is None else None

    def _select(self, view: View) -> Sequence[int]:
        if not self._brief:
            return view.job_seqs(self._where, self.now, self._limit)
        live, over = self._parts()
        first, self.waiting_more = self._first(view, live, MOST_WAITING)
        last, self.ended_more = self._first(view, over, MOST_ENDED)
        return [*first, *last]

    def _parts(self) -> tuple[JobFilter, JobFilter]:
        """The jobs that have not ended, and those that have."""
        states = self._where.states if self._where.states is not None else STATES
        over = tuple(state for state in states if state in FINAL)
        live = tuple(state for state in states if state not in FINAL)
        return msgspec.structs.replace(self._where, states=live), msgspec.structs.replace(self._where, states=over)

    def _first(self, view: View, where: JobFilter, most: int) -> tuple[Sequence[int], int]:
        """At most so many of these, and how many more there are."""
        seqs = view.job_seqs(where, self.now, most)
        return seqs, view.count_jobs(where) - len(seqs) if len(seqs) == most else 0


_Snapshot = Callable[[], AbstractContextManager[View]]


_Meant = Callable[[Job, NotesOf], bool]


def _pages(snapshot: _Snapshot, seqs: Sequence[int], is_meant: _Meant | None = None) -> Iterator[Job]:
    for start in range(0, len(seqs), PAGE):
        with snapshot() as view:
            page = view.jobs(seqs[start : start + PAGE])
            if is_meant is not None:
                page = [job for job in page if is_meant(job, view.note_texts)]
        yield from page
