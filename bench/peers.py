"""Other queues from PyPI, where they are installed (`pip install -e '.[bench]'`), each with its own idea of durable.

They keep Python objects and know neither attempts nor a history (dbos does), so they do less for a job.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import msgspec

from bench.measure import Options, Side, seconds, timed

Doing = Callable[[str, int], float]
"""What takes a fresh folder and a number of jobs, and returns how many seconds they took."""


class Peer(msgspec.Struct, frozen=True):
    """Another queue and its two sides, one job at a time."""

    name: str
    package: str
    durability: str
    put: Doing
    """Enqueue them."""
    take: Doing
    """Take each and say that it is done; enqueued before."""


def installed(options: Options) -> list[Peer]:
    """Those that can be imported here; none for a quick run."""
    return [peer for peer in PEERS if not options.quick and importlib.util.find_spec(peer.package) is not None]


def sides(peers: Sequence[Peer], values: Sequence[list[float]]) -> list[Side]:
    """What was measured of them."""
    return [Side(peer.name, mine, peer.durability) for peer, mine in zip(peers, values, strict=True)]


def huey(folder: str, jobs: int, *, fsync: bool, taking: bool) -> float:
    """Tasks of huey without a consumer; a task that is taken is gone, so finishing it is to keep its result."""
    queue: Any = importlib.import_module("huey").SqliteHuey("bench", filename=f"{folder}/huey.db", fsync=fsync)

    def nothing() -> None:
        pass

    task = queue.task()(nothing)

    def put() -> None:
        for _ in range(jobs):
            task()

    def take() -> None:
        for _ in range(jobs):
            queue.execute(queue.dequeue())

    return measured(put, take, taking=taking)


def litequeue(folder: str, jobs: int, *, taking: bool) -> float:
    """Messages of litequeue: locked when taken, and done."""
    queue: Any = importlib.import_module("litequeue").LiteQueue(f"{folder}/litequeue.db")

    def put() -> None:
        for _ in range(jobs):
            queue.put("true")

    def take() -> None:
        for _ in range(jobs):
            queue.done(queue.pop().message_id)

    return measured(put, take, taking=taking)


def persist_queue(folder: str, jobs: int, *, taking: bool) -> float:
    """Items of persist-queue's SQLiteAckQueue: taken, and acknowledged."""
    queue: Any = importlib.import_module("persistqueue").SQLiteAckQueue(folder)

    def put() -> None:
        for _ in range(jobs):
            queue.put("true")

    def take() -> None:
        for _ in range(jobs):
            queue.ack(queue.get())

    return measured(put, take, taking=taking)


def measured(put: Callable[[], None], take: Callable[[], None], *, taking: bool) -> float:
    """The seconds of one of the two; what is to be taken is put before."""
    if not taking:
        return timed(put)
    put()
    return timed(take)


DBOS = """
import sys, time
from dbos import DBOS

folder, jobs, taking = sys.argv[1], int(sys.argv[2]), sys.argv[3] == "take"
DBOS(config={"name": "bench", "system_database_url": f"sqlite:///{folder}/dbos.db", "run_admin_server": False,
             "log_level": "ERROR"})

@DBOS.workflow()
def nothing() -> None:
    pass

DBOS.launch()
DBOS.register_queue("bench", polling_interval_sec=0.01 if taking else 3600.0)
began = time.monotonic()
handles = [DBOS.enqueue_workflow("bench", nothing) for _ in range(jobs)]
if taking:
    for handle in handles:
        handle.get_result()
print(time.monotonic() - began, file=open(f"{folder}/seconds", "w"))
DBOS.destroy()
"""


def dbos(folder: str, jobs: int, *, taking: bool) -> float:
    """Workflows of dbos that do nothing, in a process of their own, since it starts threads.

    Its workers can't be kept from working while jobs are enqueued, so to take them means to enqueue them as well.
    """
    seconds([sys.executable, "-c", DBOS, folder, str(jobs), "take" if taking else "put"])
    with open(f"{folder}/seconds", encoding="utf-8") as file:
        return float(file.read())


def peer(name: str, package: str, durability: str, doing: Callable[..., float], **how: bool) -> Peer:
    """A peer from a function with `taking`."""
    return Peer(name, package, durability, partial(doing, taking=False, **how), partial(doing, taking=True, **how))


RIVAL = "huey, fsync"
"""The peer that an enqueue is to be ahead of: the best known of those that are as durable."""
PEERS = (
    peer(RIVAL, "huey", "power cut (WAL, FULL)", huey, fsync=True),
    peer("huey, no fsync", "huey", "death of the program only (WAL, OFF)", huey, fsync=False),
    peer("litequeue", "litequeue", "a power cut may lose the last commits (WAL, NORMAL)", litequeue),
    peer("persist-queue", "persistqueue", "power cut (WAL, FULL)", persist_queue),
    peer("dbos", "dbos", "power cut (rollback journal, FULL)", dbos),
)
