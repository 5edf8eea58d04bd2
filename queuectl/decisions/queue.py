"""The decisions on queues: paused, resumed, limited."""

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from projections.queues import ALL, QueueState
from queuectl.clock import text
from queuectl.errors import Invalid, Refused
from queuectl.events import Event, QueueLimited, QueuePaused, QueueResumed, Rate
from queuectl.limits import check_limits


def pause(until: int | None, reason: str | None = None, *, suspend: bool = False) -> list[Event]:
    """Claim none of its jobs, for good or until a moment (µs UTC); one that is paused already is so anew.

    `suspend`: what runs is suspended as well.
    """
    return [QueuePaused(until=text(until) if until is not None else None, suspend=suspend, reason=reason)]


def resume(state: QueueState | None, everything: QueueState | None, now: int, reason: str | None = None) -> list[Event]:
    """Claim its jobs again; no events where it was not paused.

    `everything` is the state of all queues at once. Raises Refused for one queue while all are paused.
    """
    if state is not None and state.is_paused(now):
        return [QueueResumed(reason=reason)]
    if everything is not None and everything.is_paused(now) and (state is None or state.name != ALL):
        raise Refused("all queues are paused: `queuectl resume` without a name resumes them")
    return []


class LimitChanges(Struct, frozen=True, kw_only=True):
    """The limits of a queue that are to be others; UNSET: as it is. None takes a limit back."""

    concurrency: int | UnsetType | None = UNSET
    rate: Rate | UnsetType | None = UNSET
    burst: int | UnsetType = UNSET
    pause_on_failure: bool | UnsetType = UNSET


def limit(state: QueueState | None, changes: LimitChanges, reason: str | None = None) -> list[Event]:
    """Change limits of a queue; no events where nothing differs. Raises Invalid for what can't be."""
    state = state if state is not None else QueueState("", 0)
    rate = state.rate if changes.rate is UNSET else changes.rate
    if changes.burst is not UNSET:
        if rate is None:
            raise Invalid("a burst belongs to a rate: give the rate as well")
        rate = replace(rate, burst=changes.burst)
    elif rate is not None and state.rate is not None:
        rate = replace(rate, burst=state.rate.burst)
    after = QueueLimited(
        concurrency=state.concurrency if changes.concurrency is UNSET else changes.concurrency,
        rate=rate,
        pause_on_failure=state.pause_on_failure if changes.pause_on_failure is UNSET else changes.pause_on_failure,
        reason=reason,
    )
    check_limits(after)
    before = (state.concurrency, state.rate, state.pause_on_failure)
    return [after] if before != (after.concurrency, after.rate, after.pause_on_failure) else []
