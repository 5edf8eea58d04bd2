"""Attempts: one row for each, with its worker, times, outcome and what it used."""

from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec

from projections.jobs import ENDED
from projections.store import Questions, Store, marks
from projections.table import Table
from queuectl.clock import micros
from queuectl.events import Claimed, Execution, Recorded

if TYPE_CHECKING:
    from projections import Change


class Attempt(msgspec.Struct, frozen=True, gc=False):
    """One claim of one job by one worker. Moments are microseconds UTC, durations seconds, sizes bytes."""

    seq: int
    """Seq of its `claimed` event."""
    job: str
    number: int
    """Counted over the job's whole life. A claim that was given back has the same number as the attempt after it."""
    worker: str
    lease: int
    """Version of its `claimed` event; with the job it identifies the attempt."""
    claimed_at: int
    outcome: str | None = None
    """completed, failed, cancelled, released or interrupted; None while it is held."""
    started_at: int | None = None
    ended_at: int | None = None
    cause: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    run_seconds: float | None = None
    cpu_seconds: float | None = None
    max_rss: int | None = None
    output_bytes: int | None = None
    output_cut: int | None = None
    limited_by: str | None = None
    progress: float | None = None
    progress_text: str | None = None
    error: str | None = None


name = "attempts"
version = 4
tables = ("attempts",)
TABLE = Table("attempts", Attempt, ("seq",))
schema = f"{TABLE.schema} create unique index attempts_of_job on attempts (job, lease);"

OUTCOMES = frozenset({"completed", "failed", "cancelled", "released", "interrupted"})
reads = frozenset({"claimed", "purged", "archived"}) | OUTCOMES

_COLUMNS = TABLE.columns
_END = _COLUMNS[_COLUMNS.index("outcome") :]
"""The columns that are filled when it ends."""
_HELD = (None,) * len(_END)
"""Their values while it is held."""
_ROWS = TABLE.part(_COLUMNS, ())
_ENDS = TABLE.part(_END, ("job", "lease"))


def fold(changes: Sequence["Change"], store: Store) -> None:
    """Insert a row for each claim, fill it at the outcome, and delete it when its job is purged or archived."""
    held: dict[tuple[str, int], tuple[Any, ...]] = {}
    rows: list[tuple[Any, ...]] = []
    ends: list[tuple[Any, ...]] = []
    gone: set[str] = set()
    for change in changes:
        record, event = change.record, change.event
        kind = record.type
        if kind == "claimed":
            job = change.after.id
            held[job, record.version] = _claimed(job, record, event)
        elif kind in OUTCOMES:
            if event.attempt is not None:  # a waiting job is cancelled without an attempt
                before = change.before
                key = (before.id, before.lease)
                claim = held.pop(key, None)
                end = _ended(record, event)
                if claim is not None:
                    rows.append(claim + end)
                else:
                    ends.append(end + key)
        elif kind == "purged" or (kind == "archived" and record.stream.startswith("job:")):
            gone.add(record.subject)
    rows += [claim + _HELD for claim in held.values()]
    if gone:
        rows = [row for row in rows if row[1] not in gone]
    store.insert(_ROWS, rows)
    store.update(_ENDS, ends)
    store.delete(TABLE, "job", sorted(gone))


_execution = attrgetter(*(column for column in _COLUMNS if column in Execution.__struct_fields__))


def _claimed(job: str, record: Recorded, event: Claimed) -> tuple[Any, ...]:
    """The values of the other columns."""
    return (record.seq, job, event.attempt, event.worker, record.version, record.at)


def _ended(record: Recorded, event: Any) -> tuple[Any, ...]:
    """The values of `_END` after an event that ends an attempt."""
    kind = record.type
    if kind == "released":
        return (kind, None, record.at, *_HELD[3:])
    started_at = micros(event.started_at) if event.started_at is not None else None
    cause, error = (event.cause, event.error) if kind == "failed" else (None, None)
    return (kind, started_at, record.at, cause, *_execution(event), error)


def of(records: Iterable[Recorded]) -> list[Attempt]:
    """The attempts of a job after these events, first to last. The table has none of one that was purged."""
    rows: list[tuple[Any, ...]] = []
    for record in records:
        event: Any = record.event
        if record.type == "claimed":
            rows.append(_claimed(record.subject, record, event))
        elif record.type in OUTCOMES and event.attempt is not None:
            rows[-1] += _ended(record, event)
    return [Attempt(*row) for row in rows]


_SELECT = f"select {', '.join(_COLUMNS)} from attempts"


class AttemptQuestions(Questions):
    """What is asked of the attempts."""

    def attempts(self, job: str) -> list[Attempt]:
        """The attempts of a job, first to last."""
        return self._read("job = ? order by lease", (job,))

    def page_of_attempts(self, *, after: int = 0, queue: str | None = None, limit: int = 1000) -> list[Attempt]:
        """A page of the attempts of all queues or of one, in the order of their claims: those with a seq above."""
        if queue is None:
            return self._read("seq > ? order by seq limit ?", (after, limit))
        of_queue = "job in (select id from jobs where queue = ?)"
        return self._read(f"seq > ? and {of_queue} order by seq limit ?", (after, queue, limit))

    def latest_completed(self, limit: int) -> list[tuple[str, str, str]]:
        """Queue, command and id of the jobs that completed last, the latest first."""
        sql = f"""
            select queue, command, id from jobs where {ENDED} and state = 'completed'
            order by finished_at desc, queue desc, seq desc limit ?
        """
        return [*self._store.rows(sql, (limit,))]  # pyright: ignore[reportReturnType]

    def run_seconds(self, jobs: Sequence[str]) -> list[float]:
        """How long the attempts by which these jobs completed ran, in no order."""
        sql = f"select run_seconds from attempts where job in ({marks(jobs)}) and outcome = 'completed'"
        return [seconds for (seconds,) in self._store.rows(sql, jobs) if seconds is not None] if jobs else []

    def _read(self, where: str, values: Sequence[Any]) -> list[Attempt]:
        rows = self._store.rows(f"{_SELECT} where {where}", values)
        return [Attempt(*row) for row in rows]
