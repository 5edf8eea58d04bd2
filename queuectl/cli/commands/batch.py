"""`queuectl batch`: the batches, and how far each is."""

from typing import TYPE_CHECKING, Any

from queuectl.cli import opening
from queuectl.cli import parameters as p
from queuectl.cli.ui import output

if TYPE_CHECKING:
    from queuectl.batch_summary import BatchSummary

HEADS = ("BATCH", "JOBS", "ENDED", "COMPLETED", "DEAD", "CANCELLED", "RUNNING", "HALT", "OPENED")


def list_batches(*, json: p.JsonLines = False, db: p.Database = None) -> None:
    """List the batches, the latest first: how many jobs each has, and how they ended.

    $ queuectl batch list
    $ queuectl batch list --json | jq -r 'select(.halted).batch'

    A batch begins with the first job that is enqueued with its name (--batch).
    """
    with opening.open_queue(db) as q:
        found = q.batches()
        if json:
            output.documents(each.json() for each in found)
            return
        numbers = HEADS[1:7]
        if not output.table(HEADS, map(_row, found), right=numbers):
            output.message("there are no batches; add jobs to one with `queuectl enqueue --batch NAME COMMAND`")


def _row(batch: "BatchSummary") -> tuple[Any, ...]:
    from queuectl.cli.ui import wording

    counts = batch.counts
    return (
        batch.name, f"{batch.total:,}", f"{batch.ended:,}",
        *(output.Cell(f"{counts[state]:,}", state if counts[state] else "dim")
          for state in ("completed", "dead", "cancelled")),
        f"{counts['processing']:,}",
        output.Cell(halt_text(batch), "failed" if batch.state.is_halted else None),
        wording.local_time(batch.state.opened_at),
    )  # fmt: skip


def halt_text(batch: "BatchSummary") -> str:
    """Return the rule of a batch, and whether it is halted."""
    rule = batch.state.halt or ""
    return f"halted: {rule}" if batch.state.is_halted else rule
