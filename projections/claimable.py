"""Which waiting jobs may be claimed, best first: asked of the indexes alone, however many jobs wait.

A lane is a queue and a demand: what its jobs need beside one slot. Jobs of a lane can start alike, so that one of them
that can't start stands for all behind it.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import msgspec

from projections.jobs import NEEDY, PAST_LIMITS, PLAIN, SELECT, WAITING, Job, JobQuestions, read
from projections.store import marks
from queuectl.events import CALLBACK_PRIORITY

PEEK = 64
"""Due jobs that are looked at beyond those wanted, before each lane is asked for its own."""

PRIORITIES = f"""
with recursive waiting (priority) as (
    select (select priority from jobs where {WAITING} and held = ? order by priority desc limit 1)
    union all
    select (
        select priority from jobs where {WAITING} and held = ? and priority < waiting.priority
        order by priority desc limit 1
    )
    from waiting where priority is not null
)
"""
"""All priorities of waiting jobs that are held, or are not (given twice), highest first.

It takes one step in the index for each, however many jobs wait.
"""

_PLAIN = f"{WAITING} and {PLAIN} and held = 0 and priority = ?"
_NEEDY = f"{WAITING} and {NEEDY} and held = 0 and priority = ?"

_PLAIN_LANES = f"""
lane (queue) as (
    select (select queue from jobs where {_PLAIN} order by queue limit 1)
    union all
    select (select queue from jobs where {_PLAIN} and queue > lane.queue order by queue limit 1)
    from lane where queue is not null
)
"""
_PLAIN_HEADS = f"""
select here.queue, here.demand, here.run_at, here.seq
from lane cross join jobs here
where lane.queue is not null and here.seq = (
    select seq from jobs where {_PLAIN} and queue = lane.queue order by run_at, seq limit 1
)
"""
"""The lanes of jobs of a priority (given three times) that need no more than a slot, and the first job of each:
one step in the index for each."""

_NEEDY_LANES = f"""
head (seq) as (
    select (select seq from jobs where {_NEEDY} order by queue, demand, run_at, seq limit 1)
    union all
    select coalesce(
        (select seq from jobs where {_NEEDY} and queue = here.queue and demand > here.demand
         order by demand, run_at, seq limit 1),
        (select seq from jobs where {_NEEDY} and queue > here.queue order by queue, demand, run_at, seq limit 1)
    )
    from head cross join jobs here where here.seq = head.seq
)
"""
_NEEDY_HEADS = """
select here.queue, here.demand, here.run_at, here.seq from head cross join jobs here where here.seq = head.seq
"""
"""The lanes of jobs of a priority (given three times) that need more than a slot, and the first job of each.

