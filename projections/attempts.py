"""Attempts: one row for each, with its worker, times, outcome and what it used."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from queuectl.clock import micros
from queuectl.events import Failed, Released

if TYPE_CHECKING:
    from projections import Change, Store


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
    error: str | None = None


name = "attempts"
version = 2
tables = ("attempts",)
schema = """
create table attempts (
    seq integer primary key,
    job text not null,
    number integer not null,
    worker text not null,
    lease integer not null,
    claimed_at integer not null,
    outcome text,
    started_at integer,
    ended_at integer,
    cause text,
    exit_code integer,
    signal integer,
    run_seconds real,
    cpu_seconds real,
    max_rss integer,
    output_bytes integer,
    output_cut integer,
    error text
);
create unique index attempts_of_job on attempts (job, lease);
"""

_INSERT = """
insert into attempts (
    job, lease, seq, number, worker, claimed_at, outcome, started_at, ended_at, cause, exit_code, signal,
    run_seconds, cpu_seconds, max_rss, output_bytes, output_cut, error
) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""

_UPDATE = """
update attempts set
    outcome = ?, started_at = ?, ended_at = ?, cause = ?, exit_code = ?, signal = ?,
    run_seconds = ?, cpu_seconds = ?, max_rss = ?, output_bytes = ?, output_cut = ?, error = ?
where job = ? and lease = ?
"""

_HELD = (None,) * 12

OUTCOMES = frozenset({"completed", "failed", "cancelled", "released", "interrupted"})


def fold(changes: Sequence["Change"], store: "Store") -> None:
    """Insert a row for each claim, fill it at the outcome, and delete it when its job is purged or archived."""
    claims: dict[tuple[str, int], tuple[Any, ...]] = {}
    outcomes: dict[tuple[str, int], tuple[Any, ...]] = {}
    purged: set[str] = set()
    for change in changes:
        record, event = change.record, change.event
        kind = record.type
        if kind == "claimed":
            claims[change.after.id, record.version] = (record.seq, event.attempt, event.worker, record.at)
        elif kind in OUTCOMES and event.attempt is not None:  # a waiting job is cancelled without an attempt
            outcomes[change.after.id, change.before.lease] = _outcome(kind, record.at, event)
        elif kind == "purged" or (kind == "archived" and record.stream.startswith("job:")):
            purged.add(record.subject)
    if claims:
        new = ((*key, *claim, *outcomes.pop(key, _HELD)) for key, claim in claims.items() if key[0] not in purged)
        store.executemany(_INSERT, new)
    if outcomes:
        store.executemany(_UPDATE, ((*outcome, *key) for key, outcome in outcomes.items()))
    if purged:
        store.executemany("delete from attempts where job = ?", [(job,) for job in sorted(purged)])


def _outcome(kind: str, at: int, event: Any) -> tuple[Any, ...]:
    if isinstance(event, Released):
        return (kind, None, at, *_HELD[3:])
    failed = isinstance(event, Failed)
    return (
        kind,
        micros(event.started_at) if event.started_at is not None else None,
        at,
        event.cause if failed else None,
        event.exit_code,
        event.signal,
        event.run_seconds,
        event.cpu_seconds,
        event.max_rss,
        event.output_bytes,
        event.output_cut,
        event.error if failed else None,
    )
