"""What a person may mean who has begun to type a name: the jobs, queues and so on whose names begin so.

Each question is answered in a few milliseconds however many jobs there are, because no more than `SCANNED` rows are
looked at in any one place. So where more jobs are meant than that, some are left out; more letters bring them.
"""

from collections.abc import Sequence
from typing import Any

import msgspec

from projections.jobs import ENDED, WAITING
from projections.store import Store

SCANNED = 2000
"""Rows that are looked at in one place."""

MOST = 100
"""Names that are suggested."""


class Suggestion(msgspec.Struct, frozen=True):
    """A name, and what it stands for in a few words."""

    name: str
    text: str = ""


class JobGroup(msgspec.Struct, frozen=True):
    """Jobs to which the same can be done."""

    condition: str = "1 = 1"
    """Which they are."""
    sources: tuple[str, ...] = ()
    """Conditions that have an index each (see `projections.jobs`), within which these jobs are found."""


_STARTED = "worker is not null"
_BLOCKED = "state = 'blocked'"
_UNSTARTED = (WAITING, _BLOCKED)

JOB_GROUPS = {
    "any": JobGroup(),
    "unended": JobGroup("state in ('pending', 'blocked', 'processing', 'failed')", (_STARTED, *_UNSTARTED)),
    "waiting": JobGroup("state in ('pending', 'blocked', 'failed') and held = 0", _UNSTARTED),
    "unstarted": JobGroup("state in ('pending', 'blocked', 'failed')", _UNSTARTED),
    "held": JobGroup("state in ('pending', 'blocked', 'failed') and held = 1", (f"{WAITING} and held = 1", _BLOCKED)),
    "running": JobGroup("state = 'processing' and suspended_at is null", (_STARTED,)),
    "suspended": JobGroup("state = 'processing' and suspended_at is not null", (_STARTED,)),
    "dead": JobGroup("state = 'dead'", (f"{ENDED} and state = 'dead' order by finished_at desc",)),
    "ended": JobGroup(
        ENDED, tuple(f"{ENDED} and state = '{each}' order by finished_at desc" for each in ("dead", "cancelled"))
    ),
}  # fmt: skip
"""The groups by their names. The newest jobs of all are looked at for each, which finds those that completed lately."""


class _Labels(msgspec.Struct, frozen=True):
    """The part of a policy that has its tags."""

    tags: dict[str, str] = {}


class Suggestions:
    """The questions. Of each kind of name at most `MOST` are given; jobs with the newest first."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def jobs(self, prefix: str, group: str = "any") -> list[Suggestion]:
        """The ids of jobs of a group of `JOB_GROUPS` that begin so."""
        meant = JOB_GROUPS[group]
        columns, condition = "j.seq, j.id, j.state, j.command", f"{meant.condition} and {_begins('j.id', prefix)}"
        places = [*(f"where {source}" for source in meant.sources), "order by seq desc"]
        found: dict[int, tuple[Any, ...]] = {}
        for place in places:
            scanned = f"select seq, id, state, command, held, suspended_at from jobs {place} limit {SCANNED}"
            rows = self._store.execute(f"select {columns} from ({scanned}) j where {condition}", (prefix,))
            found |= {row[0]: row for row in rows}
        if prefix and len(found) < MOST:
            scanned = f"""
                select seq from events where stream >= ? and stream < ? and version = 1 order by stream limit {SCANNED}
            """
            begin = f"job:{prefix}"
            rows = self._store.execute(
                f"select {columns} from ({scanned}) e join jobs j on j.seq = e.seq where {condition}",
                (begin, f"{begin}\U0010ffff", prefix),
            )
            found |= {row[0]: row for row in rows}
        newest = sorted(found.values(), reverse=True)[:MOST]
        return [Suggestion(id, f"{state}  {command}") for _, id, state, command in newest]

    def queues(self, prefix: str) -> list[Suggestion]:
        """The queues that have jobs, had any, or were set."""
        named = "select queue as name from counts union select name from queues where name <> '' union select 'default'"
        return self._names(f"select name, '' from ({named}) q", prefix)

    def batches(self, prefix: str) -> list[Suggestion]:
        """The batches."""
        named = "select batch as name from batch_counts union select name from batches"
        return self._names(f"select name, '' from ({named}) b", prefix)

    def schedules(self, prefix: str) -> list[Suggestion]:
        """The schedules that were not removed, with their cron expressions."""
        return self._names("select name, coalesce(cron, '') from schedules where removed = 0", prefix)

    def resources(self, prefix: str) -> list[Suggestion]:
        """The resources of which it is set how much there is."""
        return self._names("select name, '' from resources where (capacity is not null or indices is not null)", prefix)

    def workers(self, prefix: str) -> list[Suggestion]:
        """The ids of the workers that have not ended, with their hosts."""
        return self._names("select id as name, host from workers where state in ('running', 'stopping')", prefix)

    def hosts(self, prefix: str) -> list[Suggestion]:
        """The hosts of these workers."""
        hosts = "select distinct host as name from workers where state in ('running', 'stopping')"
        return self._names(f"select name, '' from ({hosts}) h", prefix)

    def tags(self, prefix: str) -> list[Suggestion]:
        """The tags of the newest jobs, as KEY=VALUE."""
        rows = self._store.execute(
            f"""
            select coalesce(j.edited, cast(e.data as text))
            from (select seq, edited from jobs order by seq desc limit {SCANNED // 2}) j
            join events e on e.seq = j.seq
            """
        )
        policies = (msgspec.json.decode(policy, type=_Labels) for (policy,) in rows)
        tags = (f"{key}={value}" if value else key for policy in policies for key, value in policy.tags.items())
        return [Suggestion(tag) for tag in sorted({tag for tag in tags if tag.startswith(prefix)})[:MOST]]

    def _names(self, sql: str, prefix: str) -> list[Suggestion]:
        """The first names of a query for (name, text) that begin so."""
        rows: Sequence[tuple[Any, ...]] = self._store.execute(
            f"select * from ({sql}) s where {_begins('s.name', prefix)} order by 1 limit {MOST}", (prefix,)
        )
        return [Suggestion(name, text) for name, text in rows]


def _begins(column: str, prefix: str) -> str:
    """A condition: a text begins with the value that is given with it. Nothing in that has a meaning of its own."""
    return f"substr({column}, 1, {len(prefix)}) = ?"
