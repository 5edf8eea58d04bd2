"""Dependencies: which job depends on which others, and how they have to end. A row for each, as long as the job is."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from projections.jobs import SELECT, Job, read
from projections.store import Questions, Store, marks
from projections.table import Table

if TYPE_CHECKING:
    from projections import Change
    from queuectl.events import Enqueued

DEPENDENCY_KINDS = ("after", "after_any", "after_failure")
"""The kinds of dependencies: the names of the fields of `enqueued` that have them."""


class Dependency(msgspec.Struct, frozen=True, gc=False):
    """That one job depends on another."""

    child: int
    """The seq of the job that waits."""
    parent: str
    """The id of the one that it depends on, or `batch:NAME` for all jobs of a batch."""
    kind: str
    """One of `DEPENDENCY_KINDS`."""


name = "dependencies"
version = 1
tables = ("dependencies",)
reads = frozenset({"enqueued", "edited", "purged", "archived"})
TABLE = Table("dependencies", Dependency, ("child", "parent", "kind"))
schema = f"""
{TABLE.schema}
create index dependencies_of_parent on dependencies (parent, kind);
"""


def fold(changes: Sequence["Change"], store: Store) -> None:
    """Write what new jobs depend on, again for those of which that was edited; forget it with the job."""
    new: dict[int, list[Dependency]] = {}
    gone: list[int] = []
    for change in changes:
        if change.record.type not in reads:
            continue
        before, after = _of(change.before), _of(change.after)
        if before == after:
            continue
        if before and new.pop(before[0].child, None) is None:
            gone.append(before[0].child)
        if after:
            new[after[0].child] = after
    store.delete(TABLE, "child", gone)
    store.insert(TABLE, [row for rows in new.values() for row in rows])


def _of(subject: object) -> list[Dependency]:
    return of(subject.seq, subject.policy) if isinstance(subject, Job) and subject.policy.depends else []


def of(seq: int, policy: "Enqueued") -> list[Dependency]:
    """All dependencies of the job with this seq."""
    return [
        Dependency(seq, parent, kind) for kind in DEPENDENCY_KINDS for parent in dict.fromkeys(getattr(policy, kind))
    ]


class Parent(msgspec.Struct, frozen=True, gc=False):
    """A job that another one depends on, as it is."""

    id: str
    kind: str
    """How it has to end: one of `DEPENDENCY_KINDS`."""
    state: str | None
    """None: it is not in the table, since it was purged or archived."""
    place: tuple[int, ...] = ()
    """Where it comes among those that have not ended: the last is expected to end last."""


_WIDTH = 500
"""Ids in one query."""

PLACE = "case j.state when 'processing' then 0 when 'blocked' then 2 else 1 end, j.held, -j.priority, j.run_at, j.seq"


class DependencyQuestions(Questions):
    """What is asked of the dependencies."""

    def parents(self, child: int) -> list[Parent]:
        """The jobs that the one with this seq depends on."""
        sql = f"""
            select d.parent, d.kind, j.state, {PLACE} from dependencies d
            left join events e on e.stream = 'job:' || d.parent and e.version = 1
            left join jobs j on j.seq = e.seq
            where d.child = ?
        """
        return [Parent(row[0], row[1], row[2], row[3:]) for row in self._store.rows(sql, (child,))]

    def standings(self, ids: Iterable[str]) -> dict[str, tuple[str, tuple[int, ...]]]:
        """State and place (see `Parent`) of those of these jobs that are in the table, by id."""
        wanted = list(dict.fromkeys(ids))
        found: dict[str, tuple[str, tuple[int, ...]]] = {}
        for start in range(0, len(wanted), _WIDTH):
            streams = [f"job:{id}" for id in wanted[start : start + _WIDTH]]
            sql = f"""
                select j.id, j.state, {PLACE} from events e join jobs j on j.seq = e.seq
                where e.version = 1 and e.stream in ({marks(streams)})
            """
            found |= {row[0]: (row[1], row[2:]) for row in self._store.rows(sql, streams)}
        return found

    def watchers(self, parent: str, limit: int) -> list[Job]:
        """The blocked jobs that wait for the end of this one, as they came; at most `limit`."""
        rows = self._store.rows(f"{SELECT} where j.watching = ? order by j.seq limit ?", (parent, limit))
        return [read(row) for row in rows]

    def blocked_by(self, parent: str, kinds: Collection[str], limit: int) -> list[Job]:
        """The blocked jobs with a dependency of these kinds on this one, as they came; at most `limit`."""
        sql = f"""
            {SELECT} join dependencies d on d.child = j.seq
            where d.parent = ? and d.kind in ({marks(kinds)}) and j.state = 'blocked' order by j.seq limit ?
        """
        return list({job.id: job for job in self._read_jobs(sql, (parent, *kinds, limit))}.values())

    def depended_on(self, ids: Collection[str]) -> set[str]:
        """Those of these jobs that others depend on."""
        wanted = sorted(ids)
        sql = f"select distinct parent from dependencies where parent in ({marks(wanted)})"
        return {parent for (parent,) in self._store.rows(sql, wanted)}

    def children(self, parent: str, limit: int = 1 << 31) -> list[Job]:
        """All jobs that depend on this one, as they came; at most `limit`."""
        sql = f"""
            {SELECT} where j.seq in (select child from dependencies where parent = ?) order by j.seq limit ?
        """
        return list(self._read_jobs(sql, (parent, limit)))

    def roots(self, queues: Sequence[str] = (), batch: str | None = None) -> list[Job]:
        """The jobs that the blocked ones of these queues (none named: of all) or of a batch wait for in the end.

        None of them is blocked.
        """
        scope = f"and queue in ({marks(queues)})" if queues else "and batch = ?" if batch is not None else ""
        sql = f"""
            with recursive above (id) as (
                select watching from jobs where state = 'blocked' {scope}
                union
                select j.watching from above join events e on e.stream = 'job:' || above.id and e.version = 1
                join jobs j on j.seq = e.seq where j.watching is not null
            )
            {SELECT} where e.version = 1 and e.stream in (select 'job:' || id from above) and j.state <> 'blocked'
        """
        return list(self._read_jobs(sql, queues or (() if batch is None else (batch,))))

    def blocked(self) -> list[Job]:
        """All blocked jobs, as they came."""
        return list(self._read_jobs(f"{SELECT} where j.state = 'blocked' order by j.seq", ()))

    def cascading(self, limit: int) -> list[Job]:
        """The first jobs that have ended, and of which what that does to others was left for later."""
        return list(self._read_jobs(f"{SELECT} where j.cascading = 1 order by j.seq limit ?", (limit,)))

    def _read_jobs(self, sql: str, values: Sequence[Any]) -> Iterator[Job]:
        return map(read, self._store.rows(sql, values))
