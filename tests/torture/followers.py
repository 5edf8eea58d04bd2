"""Eight write to a queue in PostgreSQL and four follow its log; they, and their sessions, are killed at random.

Four processes enqueue, four workers run what they enqueue. Whoever follows goes on behind the last whole line that it
wrote. In the end each must have every event once, in order, and each job must have run once.
"""

import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import msgspec
import psycopg

from queuectl import Queue
from queuectl.clock import monotonic
from queuectl.engines.postgres.errors import Unreachable
from tests.support.paths import ROOT
from tests.support.postgres.keeper import OWNER, Keeper, make_owner, room
from tests.support.postgres.servers import Servers
from tests.torture import kills
from tests.torture.verdict import Breach, Figures, Run

FOLLOWERS = WORKERS = ENQUEUERS = 4

ENQUEUE = """
import sys
from tests.torture.followers import acknowledge
acknowledge(sys.argv[1], sys.argv[2], int(sys.argv[3]))
"""


def acknowledge(folder: str, url: str, seed: int) -> None:
    """Enqueue a few jobs at a time until the file `over` is there, and write down each id once it is acknowledged."""
    rng = random.Random(seed)
    with Queue(url) as queue, open(f"{folder}/acknowledged", "a", buffering=1) as book:
        while not Path(folder, "over").exists():
            specs = [kills.spec(rng, folder, hidden=False) for _ in range(rng.choice((1, 1, 3, 10)))]
            while True:
                try:
                    ids = queue.enqueue_many(specs)
                except Unreachable:
                    continue  # its session was ended, and nothing was written
                break
            book.write("".join(f"{id}\n" for id in ids))
            time.sleep(rng.uniform(0, 0.4))


class Seen(NamedTuple):
    """What a follower made of the log."""

    skipped: int
    twice: int
    disordered: int


def seen(seqs: Sequence[int], head: int) -> Seen:
    """Compare what it saw with a log that has all events up to `head`."""
    once = set(seqs)
    late = sum(later <= earlier for earlier, later in pairwise(seqs))
    return Seen(len(set(range(1, head + 1)) - once), len(seqs) - len(once), late)


class Follower:
    """`queuectl events --follow`, again and again, into one file."""

    def __init__(self, path: Path, url: str) -> None:
        self._path, self._url = path, url
        path.touch()
        self._start()

    def kill(self) -> None:
        """Kill it; it goes on behind its last whole line."""
        self.end()
        self._start()

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
        whole = self._path.read_bytes().rpartition(b"\n")
        self._path.write_bytes(whole[0] + whole[1])

    def restart_if_ended(self) -> None:
        """Its session may have been ended, which it says and ends with."""
        if self._process.poll() is not None:
            self.kill()

    def last(self) -> int:
        seqs = self.seqs()
        return seqs[-1] if seqs else 0

    def seqs(self) -> list[int]:
        """What whole lines say."""
        lines = self._path.read_bytes().split(b"\n")[:-1]
        return [msgspec.json.decode(line)["seq"] for line in lines]

    def _start(self) -> None:
        words = ["events", "--follow", "--json", "--after", str(self.last()), "--db", self._url]
        with self._path.open("ab") as out, self._path.with_suffix(".said").open("ab") as said:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "queuectl", *words],
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=said,
            )  # fmt: skip


def run(seed: int, full: bool, folder: Path | None = None) -> Figures:
    """400 kills, or 24."""
    rng = random.Random(seed)
    began = monotonic()
    with ExitStack() as stack, tempfile.TemporaryDirectory(prefix="queuectl-torture-") as state:
        stack.enter_context(patch.dict(os.environ, XDG_STATE_HOME=state))
        keeper = stack.enter_context(Keeper())
        server = stack.enter_context(Servers(room(keeper.name))).create()
        server.start()
        make_owner(server.address)
        it = stack.enter_context(kills.arena(folder, server.address.url(OWNER, OWNER, "followed")))
        access = it.queue.engine.access
        administrator = stack.enter_context(psycopg.connect(server.address.administrator(OWNER), autocommit=True))
        followers = [Follower(it.folder / f"follower-{number}", access) for number in range(FOLLOWERS)]
        for each in followers:
            stack.callback(each.end)
        for count in (WORKERS // 2, WORKERS // 2):
            it.start(count, 2, 0.3)
        done = dict.fromkeys(("a worker", "a follower", "an enqueuer", "a session"), 0)
        while sum(done.values()) < (400 if full else 24):
            while len(it.enqueuers) < ENQUEUERS:
                it.enqueue_by(ENQUEUE, str(it.folder), access, str(rng.getrandbits(32)))
            time.sleep(rng.uniform(0.05, 0.3))
            for each in followers:
                each.restart_if_ended()
            what = rng.choice(list(done))
            done[what] += _strike(what, it, followers, administrator, rng)
        (it.folder / "over").touch()
        faults = it.finish(300 if full else 60)
        wrong, followed = _followed(it.queue, followers)
        faults += wrong
        wrong, figures = it.verdict()
        faults += [fault for fault in wrong if not any(word in fault for word in ENDED)]
        figures |= followed
        figures |= {f"killed: {what}": count for what, count in done.items()}
        figures["seconds"] = round(monotonic() - began, 1)
        if faults:
            raise Breach(faults, figures)
    return figures


ENDED = ("terminating connection", "server closed the connection", "the connection was lost", "the connection is lost")
"""What processes say whose sessions were ended."""


def _strike(
    what: str, it: kills.Arena, followers: list[Follower], administrator: psycopg.Connection, rng: random.Random
) -> bool:
    """Kill something of this kind; whether there was any."""
    if what == "a follower":
        rng.choice(followers).kill()
        return True
    if what == "a session":
        found = administrator.execute(
            "select pid from pg_stat_activity where application_name = 'queuectl' order by random() limit 1"
        ).fetchall()
        return bool(found) and administrator.execute("select pg_terminate_backend(%s)", found[0]) is not None
    pids = it.workers(settled=True) if what == "a worker" else it.enqueuers
    if pids:
        it.kill(rng.choice(pids))
    return bool(pids)


def _followed(queue: Queue, followers: list[Follower]) -> tuple[list[str], Figures]:
    """End the followers, once they have had the time to see everything; what they missed, or saw more than once."""
    head = queue.status().seq
    until = monotonic() + 60
    while min(each.last() for each in followers) < head and monotonic() < until:
        for each in followers:
            each.restart_if_ended()
        time.sleep(0.1)
    for each in followers:
        each.end()
    found = [seen(each.seqs(), head) for each in followers]
    figures: Figures = {
        "events followed": head,
        "skipped": sum(each.skipped for each in found),
        "seen twice": sum(each.twice for each in found),
    }
    return [
        f"follower {number} saw of {head} events: {each}" for number, each in enumerate(found) if any(each)
    ], figures


RUNS: dict[str, Run] = {"followers": run}
