"""What `queue list` tells of each queue."""

from collections import Counter
from typing import Any

import msgspec

from projections.counts import Count
from projections.queues import ALL, QueueState
from queuectl.admission import UNSTARTED
from queuectl.clock import SECOND, text
from queuectl.engines.view import View


class QueueSummary(msgspec.Struct, frozen=True):
    """A queue: what was said of it, and what is in it. Moments are µs UTC."""

    state: QueueState
    processing: int
    suspended: int
    """Jobs among these that are suspended."""
    waiting: int
    """Jobs that wait and are not held."""
    held: int
    dead: int
    oldest: int | None
    """Since when the first of those that wait could have started; None: none is due."""
    now: int
    """The moment of which this tells."""

    @property
    def name(self) -> str:
        """Its name; `ALL`: what was said of all queues at once."""
        return self.state.name

    @property
    def is_paused(self) -> bool:
        """Whether it is paused, by itself."""
        return self.state.is_paused(self.now)

    def json(self) -> dict[str, Any]:
        """The document of a queue; its name is null where it stands for all of them."""
        state, rate = self.state, self.state.rate
        return {
            "queue": self.name or None,
            "processing": self.processing,
            "suspended": self.suspended,
            "waiting": self.waiting,
            "held": self.held,
            "dead": self.dead,
            "oldest_wait": (self.now - self.oldest) / SECOND if self.oldest is not None else None,
            "concurrency": state.concurrency,
            "rate": rate.text if rate is not None else None,
            "burst": rate.burst if rate is not None else None,
            "pause_on_failure": state.pause_on_failure,
            "paused": self.is_paused,
            "paused_at": _text(state.paused_at) if self.is_paused else None,
            "paused_until": _text(state.paused_until) if self.is_paused else None,
            "paused_by": state.paused_by if self.is_paused else None,
            "suspends": state.suspends(self.now),
            "paused_job": state.paused_job if self.is_paused else None,
            "reason": state.paused_reason if self.is_paused else None,
        }


def _text(moment: int | None) -> str | None:
    return text(moment) if moment is not None else None


def summaries(view: View, now: int) -> list[QueueSummary]:
    """All queues that a job, a limit or a pause has named, by name; first what was said of all of them."""
    states = {name: gate.state for name, gate in view.gates().items()}
    counts: dict[str, list[Count]] = {}
    for count in view.all_counts():
        counts.setdefault(count.queue, []).append(count)
    suspended = Counter(job.queue for job in view.processing() if job.suspended_at is not None)
    found: list[QueueSummary] = []
    for name in sorted({*states, *counts}):
        of = counts.get(name, [])
        waiting = [count for count in of if count.state in UNSTARTED]
        due = view.next_due((name,)) if name != ALL else None
        found.append(
            QueueSummary(
                state=states.get(name) or QueueState(name, 0),
                processing=sum(count.jobs for count in of if count.state == "processing"),
                suspended=suspended[name],
                waiting=sum(count.jobs for count in waiting if not count.held),
                held=sum(count.jobs for count in waiting if count.held),
                dead=sum(count.jobs for count in of if count.state == "dead"),
                oldest=due if due is not None and due <= now else None,
                now=now,
            )
        )
    return found
