"""Questions of the log itself, in SQL that the engines share."""

from abc import abstractmethod
from collections.abc import Collection

from projections.jobs import ENDED
from projections.store import Questions, marks

_NEXT = """(
    select {column} from (
        select * from (select seq, at from events where seq >= {place} order by seq limit 1) as event
        union all select * from (select seq, at from leaves where seq >= {place} order by seq limit 1) as leaf
    ) as either order by seq limit 1
)"""
"""A column of the first event from a place on, of which an archived one has left its leaf."""

_MIDDLE = "((low + high + 1) / 2)"

_HAPPENED = f"coalesce({_NEXT.format(column='at', place=_MIDDLE)} <= ?, 1 = 0)"
"""Whether the event in the middle had happened by then."""

_SEQ_AT = f"""
with recursive halving (low, high) as (
    select cast(0 as bigint), cast(? as bigint)
    union all
    select case when {_HAPPENED} then {_NEXT.format(column="seq", place=_MIDDLE)} else low end,
        case when {_HAPPENED} then high else {_MIDDLE} - 1 end
    from halving where low < high
)
select low from halving where low >= high
"""
"""Moments rise with the numbers, so the place is found by halving: no index of moments is needed."""

_RELEASED = """cascading = 0
    and id not in (select job from starts where next > ?)
    and (batch is null or batch not in (
        select batch from batch_counts where state in ('pending', 'blocked', 'processing', 'failed')
    ))
"""
"""Whether nothing needs an ended job any more. Its value is the present moment."""

_ARCHIVABLE = f"""
with over as (
    select id, version from jobs where finished_at <= ? and state in ({{states}}) and {_RELEASED}
)
select 'job:' || id, version from over
union all
select stream, version from events purge where type = 'purged' and seq <= ?
    and not exists (select 1 from events where stream = purge.stream and version > purge.version)
    and substr(stream, 5) not in (select job from starts where next > ?)
union all
select 'worker:' || id, version from workers
where ended_at <= ? and id not in (select worker from attempts where job not in (select id from over))
"""

_OLDEST_ENDS = f"""
select finished_at from jobs
where state = ? and {ENDED} and finished_at <= ? and {_RELEASED}
order by finished_at limit ?
"""

_GONE = """
select stream from events as last where stream in ({streams}) and type in ('archived', 'purged')
    and not exists (select 1 from events where stream = last.stream and version > last.version)
"""


class LogQuestions(Questions):
    """What is asked of the log, and of the tables beside it."""

    @abstractmethod
    def head(self) -> tuple[int, int]:
        """(seq, at) of the last event; (0, 0) in an empty log."""

    def seq_at(self, at: int) -> int:
        """See `Questions`. One statement: a server may be far away."""
        return self._store.execute(_SEQ_AT, (self.head()[0], at, at))[0][0]

    def archivable(self, at: int, states: Collection[str], now: int) -> dict[str, int]:
        """The streams that were through by then (µs UTC), each with the version of its last event.

        Those of jobs that came to one of these final states, of purged jobs, and of workers that ended and of whose
        attempts only those of jobs that are named with them are left. Not those of jobs whose start still counts for
        the rate of its queue at `now` (R36), nor of a batch of which any has not ended.
        """
        sql = _ARCHIVABLE.format(states=marks(states))
        return dict(self._store.execute(sql, (at, *states, now, self.seq_at(at), now, at)))

    def oldest_ends(self, at: int, state: str, now: int, limit: int) -> list[int]:
        """When the first jobs came to a final state that are archivable as of `at`: moments (µs UTC), at most `limit`.

        An index has the ended jobs in this order, so that the first costs the same however many there are.
        """
        return [end for (end,) in self._store.execute(_OLDEST_ENDS, (state, at, now, limit))]

    def gone_jobs(self, ids: Collection[str]) -> set[str]:
        """Those of these ids (a page at most) whose jobs were archived or purged."""
        streams = [f"job:{id}" for id in ids]
        rows = self._store.execute(_GONE.format(streams=marks(streams)), streams) if streams else ()
        return {stream.partition(":")[2] for (stream,) in rows}
