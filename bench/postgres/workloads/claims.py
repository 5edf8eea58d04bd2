"""Claim and finish without a process, by 1 and 8 workers, beside their own statements alone."""

import os
from collections.abc import Callable
from contextlib import ExitStack
from multiprocessing.synchronize import Semaphore

import msgspec

from bench.measure import Figure, Options, Side, rounds
from bench.postgres.cluster import Cluster, cluster
from bench.postgres.crew import FORK, Part, together
from bench.postgres.recording import Played, Player, Script, begin, recorded, taken
from bench.scratch import Scratch
from bench.workers import turning, turns, writer
from bench.workloads.claims import check
from queuectl import Queue

PLAYED = "the same statements in the same round trips, played back"


WARM = 3
"""Turns of each worker before anything is timed: by then its statements are prepared."""


class Load(msgspec.Struct, frozen=True):
    """Who does how much. Each worker is on a host of its own: it has its own home."""

    workers: int
    batch: int
    turns: int
    """Of each worker, after which it finishes what it has claimed last."""

    @property
    def jobs(self) -> int:
        """Of all of them in the time that counts."""
        return self.workers * self.turns * self.batch

    @property
    def all_jobs(self) -> int:
        """With those before."""
        return self.workers * (WARM + self.turns) * self.batch


def run(options: Options, scratch: Scratch) -> list[Figure]:
    """Jobs a second in batches of 16 and of 64; a transaction finishes one batch and claims the next."""
    with cluster(scratch) as server:
        figures = [
            measure(options, scratch, server, load, f"claim + finish, {several(load.workers)}, batches of {load.batch}")
            for load in (
                Load(1, 16, options.of(200, 20)),
                Load(1, 64, options.of(100, 10)),
                Load(8, 16, options.of(40, 5)),
                Load(8, 64, options.of(20, 3)),
            )
        ]
    absolute = msgspec.structs.replace(figures[1], name=f"{figures[1].name}, here", floor=None, goal=5_000.0)
    return [*figures[:2], absolute, *figures[2:]]


def hosts(options: Options, scratch: Scratch) -> list[Figure]:
    """Jobs a second of 4 hosts, where each commit waits for a standby."""
    with cluster(scratch, standby=True) as server:
        name = "claim + finish, 4 hosts, synchronous standby, batches of 64"
        return [measure(options, scratch, server, Load(4, 64, options.of(40, 5)), name)]


def several(workers: int) -> str:
    """So many workers, in words."""
    return "1 worker" if workers == 1 else f"{workers} workers"


def measure(options: Options, scratch: Scratch, server: Cluster, load: Load, name: str) -> Figure:
    """One load, and what was sent for it."""
    origin = prepared(server, load)
    recordings = record(server.url(server.database(origin)), load)
    homes = [scratch.fresh() for _ in range(load.workers)]

    def trial(parts: Callable[[str], list[Part]]) -> Callable[[], float]:
        def once() -> float:
            database = server.database(origin)
            took = together(parts(database))
            with Queue(server.url(database)) as queue:
                check(queue, load.all_jobs)
            return load.jobs / took

        return once

    def ours(database: str) -> list[Part]:
        return [worker(server.url(database), home, number, load) for number, home in enumerate(homes)]

    def floor(database: str) -> list[Part]:
        return players(server.dsn(database), recordings)

    values, least = rounds(options.of(5, 1), trial(ours), trial(floor), what=name)
    return Figure(name=name, unit="jobs/s", better="higher", ours=values, floor=Side(PLAYED, least), goal=0.6)


def prepared(server: Cluster, load: Load) -> str:
    """The name of a database in which everything is ready for the load."""
    origin = server.database()
    with Queue(server.url(origin)) as queue:
        queue.enqueue_many(["true"] * load.all_jobs)
        for number in range(load.workers):
            writer(queue, f"bench{number}").start(load.batch)
    return origin


def record(url: str, load: Load) -> list[Played]:
    """What each worker sends, where they take turns one after the other."""
    with ExitStack() as stack:
        scripts = stack.enter_context(recorded())
        queues = [stack.enter_context(Queue(url)) for _ in range(load.workers)]
        hands = [writer(queue, f"bench{number}") for number, queue in enumerate(queues)]
        settings = begin(scripts)
        parts: list[list[Script]] = []
        for count in (WARM, load.turns):
            for _ in zip(*(turning(hand, count, load.batch) for hand in hands), strict=True):
                pass
            parts.append([taken(script) for script in scripts])
        check(queues[0], load.all_jobs)
        return [Played(*played) for played in zip(settings, *parts, strict=True)]


def worker(url: str, home: str, number: int, load: Load) -> Part:
    """A worker of ours."""

    def prepare() -> Callable[[], object]:
        os.environ["XDG_STATE_HOME"] = home
        hand = writer(Queue(url), f"bench{number}")
        turns(hand, WARM, load.batch)
        return lambda: turns(hand, load.turns, load.batch)

    return prepare


def players(dsn: str, recordings: list[Played]) -> list[Part]:
    """Those who play recordings back, and get at the lock in the order in which these were made."""
    turn = [FORK.Semaphore(int(number == 0)) for number in range(len(recordings))]
    return [
        playing(dsn, played, turn[number], turn[(number + 1) % len(recordings)])
        for number, played in enumerate(recordings)
    ]


def playing(dsn: str, played: Played, mine: Semaphore, following: Semaphore) -> Part:
    """One of them: whose turn is next may ask for the lock when this one has got it."""

    def prepare() -> Callable[[], object]:
        player = Player(dsn, played.settings)

        def through(script: Script) -> None:
            for trip in script:
                if trip.locks:
                    mine.acquire()
                player.play(trip)
                if trip.locks:
                    following.release()

        through(played.before)
        return lambda: through(played.timed)

    return prepare