To ask for `(queue, demand) > (?, ?)` would step over all that are equal in the first.
"""
_ALL_HEADS = f"with recursive {_PLAIN_LANES}, {_NEEDY_LANES} {_PLAIN_HEADS} union all {_NEEDY_HEADS}"


class Lane(msgspec.Struct, frozen=True, gc=False):
    """The waiting jobs of one queue and one priority that need the same."""

    priority: int
    queue: str
    demand: str
    run_at: int
    """When the first of them is due (µs UTC)."""
    seq: int
    """The place of that job in the log."""


class ClaimQuestions(JobQuestions):
    """What claims ask. `queues`: of all where none are named; `closed` queues and `demands` are passed over."""

    def forced(self, queues: Sequence[str] = ()) -> list[Job]:
        """The waiting jobs that somebody had start next, in the order in which they came."""
        where = f"and j.queue in ({marks(queues)})" if queues else ""
        sql = f"{SELECT} where j.forced = 1 and j.{WAITING} {where} order by j.seq"
        return [read(row) for row in self._store.rows(sql, queues)]

    def postponed(self, queues: Sequence[str] = ()) -> set[tuple[str, str]]:
        """The queues, and what is needed beside a slot, of waiting jobs that could not be started; held ones aside."""
        where = f"and queue in ({marks(queues)})" if queues else ""
        # The + keeps it from the index of all that wait: few are postponed, or none.
        sql = f"select distinct queue, demand from jobs where postponed > 0 and {WAITING} and +held = 0 {where}"
        return {(queue, demand) for queue, demand in self._store.rows(sql, queues)}

    def due(
        self,
        queues: Sequence[str],
        limit: int,
        now: int,
        closed: Collection[str] = (),
        demands: Collection[str] = (),
    ) -> list[Job]:
        """The jobs that may be claimed at `now`, in the order of claims.

        First come those that are forced, also of closed queues. Where anything is passed over, there may be more than
        `limit`: so many of each lane; or fewer, if others come behind them.
        """
        forced = [job for job in self.forced(queues) if job.demand not in demands]
        if queues:
            open_queues = [queue for queue in dict.fromkeys(queues) if queue not in closed]
            due = self._due_of(open_queues, limit, now, demands)
        elif closed or demands:
            due = self._due_elsewhere(limit, now, closed, demands)
        else:
            due = self._due("", (), limit, now)
        if forced:
            ids = {job.id for job in forced}
            due = [*forced, *(job for job in due if job.id not in ids)]
        return due if demands else due[:limit]

    def due_callbacks(
        self, queues: Sequence[str], closed: Collection[str], limit: int, now: int, demands: Collection[str] = ()
    ) -> list[Job]:
        """The callbacks of closed queues that are due, in the order of claims: so many of each lane at most."""
        lanes = self._callback_lanes(queues, closed, demands)
        return sorted((job for lane in lanes for job in self._first(lane, limit, now)), key=order)

    def _callback_lanes(self, queues: Sequence[str], among: Collection[str], demands: Collection[str]) -> list[Lane]:
        """The lanes of callbacks that wait and are not held, `among` these queues; `demands` are passed over."""
        first = f"{WAITING} and held = 0 and {PAST_LIMITS}"
        if not among or not self._store.execute(f"select 1 from jobs where {first} limit 1"):
            return []
        lanes = self._all_lanes(CALLBACK_PRIORITY)
        named = [lane for lane in lanes if lane.queue in among and (not queues or lane.queue in queues)]
        return [lane for lane in named if lane.demand not in demands]

    def live_callbacks(self) -> dict[tuple[str, str], int]:
        """How many callbacks have not ended and are not held, by queue and state."""
        which = f"{PAST_LIMITS} and state in ('pending', 'blocked', 'processing', 'failed') and held = 0"
        rows = self._store.execute(f"select queue, state, count(*) from jobs where {which} group by 1, 2")
        return {(queue, state): jobs for queue, state, jobs in rows}

    def _due(self, scope: str, values: tuple[Any, ...], limit: int, now: int) -> list[Job]:
        """The first jobs that are due, of all or of a scope: the beginning of a condition, and its values."""
        one = f"{WAITING} and held = 0 and {scope} priority = waiting.priority and run_at <= ?"
        sql = f"{PRIORITIES} select priority from waiting where exists (select 1 from jobs where {one})"
        where = f"{WAITING} and held = 0 and {scope} priority = ? and run_at <= ? order by j.run_at, j.seq limit ?"
        found: list[Job] = []
        for (priority,) in self._store.rows(sql, (0, 0, *values, now)):  # no further than there are jobs wanted
            rows = self._store.rows(f"{SELECT} where {where}", (*values, priority, now, limit - len(found)))
            found += [read(row) for row in rows]
            if len(found) >= limit:
                break
        return found

    def _due_of(self, queues: Sequence[str], limit: int, now: int, demands: Collection[str]) -> list[Job]:
        """The jobs of these queues that are due."""
        found = [job for queue in queues for job in self._due(f"{PLAIN} and queue = ? and", (queue,), limit, now)]
        for lane in self._needy_lanes():
            if lane.queue in queues and lane.demand not in demands and lane.run_at <= now:
                found += self._first(lane, limit, now)
        found.sort(key=order)
        return found if demands else found[:limit]

    def _due_elsewhere(self, limit: int, now: int, closed: Collection[str], demands: Collection[str]) -> list[Job]:
        """The jobs that are due, of none of the closed queues and demands."""
        # Most often the first of all will do. Where too many of these can't start, each lane is asked.
        page, ended = self._page(limit + PEEK, now)
        seqs: list[int] = []
        lanes: Counter[tuple[str, str]] = Counter()
        plain = 0
        for seq, queue, demand in page:
            if queue in closed or demand in demands or lanes[queue, demand] >= limit:
                continue
            lanes[queue, demand] += 1
            seqs.append(seq)
            plain += not demand
            if plain == limit:
                break
        if ended or plain == limit:
            return self.jobs(seqs)
        return self._due_in_lanes(limit, now, closed, demands)

    def _page(self, limit: int, now: int) -> tuple[list[tuple[int, str, str]], bool]:
        """Seq, queue and demand of the first jobs that are due, and whether these are all."""
        where = f"{WAITING} and held = 0 and priority = ? and run_at <= ? order by run_at, seq limit ?"
        found: list[tuple[int, str, str]] = []
        for priority in self._priorities():
            rows = self._store.execute(
                f"select seq, queue, demand from jobs where {where}", (priority, now, limit - len(found))
            )
            found += [(seq, queue, demand) for seq, queue, demand in rows]
            if len(found) >= limit:
                return found, False
        return found, True

    def _due_in_lanes(self, limit: int, now: int, closed: Collection[str], demands: Collection[str]) -> list[Job]:
        """The same with a look at each lane: it takes a step in the index for each, and for each that is closed."""
        found: list[Job] = []
        left = limit
        for priority in self._priorities():
            lanes = [
                lane
                for lane in self._all_lanes(priority)
                if lane.run_at <= now and lane.queue not in closed and lane.demand not in demands
            ]
            last: list[tuple[int, int]] = []
            """The places of the first of those found that need no more than a slot."""
            for lane in sorted(lanes, key=lambda lane: (lane.run_at, lane.seq)):
                if len(last) == left and last[-1] < (lane.run_at, lane.seq):
                    break  # so many come before it
                jobs = self._first(lane, limit, now)
                found += jobs
                last = sorted([*last, *((job.run_at, job.seq) for job in jobs if not job.demand)])[:left]
            left -= len(last)
            if not left:
                break
        return sorted(found, key=order)

    def _first(self, lane: Lane, limit: int, now: int) -> list[Job]:
        """The first jobs of a lane that are due."""
        which = f"{PLAIN} and queue = ?" if not lane.demand else f"{NEEDY} and queue = ? and demand = ?"
        where = f"{WAITING} and {which} and held = 0 and priority = ? and run_at <= ? order by j.run_at, j.seq limit ?"
        values = (lane.queue,) if not lane.demand else (lane.queue, lane.demand)
        rows = self._store.rows(f"{SELECT} where {where}", (*values, lane.priority, now, limit))
        return [read(row) for row in rows]

    def _priorities(self) -> list[int]:
        """The priorities of waiting jobs that are not held, highest first."""
        rows = self._store.execute(f"{PRIORITIES} select priority from waiting where priority is not null", (0, 0))
        return sorted((priority for (priority,) in rows), reverse=True)

    def _all_lanes(self, priority: int) -> list[Lane]:
        return [Lane(priority, *row) for row in self._store.execute(_ALL_HEADS, (priority,) * 6)]

    def _lanes(self, priority: int) -> list[Lane]:
        sql = f"with recursive {_NEEDY_LANES} {_NEEDY_HEADS}"
        return [Lane(priority, *row) for row in self._store.execute(sql, (priority,) * 3)]

    def _needy_lanes(self) -> list[Lane]:
        """All lanes of jobs that need more than a slot, none where there are none."""
        # The order names the index that has no other jobs: without it all that wait may be stepped over.
        first = f"{WAITING} and {NEEDY} and held = 0 order by priority, queue, demand limit 1"
        if not self._store.execute(f"select 1 from jobs where {first}"):
            return []
        return [lane for priority in self._priorities() for lane in self._lanes(priority)]

    def needy(self, limit: int, now: int, since: int) -> list[Job]:
        """Of each lane of jobs that need more than a slot, the first that are due; none where none is due `since` then.

        In the order of claims, those that are forced aside.
        """
        lanes = [lane for lane in self._needy_lanes() if lane.run_at <= now]
        if all(lane.run_at > since for lane in lanes):
            return []
        jobs = [job for lane in lanes for job in self._first(lane, limit, now)]
        return sorted(jobs, key=order)

    def demanded(self) -> set[str]:
        """What waiting jobs need beside a slot; held ones aside."""
        return {lane.demand for lane in self._needy_lanes()}

    def demands(self, queues: Sequence[str] = ()) -> dict[str, Job]:
        """What waiting jobs need beside a slot, each with one such job; held ones aside."""
        found: dict[str, Job] = {}
        for lane in self._needy_lanes():
            if lane.demand not in found and (not queues or lane.queue in queues):
                found[lane.demand] = self._first(lane, 1, 1 << 62)[0]
        return found

    def counts_of_demands(self, demands: Collection[str]) -> dict[tuple[str, str], int]:
        """How many jobs that need any of these wait and are not held, by queue and state."""
        if not demands:
            return {}
        which = f"{WAITING} and {NEEDY} and held = 0 and demand in ({marks(demands)})"
        rows = self._store.execute(
            f"select queue, state, count(*) from jobs where {which} group by 1, 2", sorted(demands)
        )
        return {(queue, state): jobs for queue, state, jobs in rows}

    def has_failed(self, queues: Collection[str], demands: Collection[str]) -> bool:
        """Whether a job of these queues that is not held waits for a retry, and needs none of these."""
        which = f"state = 'failed' and held = 0 and queue in ({marks(queues)}) and demand not in ({marks(demands)})"
        return bool(self._store.execute(f"select 1 from jobs where {which} limit 1", (*queues, *demands)))

    def next_due(
        self,
        queues: Sequence[str] = (),
        closed: Collection[str] = (),
        demands: Collection[str] = (),
        closed_for_callbacks: Collection[str] = (),
    ) -> int | None:
        """The earliest `run_at` (µs UTC) of the waiting jobs that are not held, what is passed over aside, or None."""
        if not queues and not closed and not demands:
            return self._first_due("", ())
        named = {queue for queue in queues or self.waiting_queues() if queue not in closed}
        dues: list[int] = []
        if queues:
            lanes = self._needy_lanes()
            dues += [lane.run_at for lane in lanes if lane.queue in named and lane.demand not in demands]
            dues += [due for queue in named if (due := self._first_due(f"{PLAIN} and queue = ? and", (queue,)))]
        else:
            lanes = [lane for priority in self._priorities() for lane in self._all_lanes(priority)]
            dues += [lane.run_at for lane in lanes if lane.queue in named and lane.demand not in demands]
        lanes = self._callback_lanes(queues, {*closed} - {*closed_for_callbacks}, demands)
        return min([*dues, *(lane.run_at for lane in lanes)], default=None)

    def _first_due(self, scope: str, values: tuple[Any, ...]) -> int | None:
        where = f"{WAITING} and held = 0 and {scope} priority = waiting.priority"
        first = f"select run_at from jobs where {where} order by run_at limit 1"
        return self._store.execute(f"{PRIORITIES} select min(({first})) from waiting", (0, 0, *values))[0][0]

    def due_after(self, now: int) -> int | None:
        """The earliest `run_at` (µs UTC) after `now` of all waiting jobs that are not held, or None."""
        where = f"{WAITING} and held = 0 and priority = waiting.priority and run_at > ?"
        first = f"select run_at from jobs where {where} order by run_at limit 1"
        rows = self._store.execute(f"{PRIORITIES} select min(({first})) from waiting", (0, 0, now))
        return rows[0][0]

    def waiting_queues(self) -> list[str]:
        """The queues that have waiting jobs which are not held."""
        sql = f"select distinct queue from counts where {WAITING} and held = 0 and jobs > 0"
        return [queue for (queue,) in self._store.rows(sql)]


def order(job: Job) -> tuple[int, int, int]:
    """The key by which jobs that are due are claimed, those that are forced aside."""
    return -job.priority, job.run_at, job.seq
