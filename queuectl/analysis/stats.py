"""What the log says about a period in figures: throughput, waiting, run times, failures, busy hours, slow commands.

Each figure is one query of `queuectl.engines.figures`, which docs/reference/stats.md defines in the same words, and
nothing else. The log only grows, so every query has a snapshot of its own (none is open for long) and all see the same
events: those up to the head that was read first.
"""

from typing import Any

import msgspec

from queuectl.clock import text
from queuectl.engines.figures import FIGURES
from queuectl.queries import Progress
from queuectl.queue import Queue

Row = dict[str, Any]
"""One row of an answer, by the names of its columns."""

_MOMENTS = frozenset({"first_at", "last_at", "hour", "day"})
"""The columns that are moments: microseconds UTC in the log, RFC 3339 in JSON."""


class Stats(msgspec.Struct, frozen=True):
    """The figures of a period. Moments are microseconds UTC, durations seconds, rates shares from 0 to 1."""

    seq: int
    at: int
    """The last event that they know of; 0 and 0 in an empty log."""
    since: int | None
    until: int | None
    queue: str | None
    totals: Row
    per_day: list[Row]
    per_hour: list[Row]
    busiest_hours: list[Row]
    """Hours of the day, UTC, the one with most completed jobs first."""
    waiting: list[Row]
    queues: list[Row]
    commands: list[Row]
    """The commands that were run most, most first; then the slowest and the flakiest."""
    slowest: list[Row]
    flakiest: list[Row]
    archived: Row
    """Jobs that no figure counts, because their events are in archives."""

    def json(self) -> dict[str, Any]:
        """The document of `stats --json`."""
        return {
            "as_of": {"seq": self.seq, "at": text(self.at) if self.seq else None},
            "since": text(self.since) if self.since is not None else None,
            "until": text(self.until) if self.until is not None else None,
            "queue": self.queue,
            "totals": _shown(self.totals),
            "per_day": [_shown(row) for row in self.per_day],
            "per_hour": [_shown(row) for row in self.per_hour],
            "busiest_hours": self.busiest_hours,
            "waiting": self.waiting,
            "queues": self.queues,
            "commands": self.commands,
            "slowest": self.slowest,
            "flakiest": self.flakiest,
            "archived": self.archived,
        }


def stats(
    queue: Queue,
    *,
    since: int | None = None,
    until: int | None = None,
    queue_name: str | None = None,
    limit: int = 5,
    progress: Progress | None = None,
) -> Stats:
    """The figures of what happened from `since` to `until` (µs UTC, both included), of all queues or of one.

    `limit` is how many commands are named for each of the three reasons. `progress` is called with (queries done, of
    all).
    """
    with queue.engine.snapshot() as view:
        seq, at = view.head()
        after = view.seq_at(since - 1) if since is not None else 0
        upto = view.seq_at(until) if until is not None else seq
    rows: dict[str, list[Row]] = {}
    for done, name in enumerate(FIGURES, 1):
        with queue.engine.snapshot() as view:
            rows[name] = view.figure(name, after=after, upto=upto, queue=queue_name, limit=limit)
        if progress is not None:
            progress(done, len(FIGURES))
    [totals] = rows.pop("totals")
    [archived] = rows.pop("archived")
    commands = rows.pop("commands")
    flaky = [row for row in commands if row["completed"] and row["failed"]]
    return Stats(
        seq=seq, at=at, since=since, until=until, queue=queue_name, totals=totals, archived=archived, **rows,
        commands=_best(commands, "most_run", limit),
        slowest=_best([row for row in commands if row["p50"] is not None], "slowest", limit),
        flakiest=_best(flaky, "flakiest", limit),
    )  # fmt: skip


def _best(commands: list[Row], rank: str, limit: int) -> list[Row]:
    """Those whose place is among the first, without the places."""
    chosen = sorted((row for row in commands if row[rank] <= limit), key=lambda row: row[rank])
    return [{name: row[name] for name in row if name not in ("most_run", "slowest", "flakiest")} for row in chosen]


def _shown(row: Row) -> Row:
    """With moments as text."""
    return {name: text(value) if name in _MOMENTS and value is not None else value for name, value in row.items()}
