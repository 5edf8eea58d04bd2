"""The decisions on a batch: opened with its first jobs, halted by its rule, opened again by a retry."""

import shlex
from collections.abc import Mapping

from projections.batches import BatchState
from queuectl.errors import Refused
from queuectl.events import BatchHalted, BatchOpened, BatchReopened, Event
from queuectl.halt import halt_rule


def join(name: str, batch: BatchState | None, halt: str | None) -> list[Event]:
    """What adding jobs to a batch does to it, which is opened by the first ones.

    Raises Refused where it is halted, or has another rule than `halt` (None: none was named).
    """
    if batch is None:
        return [BatchOpened(halt=halt)]
    if batch.is_halted:
        again = f"`queuectl retry --batch {shlex.quote(name)}` runs again what died and what was cancelled"
        raise Refused(f"batch {name} is halted ({batch.halt}): nothing is added to it; {again}; or choose another name")
    if halt not in (None, batch.halt):
        has = f"has the rule {batch.halt}" if batch.halt is not None else "was opened without a rule"
        raise Refused(f"batch {name} {has}, not {halt}: leave --halt away, or choose another name")
    return []


def halt(batch: BatchState, counts: Mapping[str, int]) -> list[BatchHalted]:
    """Halt a batch with so many jobs in each state, where its rule is met."""
    if batch.halt is None or batch.is_halted or not halt_rule(batch.halt).is_met(counts):
        return []
    return [
        BatchHalted(
            rule=batch.halt,
            completed=counts.get("completed", 0),
            dead=counts.get("dead", 0),
            cancelled=counts.get("cancelled", 0),
            total=sum(counts.values()),
        )
    ]


def reopen(batch: BatchState, reason: str | None = None) -> list[Event]:
    """Have jobs of a batch run again. No events where it is not halted.

    Raises Refused where not all that waited has been cancelled yet.
    """
    if batch.cascading:
        raise Refused(
            f"batch {batch.name} was just halted, and not all of its jobs are cancelled yet: a worker does that, or "
            "queuectl recover"
        )
    return [BatchReopened(reason=reason)] if batch.is_halted else []
