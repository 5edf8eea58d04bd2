"""Schedules: when each enqueues which job, and how far it has come. One that was removed keeps its row."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.structs import replace

from projections.store import Questions, Store
from projections.table import Codec, Table
from queuectl.clock import micros
from queuectl.events import (
    Enqueued,
    Recorded,
    ScheduleAdded,
    ScheduleEdited,
    ScheduleFired,
    SchedulePaused,
    ScheduleRemoved,
    ScheduleResumed,
    ScheduleRewound,
    ScheduleSkipped,
    ScheduleTerms,
    Unreadable,
    encode,
)

if TYPE_CHECKING:
    from projections import Change


class ScheduleState(msgspec.Struct, frozen=True, gc=False):
    """The fold of a schedule's events. Moments are microseconds UTC, durations seconds."""

    name: str
    version: int
    added_at: int
    added_by: str
    job: Enqueued
    """The policy of its jobs, but for what the settings decide: see `said`."""
    position: int
    """The moment up to which all that came was enqueued or skipped."""
    cron: str | None = None
    tz: str | None = None
    every: int | None = None
    anchor: int | None = None
    catch_up: str = "last"
    window: float = 86400.0
    overlap: str = "skip"
    jitter: float = 0.0
    until: int | None = None
    pause_on_failure: bool = False
    said: tuple[str, ...] = ()
    """The options of its jobs of which anything was said."""
    removed: bool = False
    paused_at: int | None = None
    """Since when it is paused; None: it is not."""
    paused_by: str | None = None
    paused_reason: str | None = None
    paused_job: str | None = None
    """The id of the job whose death paused it."""
    fired: int = 0
    """How many jobs it has enqueued."""
    skipped: int = 0
    """How many moments it has skipped."""
    last_moment: int | None = None
    """The moment of the job that it enqueued last; None: it has enqueued none."""
    last_job: str | None = None
    """The id of that job."""

    @property
    def is_active(self) -> bool:
        """Whether it enqueues jobs by itself."""
        return not self.removed and self.paused_at is None


def stream(name: str) -> str:
    """The stream of a schedule."""
    return f"schedule:{name}"


def evolve(schedule: ScheduleState | None, record: Recorded, event: Any) -> ScheduleState:
    """The schedule after one more event. Raises Unreadable where it can't follow on those before."""
    match event:
        case ScheduleAdded() if (schedule is None or schedule.removed) and event.since is not None:
            return _with_terms(_new(schedule, record, event), record, event)
        case _ if schedule is None or schedule.removed:
            pass
        case ScheduleEdited():
            return _with_terms(schedule, record, event)
        case ScheduleFired() | ScheduleSkipped() | ScheduleRewound():
            return _moved(schedule, record, event)
        case SchedulePaused():
            return replace(
                schedule, version=record.version, paused_at=record.at, paused_by=record.actor, paused_job=event.job,
                paused_reason=event.reason,
            )  # fmt: skip
        case ScheduleResumed() | ScheduleRemoved():
            return replace(
                schedule, version=record.version, removed=isinstance(event, ScheduleRemoved), paused_at=None,
                paused_by=None, paused_job=None, paused_reason=None,
            )  # fmt: skip
        case _:
            pass
    raise Unreadable(f"{record.stream} has a {record.type!r} event (seq {record.seq}) that can't be there")


def _new(before: ScheduleState | None, record: Recorded, event: ScheduleAdded) -> ScheduleState:
    fired, skipped = (before.fired, before.skipped) if before is not None else (0, 0)
    last = (before.last_moment, before.last_job) if before is not None else (None, None)
    return ScheduleState(
        record.subject, record.version, record.at, record.actor, event.job, 0, fired=fired, skipped=skipped,
        last_moment=last[0], last_job=last[1],
    )  # fmt: skip


def _with_terms(schedule: ScheduleState, record: Recorded, event: ScheduleTerms) -> ScheduleState:
    return replace(
        schedule,
        version=record.version,
        cron=event.cron,
        tz=event.tz,
        every=event.every,
        anchor=micros(event.anchor) if event.anchor is not None else None,
        catch_up=event.catch_up,
        window=event.window,
        overlap=event.overlap,
        jitter=event.jitter,
        until=micros(event.until) if event.until is not None else None,
        pause_on_failure=event.pause_on_failure,
        job=event.job,
        said=event.said,
        position=micros(event.since) if event.since is not None else schedule.position,
    )


def _moved(
    schedule: ScheduleState, record: Recorded, event: ScheduleFired | ScheduleSkipped | ScheduleRewound
) -> ScheduleState:
    match event:
        case ScheduleFired():
            moment = micros(event.moment)
            return replace(
                schedule,
                version=record.version,
                position=moment if event.cause is None else schedule.position,
                fired=schedule.fired + 1,
                last_moment=moment,
                last_job=event.job,
            )
        case ScheduleSkipped():
            skipped = schedule.skipped + event.count
            return replace(schedule, version=record.version, position=micros(event.last), skipped=skipped)
        case ScheduleRewound():
            return replace(schedule, version=record.version, position=micros(event.moment))


name = "schedules"
version = 2
tables = ("schedules",)
reads = None
TABLE = Table(
    "schedules",
    ScheduleState,
    ("name",),
    codecs={
        "job": Codec(
            "text not null",
            lambda job: encode(job).decode(),
            lambda text: msgspec.json.decode(text, type=Enqueued),
        )
    },
)
schema = TABLE.schema


def fold(changes: Sequence["Change"], store: Store) -> None:
    """Write the latest state of each schedule in the batch."""
    latest = {change.after.name: change.after for change in changes if isinstance(change.after, ScheduleState)}
    store.upsert(TABLE, latest.values())


_SELECT = f"select {TABLE.select('s')} from schedules s"


class ScheduleQuestions(Questions):
    """What is asked of the schedules."""

    def schedule(self, name: str) -> ScheduleState | None:
        """The schedule of this name, also where it was removed; None where there never was one."""
        rows = self._store.execute(f"{_SELECT} where s.name = ?", (name,))
        return TABLE.read(rows[0]) if rows else None

    def schedules(self) -> list[ScheduleState]:
        """Those that are there, by name."""
        return [TABLE.read(row) for row in self._store.rows(f"{_SELECT} where s.removed = 0 order by s.name")]

    def schedule_events(self) -> int:
        """How many events the streams of all schedules have: another number, and anything has changed."""
        return self._store.execute("select coalesce(sum(version), 0) from schedules")[0][0]

    def unended_states(self, schedule: str) -> frozenset[str]:
        """The states in which there are jobs that this schedule has enqueued and that have not ended."""
        sql = """
            select u.state
            from (
                select 'pending' as state union all select 'blocked' union all select 'processing'
                union all select 'failed'
            ) u
            where exists (select 1 from jobs j where j.triggered_by = ? and j.state = u.state)
        """
        return frozenset(state for (state,) in self._store.execute(sql, (f"schedule:{schedule}",)))

    def running_jobs(self, schedule: str) -> list[str]:
        """The ids of the jobs of this schedule that run, or are claimed."""
        sql = "select j.id from jobs j where j.triggered_by = ? and j.state = 'processing' order by j.seq"
        return [id for (id,) in self._store.execute(sql, (f"schedule:{schedule}",))]
