"""The rows in which queues are shown, of `queue list` and `top`."""

from typing import TYPE_CHECKING, Any

from queuectl import units
from queuectl.cli.ui import output, wording
from queuectl.clock import SECOND

if TYPE_CHECKING:
    from queuectl.queue_summary import QueueSummary

HEADS = ("QUEUE", "RUNNING", "WAITING", "HELD", "LIMITS", "OLDEST WAIT", "PAUSED")
RIGHT = ("RUNNING", "WAITING", "HELD")
"""The columns that are aligned to the right."""


def is_shown(queue: "QueueSummary") -> bool:
    """Whether it has a row: that of all queues at once only while they are paused."""
    return bool(queue.name) or queue.is_paused


def queue_row(queue: "QueueSummary") -> tuple[Any, ...]:
    """Return the cells of a queue."""
    limit = queue.state.concurrency
    running = f"{queue.processing:,}" + (f"/{limit:,}" if limit is not None else "")
    running += f" ({queue.suspended:,} suspended)" if queue.suspended else ""
    oldest = units.span(max(0.0, (queue.now - queue.oldest) / SECOND)) if queue.oldest is not None else ""
    paused = wording.pause(queue.state, queue.now)
    return (
        queue.name or "(all)", running, f"{queue.waiting:,}", f"{queue.held:,}" if queue.held else "",
        wording.queue_limits(queue.state) if queue.state.has_limits else "", oldest,
        output.Cell(paused, "failed") if paused else "",
    )  # fmt: skip
