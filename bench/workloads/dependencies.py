"""Jobs that depend on others: what it costs to enqueue them, and what the ends of their parents cost."""

from collections.abc import Callable, Sequence

from bench.measure import Figure, Options, Side, rounds, timed
from bench.scratch import Scratch
from bench.workers import writer
from queuectl import Queue, Spec
from queuectl.clock import now
from queuectl.decisions import Outcome, Report

BATCH = 64
"""Ends that one turn reports."""


def run(options: Options, scratch: Scratch) -> list[Figure]:
    """Jobs a second enqueued, and microseconds for each end."""
    jobs = options.of(100_000, 5_000)
    return [
        enqueueing(options, scratch, "all on one", fan(jobs)),
        enqueueing(options, scratch, "each on the one before", chain(jobs)),
        ends(options, scratch, options.of(20, 4)),
    ]


def fan(jobs: int) -> list[Spec]:
    """Jobs that all depend on the first."""
    return [Spec(command="true", id="first"), *[Spec(command="true", after=("first",))] * (jobs - 1)]


def chain(jobs: int) -> list[Spec]:
    """Jobs of which each depends on the one before it."""
    first = Spec(command="true", name="n0")
    return [first, *(Spec(command="true", name=f"n{place}", after=(f"@n{place - 1}",)) for place in range(1, jobs))]


def enqueueing(options: Options, scratch: Scratch, name: str, specs: Sequence[Spec]) -> Figure:
    """Jobs a second in one call, beside as many that depend on nothing."""

    def trial(specs: Sequence[Spec]) -> Callable[[], float]:
        def once() -> float:
            with Queue(scratch.database()) as queue:
                return len(specs) / timed(lambda: queue.enqueue_many(specs))

        return once

    plain = [Spec(command="true")] * len(specs)
    values, least = rounds(options.rounds, trial(specs), trial(plain), what=f"enqueueing, {name}")
    return Figure(
        name=f"enqueue of {len(specs):,} that depend: {name}",
        unit="jobs/s",
        better="higher",
        ours=values,
        floor=Side("itself, jobs that depend on nothing", least),
        goal=0.5,
    )


def ends(options: Options, scratch: Scratch, turns: int) -> Figure:
    """Microseconds for each end that unblocks a job, in turns that only report, beside ends that unblock none."""

    def trial(children: bool) -> Callable[[], float]:
        def once() -> float:
            with Queue(scratch.database()) as queue:
                parents = queue.enqueue_many(["true"] * BATCH * turns)
                if children:
                    queue.enqueue_many([Spec(command="true", after=(parent,), priority=-1) for parent in parents])
                hand = writer(queue)
                hand.start(BATCH)
                took = 0.0
                for _ in range(turns):
                    outcome = Outcome(exit_code=0, started_at=now(), run_seconds=0.001)
                    reports = [Report(claim.lease, outcome) for claim in hand.turn([], [], BATCH).claims]
                    took += timed(lambda reports=reports: hand.turn(reports, [], 0))
                if queue.status().counts["completed"] != BATCH * turns:
                    raise RuntimeError("not all have ended")
                return took / (BATCH * turns) * 1e6

        return once

    values, least = rounds(options.rounds, trial(True), trial(False), what="ends that unblock")
    return Figure(
        name=f"end that unblocks a job, {BATCH} in a turn",
        unit="us",
        better="lower",
        ours=values,
        floor=Side("itself, nothing depends on them", least),
        goal=2.2,
    )
