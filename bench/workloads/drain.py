"""5,000 jobs `true`, and 2,000 that execute a program, by a real `queuectl worker start --drain`, beside `xargs -P`.

Timed from its start to its exit.
"""

import shutil
import subprocess

import msgspec

from bench.measure import Figure, Options, Side, Trial, queuectl, rounds, seconds
from bench.scratch import Scratch
from queuectl import Queue


class Runner(msgspec.Struct, frozen=True):
    """Another program that runs a list of commands."""

    name: str
    durability: str
    script: str
    """Shell; `{slots}`, `{jobs}` and `{folder}` are filled in."""


PARALLEL = Runner(
    "GNU parallel",
    "none: what has not run is forgotten when it dies",
    "seq {jobs} | parallel --will-cite -j {slots} -n1 sh -c true",
)
SPOOLER = Runner(
    "task-spooler",
    "none: the queue is in the server's memory",
    """
    export TS_SOCKET={folder}/socket TMPDIR={folder} TS_MAXFINISHED={jobs}
    {program} -S {slots} && for i in $(seq {jobs}); do {program} sh -c true; done && {program} -w && {program} -K
    """,
)


def run(options: Options, scratch: Scratch) -> list[Figure]:
    """Jobs a second with 1, 2, 4 and 8 slots of one worker, and with 4 workers of 2; and those that are no builtin."""
    jobs = options.of(5_000, 1_000)
    goals = {1: 0.9, 2: 0.82, 4: 0.9, 8: 0.9}
    figures = [
        measure(options, scratch, 1, slots, jobs, goal, runners(options) if slots == 2 else [])
        for slots, goal in options.of(goals, {2: 0.82}).items()
    ]
    external = measure(options, scratch, 1, 2, options.of(2_000, 500), 0.8, [], "/usr/bin/env true")
    # Four workers take long to come up beside a short drain: the quick form has more jobs here, and a lower goal.
    many = measure(options, scratch, 4, 2, options.of(5_000, 4_000), options.of(1.0, 0.8), [])
    return [*figures, many, external]


def measure(
    options: Options,
    scratch: Scratch,
    workers: int,
    slots: int,
    jobs: int,
    goal: float,
    others: list[Runner],
    program: str = "",
) -> Figure:
    """One number of workers and slots, and the others with as many slots in all; `program`: instead of `true`."""
    total = workers * slots
    few = jobs // 10  # some of the others take ten times as long

    def theirs(runner: Runner) -> Trial:
        return lambda: few / shell(runner.script.format(slots=total, jobs=few, folder=scratch.fresh()))

    what = f"slots {slots}" if workers == 1 else f"{workers} workers, slots {slots} each"
    if program:
        what = f"a program, {what}"
    xargs = f"xargs -P {total} -n1 {program or 'sh -c true'}"
    values, least, *rest = rounds(
        options.rounds,
        lambda: jobs / drained(scratch.database(), workers, slots, jobs, program or "true"),
        lambda: jobs / shell(f"seq {jobs} | {xargs}"),
        *map(theirs, others),
        what=f"drain, {what}",
    )
    return Figure(
        name=f"drain of {jobs:,}, {what}",
        unit="jobs/s",
        better="higher",
        ours=values,
        floor=Side(f"{xargs}, for as many; nothing is written down", least),
        goal=goal,
        peers=[Side(runner.name, mine, runner.durability) for runner, mine in zip(others, rest, strict=True)],
    )


def drained(database: str, workers: int, slots: int, jobs: int, line: str = "true") -> float:
    """Ours, in seconds; enqueued before. Raises RuntimeError unless each job completed in one attempt."""
    with Queue(database) as queue:
        queue.enqueue_many([line] * jobs)
    crew = ["--count", str(workers), "--slots", str(slots)]
    took = seconds([*queuectl(), "worker", "start", "--drain", *crew, "--db", database])
    with Queue(database) as queue:
        completed = queue.status().counts["completed"]
        claims = sum(1 for _ in queue.events(type="claimed"))
        released = sum(1 for _ in queue.events(type="released"))
    if completed != jobs or claims - released != jobs:
        raise RuntimeError(f"of {jobs} jobs {completed} completed, in {claims - released} attempts: see {database}")
    return took


def shell(script: str) -> float:
    """The seconds that a line of shell takes."""
    return seconds(["sh", "-c", script])


def runners(options: Options) -> list[Runner]:
    """The other programs that this system has; none for a quick run."""
    if options.quick:
        return []
    found = [PARALLEL] if shutil.which("parallel") else []
    spooler = next((name for name in ("tsp", "ts") if is_spooler(name)), None)
    if spooler is not None:
        found.append(msgspec.structs.replace(SPOOLER, script=SPOOLER.script.replace("{program}", spooler)))
    return found


def is_spooler(name: str) -> bool:
    """Whether a program is there and is task-spooler: moreutils has another `ts`."""
    if shutil.which(name) is None:
        return False
    told = subprocess.run([name, "-V"], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    return "Task Spooler" in told.stdout + told.stderr
