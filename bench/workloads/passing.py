"""What a worker's turn costs where jobs are in front that can't start (R31), beside itself without them."""

from collections.abc import Callable

from bench.measure import Figure, Options, Trial, timed
from bench.scratch import Scratch
from bench.workers import turns, writer
from bench.workloads.backlog import compared
from queuectl import Queue, Spec

TURNS = 200


def run(options: Options, scratch: Scratch) -> list[Figure]:
    """A turn of one job, past 100,000 jobs in 1, 10 and 100 lanes, and past a paused queue of 1,000."""
    jobs, many = options.of(100_000, 5_000), options.of(1_000, 100)
    figures = [
        measured(options, scratch, f"turn past {jobs:,} jobs in {lanes} lanes", goal, occupied(lanes, jobs))
        for lanes, goal in ((1, 1.5), (10, 1.5), (100, None))
    ]
    name = f"turn past {jobs:,} jobs of one paused queue, {many:,} others"
    return [*figures, measured(options, scratch, name, None, paused(many, jobs))]


def measured(
    options: Options, scratch: Scratch, name: str, goal: float | None, prepare: Callable[[Queue], None]
) -> Figure:
    """One kind of jobs in front."""
    with Queue(scratch.database()) as full, Queue(scratch.database()) as empty:
        for queue in (full, empty):
            writer(queue).start(1)
        prepare(full)
        return compared(options, name, "none in front", goal, turning(full), turning(empty))


def turning(queue: Queue) -> Trial:
    """Microseconds for a turn that finishes a job and claims the next."""
    hand = writer(queue)

    def trial() -> float:
        queue.enqueue_many(["true"] * TURNS)
        return 1e6 * timed(lambda: turns(hand, TURNS, 1)) / TURNS

    return trial


def occupied(lanes: int, jobs: int) -> Callable[[Queue], None]:
    """Jobs that need what others have, each lane another resource."""

    def prepare(queue: Queue) -> None:
        queue.enqueue_many(Spec(command="true", needs={f"r{lane}": 1}) for lane in range(lanes))
        if len(writer(queue).turn([], [], lanes).claims) != lanes:
            raise RuntimeError("the resources are not taken")
        queue.enqueue_many(Spec(command="true", priority=1, needs={f"r{n % lanes}": 1}) for n in range(jobs))

    return prepare


def paused(queues: int, jobs: int) -> Callable[[Queue], None]:
    """Jobs of a paused queue, and one job, due later, of each of many others."""

    def prepare(queue: Queue) -> None:
        queue.enqueue_many(Spec(command="true", priority=1, queue="paused") for _ in range(jobs))
        queue.enqueue_many(Spec(command="true", queue=f"queue-{n}", delay=86_400.0) for n in range(queues))
        queue.pause("paused")

    return prepare
