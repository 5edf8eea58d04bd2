"""What becomes of jobs that depend on others: blocked until those have ended as they have to, or cancelled (R32)."""

from collections.abc import Iterable, Mapping

import msgspec

from projections.dependencies import Parent
from projections.jobs import FINAL, Job
from queuectl.errors import Refused
from queuectl.events import Event, Unblocked, WaitingFor

WENT_WRONG = frozenset({"dead", "cancelled"})
"""The states of jobs that ended without having completed."""


class Standing(msgspec.Struct, frozen=True):
    """How a job stands with those that it depends on. It may start where it neither watches any nor never starts."""

    watching: str | None = None
    """The one to wait for: of those that have not ended the one that is expected to end last."""
    never: tuple[str, ...] = ()
    """Those that have ended so that it never starts."""


def standing(parents: Iterable[Parent]) -> Standing:
    """How a job stands with its parents, each of which has a state."""
    unfinished: list[Parent] = []
    never: list[str] = []
    failures: list[Parent] = []
    for parent in parents:
        if parent.kind == "after_failure":
            failures.append(parent)
        elif parent.state not in FINAL:
            unfinished.append(parent)
        elif parent.kind == "after" and parent.state in WENT_WRONG:
            never.append(parent.id)
    if failures and not any(parent.state in WENT_WRONG for parent in failures):
        left = [parent for parent in failures if parent.state not in FINAL]
        unfinished += left
        if not left:
            never += [parent.id for parent in failures]
    if never:
        return Standing(never=(*dict.fromkeys(never),))
    return Standing(max(unfinished, key=lambda parent: parent.place).id if unfinished else None)


def unblock(job: Job, found: Standing, because: str | None) -> list[Event]:
    """Have a blocked job wait for another of its parents, or start. `because`: the id of the parent that has ended."""
    if found.watching is None:
        return [Unblocked(because=because)]
    return [WaitingFor(parent=found.watching)] if found.watching != job.watching else []


def refuse_never(job: str | None, found: Standing, states: Mapping[str, str | None], hint: str = "") -> None:
    """Raise Refused where a job would never start. `states` are those of its parents, by id."""
    if found.never:
        words = ", ".join(f"{id} is {states[id]}" for id in found.never[:5])
        more = ", …" if len(found.never) > 5 else ""
        what = f"job {job}" if job is not None else "the job"
        raise Refused(f"{what} would never start: of what it depends on, {words}{more}{hint}")


def refuse_cascading(job: Job, what: str) -> None:
    """Raise Refused where jobs that depend on this one have not been looked at since it ended."""
    if job.cascading:
        raise Refused(
            f"job {job.id} can't be {what} yet: not all jobs that depend on it have been looked at since it ended;"
            " a worker does that, or queuectl recover"
        )
