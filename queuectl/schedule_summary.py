"""What `schedule list` tells of each schedule."""

from typing import Any

import msgspec

from projections.schedules import ScheduleState
from queuectl.clock import text
from queuectl.decisions.schedule import next_look, upcoming
from queuectl.errors import Invalid
from queuectl.queries import Queries
from queuectl.schedule_terms import recurrence_of


class ScheduleSummary(msgspec.Struct, frozen=True):
    """A schedule: what was said of it, and what comes next. Moments are µs UTC."""

    state: ScheduleState
    words: str
    """When it recurs, in words."""
    next: int | None
    """The moment that comes next, where it is not paused; None: there is none any more."""
    due: bool = False
    """Whether moments have come, and no worker has fired or skipped them yet."""
    error: str | None = None
    """Why the moments can't be told here: the time zone is not known."""

    @property
    def name(self) -> str:
        """Its name."""
        return self.state.name

    @property
    def condition(self) -> str:
        """`active`, `paused`, or `ended`: there are no moments any more, and all that have come are decided."""
        if self.state.paused_at is not None:
            return "paused"
        return "active" if self.waits or self.error is not None else "ended"

    @property
    def waits(self) -> bool:
        """Whether there is, or will be, something for workers to fire."""
        return self.next is not None or self.due

    def json(self) -> dict[str, Any]:
        """The document of a schedule."""
        state, job = self.state, self.state.job
        return {
            "schedule": state.name,
            "state": self.condition,
            "cron": state.cron,
            "tz": state.tz,
            "every": state.every,
            "anchor": _text(state.anchor),
            "words": self.words,
            "command": job.runnable.text,
            "queue": job.queue,
            "cwd": job.cwd,
            "options": {name: getattr(job, name) for name in state.said if name not in ("queue", "cwd")},
            "catch_up": state.catch_up,
            "window": state.window,
            "overlap": state.overlap,
            "jitter": state.jitter,
            "until": _text(state.until),
            "pause_on_failure": state.pause_on_failure,
            "next_at": _text(self.next),
            "last_at": _text(state.last_moment),
            "last_job": state.last_job,
            "fired": state.fired,
            "skipped": state.skipped,
            "added_at": text(state.added_at),
            "added_by": state.added_by,
            "paused_at": _text(state.paused_at),
            "paused_by": state.paused_by,
            "paused_job": state.paused_job,
            "reason": state.paused_reason,
            "error": self.error,
        }


def any_fires(queue: Queries) -> bool:
    """Whether any worker is up that fires schedules: one that is private to a command does not."""
    workers = [each for each in queue.workers() if each.slots > 0 and not each.private]
    return any(queue.sees(each) is not False for each in workers)


def _text(moment: int | None) -> str | None:
    return text(moment) if moment is not None else None


def summarize(state: ScheduleState, now: int) -> ScheduleSummary:
    """What there is to tell of a schedule at a moment."""
    try:
        words = recurrence_of(state).words
        following = next(upcoming(state, now), None) if state.paused_at is None else None
        look = next_look(state, now)
    except Invalid as error:
        return ScheduleSummary(state, state.cron or "", None, error=str(error))
    return ScheduleSummary(state, words, following, due=look is not None and look <= now)
