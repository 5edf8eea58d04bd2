"""What ends do to the batches of the jobs that ended: one whose rule is met is halted, and its jobs are cancelled."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from projections.batches import BatchState, stream
from projections.jobs import Job
from queuectl import decisions
from queuectl.admission import WAITING
from queuectl.decisions import JobEnd
from queuectl.events import Cascaded
from queuectl.halt import halt_rule

if TYPE_CHECKING:
    from queuectl.engines.view import Transaction


def halted_jobs(tx: "Transaction", ends: Sequence[JobEnd], most: int, actor: str) -> tuple[list[Job], bool]:
    """The jobs that are to be cancelled because their batches are halted, at most so many; whether any are left.

    The ends are in the tables. A batch whose rule they meet is halted here.
    """
    found: list[Job] = []
    left = False
    for name in dict.fromkeys(end.job.batch for end in ends if end.job.batch is not None):
        batch = tx.batch_state(name)
        if batch is None or batch.halt is None:
            continue
        if batch.is_halted:
            # What was given back or failed would wait, if it were not cancelled as all that waits was.
            again = [tx.job(end.job.id) for end in ends if end.job.batch == name]
            found += [job for job in again if job is not None and job.state in WAITING]
        elif events := decisions.halt(batch, tx.batch_counts(batch.name)):
            room = max(0, most - len(found))
            members = tx.unended_members(batch.name, limit=room + 1, running=_ends_running(batch))
            if len(members) > room:
                members.pop()
                events = [replace(events[0], cascade=True)]
                left = True
            tx.append_to(stream(batch.name), batch, events, actor)
            found += members
    return found, left


def further_halted_jobs(tx: "Transaction", batch: BatchState, most: int, actor: str) -> list[Job]:
    """More jobs of a halted batch that are to be cancelled; where these are the last, `cascaded` is appended."""
    found = tx.unended_members(batch.name, limit=most + 1, running=_ends_running(batch))
    if len(found) <= most:
        tx.append_to(stream(batch.name), batch, [Cascaded()], actor)
    return found[:most]


def _ends_running(batch: BatchState) -> bool:
    return halt_rule(batch.halt or "").when == "now"
