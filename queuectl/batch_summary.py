"""What `batch list` tells of each batch."""

from typing import Any

import msgspec

from projections.batches import BatchState
from projections.jobs import FINAL, STATES
from queuectl.clock import text
from queuectl.engines.view import View


class BatchSummary(msgspec.Struct, frozen=True):
    """A batch: what was said of it, and how many of its jobs are in each state."""

    state: BatchState
    counts: dict[str, int]
    """Every state, in the order of `projections.jobs.STATES`; those that were archived count, those purged don't."""

    @property
    def name(self) -> str:
        """Its name."""
        return self.state.name

    @property
    def total(self) -> int:
        """Jobs of all states."""
        return sum(self.counts.values())

    @property
    def ended(self) -> int:
        """How many have ended, however they did."""
        return sum(jobs for state, jobs in self.counts.items() if state in FINAL)

    def json(self) -> dict[str, Any]:
        """The document of a batch."""
        state = self.state
        return {
            "batch": state.name,
            **self.counts,
            "total": self.total,
            "halt": state.halt,
            "halted": state.is_halted,
            "halted_at": text(state.halted_at) if state.halted_at is not None else None,
            "opened_at": text(state.opened_at),
            "opened_by": state.opened_by,
        }


def summary(state: BatchState, counts: dict[str, int]) -> BatchSummary:
    """The summary of a batch with so many jobs in some of the states."""
    return BatchSummary(state, {each: counts.get(each, 0) for each in STATES})


def summaries(view: View) -> list[BatchSummary]:
    """All batches, the one that was opened last first."""
    counts = view.all_batch_counts()
    return [summary(state, counts.get(state.name, {})) for state in view.batch_states()]
