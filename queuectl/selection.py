"""Which jobs may be claimed: the best that nothing keeps from starting, within limits of queues (R30, R31)."""

from collections.abc import Collection, Sequence

import msgspec

from projections.jobs import Job
from projections.queues import ALL, QueueGate
from queuectl.admission import Facts, first
from queuectl.engines.view import View


class ClaimSelection(msgspec.Struct):
    """What is to be claimed, and what kept more from being claimed."""

    jobs: list[tuple[Job, QueueGate | None]] = []
    """Best first, each with the gate of its queue as it is when all before it are claimed."""
    closed: bool = False
    """Whether queues were passed over that are paused or have reached a limit."""
    slots_wanted: bool = False
    """Whether jobs were left because they are not claimed ahead: each needs a free slot."""


def select(
    view: View, queues: Sequence[str], now: int, want: int, free: int, among: Sequence[Job] | None = None
) -> ClaimSelection:
    """Select at most `want` jobs of these queues (none named: of all), `free` of them for free slots.

    `among`: only of these jobs, which are due and in order. What is claimed ahead of a free slot is of queues without
    limits: where others wait for the limit, or for their time, a claim that only waits would be in their way.
    """
    gates = view.gates()
    closed = {name for name, gate in gates.items() if gate.is_closed(now)}
    selection = ClaimSelection(jobs=[], closed=bool(closed))
    facts = Facts(gates=gates)
    taken: set[str] = set()
    while len(taken) < want:
        asked = len(closed)
        for job in among if among is not None else _candidates(view, queues, now, want, closed):
            if len(taken) == want:
                break
            if job.id in taken or (job.queue in closed and not job.forced):
                continue
            gate = gates.get(job.queue)
            if gate is not None and gate.state.is_limited and len(taken) >= free:
                selection.slots_wanted = True
                closed.add(job.queue)
            elif first(job, facts, now) is not None:
                selection.closed = True
                closed.add(job.queue)
            else:
                selection.jobs.append((job, gate))
                taken.add(job.id)
                if gate is not None:
                    gates[job.queue] = gate.started(now)
        if len(closed) == asked:
            break  # none was closed meanwhile: there are no more
    return selection


def _candidates(view: View, queues: Sequence[str], now: int, want: int, closed: Collection[str]) -> Sequence[Job]:
    return view.forced(queues)[:want] if ALL in closed else view.due(queues, want, now, closed)
