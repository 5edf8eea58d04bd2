"""Questions of claims that PostgreSQL is asked otherwise: in one round trip, and with the order that it must have."""

from typing import Any

from projections.claimable import PRIORITIES, ClaimQuestions
from projections.jobs import SELECT, WAITING, Job, read


class PostgresClaims(ClaimQuestions):
    """See `projections.claimable.ClaimQuestions`."""

    def _due(self, scope: str, values: tuple[Any, ...], limit: int, now: int) -> list[Job]:
        one = f"{WAITING} and held = 0 and {scope} priority = waiting.priority and run_at <= ?"
        sql = f"""
            {PRIORITIES}, due (seq) as (
                select first.seq from waiting cross join lateral (
                    select seq, run_at from jobs where {one} order by run_at, seq limit ?
                ) as first
                where waiting.priority is not null order by waiting.priority desc, first.run_at, first.seq limit ?
            )
            {SELECT} where j.seq in (select seq from due) order by j.priority desc, j.run_at, j.seq
        """
        return [read(row) for row in self._store.rows(sql, (0, 0, *values, now, limit, limit))]
