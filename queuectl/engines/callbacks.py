"""The callbacks of jobs that end within one transaction are added in it, so that each end has them once (R32)."""

from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from projections.jobs import Job
from queuectl import decisions, policy
from queuectl.errors import Invalid
from queuectl.events import Cancelled, Cascaded, Completed, Dead, Enqueued, Requeued, Trigger
from queuectl.settings import Settings, stored_settings

if TYPE_CHECKING:
    from queuectl.engines.view import Transaction, View

FARTHEST = 64
"""How many jobs back, of which one enqueued the next, callbacks are counted."""


class Called(msgspec.Struct, frozen=True):
    """The callbacks of a job that comes to a final state."""

    job: Job
    """As it was before."""
    state: str
    """The state of which they tell."""
    lines: list[str]
    """Their command lines."""


class Callbacks:
    """Adds callbacks within one transaction. Their policies are made of stored settings alone."""

    def __init__(self, tx: "Transaction") -> None:
        self._tx = tx

    def of(self, job: Job, state: str) -> Called:
        """The callbacks of a job that comes to a final state."""
        return self._called(job, decisions.end_to_tell(job, state))

    def left(self, job: Job) -> Called:
        """The callbacks that were left for later when this job ended; none where they were added then."""
        untold: str | None = None
        has_ended = False
        for record in self._tx.stream(f"job:{job.id}"):
            event = record.event
            if isinstance(event, Completed | Dead | Cancelled):
                # A dead job may be cancelled before it was told that it died.
                untold = None if not event.cascade else untold or (record.type if not has_ended else None)
                has_ended = True
            elif isinstance(event, Requeued):
                has_ended = False
            elif isinstance(event, Cascaded):
                untold = None
        return self._called(job, untold)

    def _called(self, job: Job, state: str | None) -> Called:
        """The callbacks that tell of this end (None: of none); none where too many have led to the job."""
        if state is None:
            return Called(job, job.state, [])
        lines = decisions.callbacks(job.policy, state, self.stored("on-dead") if state == "dead" else None)
        if lines and depth(self._tx, job.policy.trigger) >= decisions.DEEPEST:
            lines = []
        return Called(job, state, lines)

    def add(self, called: Iterable[Called], actor: str) -> None:
        """Add these."""
        new: list[Enqueued] = []
        for each in called:
            new += [decisions.callback(self._base, each.job, each.state, line, self._tx.now) for line in each.lines]
        self._add(new, actor)

    def add_on_empty(self, line: str, actor: str) -> None:
        """Add the callback for that nothing is left to do."""
        self._add([decisions.on_empty(self._base, line, self._tx.now)], actor)

    def _add(self, new: list[Enqueued], actor: str) -> None:
        if new:
            self._tx.append_new(zip(map(str, self._tx.numbers(len(new))), new, strict=True), actor)

    def stored(self, key: str) -> str | None:
        """The command line that `config set` has stored under this key, `on-dead` or `on-empty`."""
        config = self._tx.config()
        if config is None or key not in config.values:
            return None
        return self._settings.on_dead if key == "on-dead" else self._settings.on_empty

    @cached_property
    def _settings(self) -> Settings:
        config = self._tx.config()
        return stored_settings(config.values if config is not None else {})

    @cached_property
    def _base(self) -> Enqueued:
        return policy.template(self._settings, "/")


def depth(view: "View", trigger: Trigger | None) -> int:
    """How many callbacks led to a job with this trigger, one after the other, among the last `FARTHEST` jobs."""
    found = 0
    for _ in range(FARTHEST):
        if trigger is None:
            break
        found += trigger.is_callback
        first = view.stream(f"job:{trigger.job}")[:1] if trigger.job is not None else []
        event = first[0].event if first else None
        trigger = event.trigger if isinstance(event, Enqueued) else None
    return found


def refuse_too_deep(view: "View", policy: Enqueued) -> None:
    """Raise Invalid where a job is to have callbacks though too many have led to it."""
    if policy.trigger is None:
        return
    asked = [name for name in ("on_complete", "on_failure", "on_end") if getattr(policy, name) is not None]
    if asked and depth(view, policy.trigger) >= decisions.DEEPEST:
        raise Invalid(
            f"{asked[0]}: {decisions.DEEPEST} callbacks have led to this job, one by the other: no more follow"
        )
