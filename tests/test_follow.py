"""A follower of the log, killed and resumed after its last whole line, reads every event once and in order."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from select import select
from typing import Any

import msgspec
import pytest

from queuectl.clock import monotonic
from queuectl.queue import Queue
from tests.support.paths import ROOT

PATIENCE = 50.0
"""Seconds after which a reader that has not seen all is given up."""

KILLS = 7
"""How often a reader is killed before it may read to the end."""

ENOUGH = 300_000
"""Bytes after which it is killed at the latest."""

WRITER = """
import random, sys, time
from queuectl.queue import Queue

draw = random.Random(sys.argv[1])
with Queue("q.db") as queue:
    print("up", flush=True)
    sys.stdin.readline()
    until = time.monotonic() + 1
    while time.monotonic() < until:
        size = draw.choice((1, 1, 1, 2, 5, 20, 60))
        # some are longer than what a pipe takes in one piece, so that a kill can tear them
        ids = queue.enqueue_many([": " + "x" * draw.choice((1, 1, 1, 9000)) for _ in range(size)])
        if draw.random() < 0.3:
            queue.cancel(*ids[:3])
        time.sleep(draw.random() * 0.03)
    queue.enqueue_many([": a page and more" for _ in range(1200 if sys.argv[1].endswith("-0") else 1)])
"""


class Reader:
    """Follows the log with one `queuectl events --follow` after another, each killed when it has read for a while."""

    def __init__(self, folder: Path, seed: str, words: tuple[str, ...] = ()) -> None:
        self.folder, self.draw, self.words = folder, random.Random(seed), words
        self.seen: list[dict[str, Any]] = []
        self.kills = self.torn = 0

    @property
    def last(self) -> int:
        return self.seen[-1]["seq"] if self.seen else 0

    def read(self, done: Callable[[], bool], env: dict[str, str]) -> None:
        """Until it was killed often enough and is done, or out of patience."""
        deadline = monotonic() + PATIENCE
        while self.kills <= KILLS and monotonic() < deadline:
            words = ["events", "--follow", "--json", "--after", str(self.last), *self.words]
            following = subprocess.Popen(
                [sys.executable, "-m", "queuectl", *words], cwd=self.folder, env=env, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
            )  # fmt: skip
            assert following.stdout is not None
            with following, following.stdout as pipe:
                self._lines(pipe.fileno(), following, done, deadline)
            self.kills += 1

    def _lines(
        self, pipe: int, following: "subprocess.Popen[bytes]", done: Callable[[], bool], deadline: float
    ) -> None:
        rest = b""
        left = self.draw.randrange(ENOUGH) if self.kills < KILLS else sys.maxsize
        for piece in _pieces(pipe):
            *whole, rest = (rest + piece).split(b"\n")
            self.seen += map(msgspec.json.decode, whole)
            left -= len(piece)
            if left < 0 or done() or monotonic() > deadline:
                following.send_signal(self.draw.choice((signal.SIGKILL, signal.SIGKILL, signal.SIGINT)))
                left = sys.maxsize
        self.torn += rest != b""


def _pieces(pipe: int) -> Iterator[bytes]:
    """What comes, until the end; nothing where nothing came for a moment."""
    while True:
        if select([pipe], [], [], 0.02)[0]:
            piece = os.read(pipe, 1 << 16)
            if not piece:
                return
            yield piece
        else:
            yield b""


@pytest.fixture(scope="module")
def readers(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Reader, Reader]:
    """Four processes have written, while a reader of everything and one of some events were killed again and again."""
    folder = tmp_path_factory.mktemp("follow")
    seed = str(random.randrange(10**6))
    print(f"seed {seed}")
    with Queue(folder / "q.db"):
        pass  # it is there
    env = {**os.environ, "PYTHONPATH": str(ROOT), "QUEUECTL_DB": "q.db"}
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, f"{seed}-{n}"], cwd=folder, env=env, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for n in range(4)
    ]  # fmt: skip
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"up\n"
    heads: list[tuple[int, int]] = []
    """The last seq of the log and of those of one type, once they are known."""
    everything, some = Reader(folder, seed), Reader(folder, f"{seed}!", ("--type", "enqueued"))
    with ThreadPoolExecutor() as threads:
        reading = [
            threads.submit(everything.read, lambda: bool(heads) and everything.last >= heads[0][0], env),
            threads.submit(some.read, lambda: bool(heads) and some.last >= heads[0][1], env),
        ]
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write(b"go\n")
            writer.stdin.close()
        for writer in writers:
            assert writer.wait(PATIENCE) == 0
            assert writer.stdout is not None
            writer.stdout.close()
        with Queue(folder / "q.db") as queue:
            seqs = [(record.seq, record.type) for record in queue.events()]
        heads.append((seqs[-1][0], max(seq for seq, type in seqs if type == "enqueued")))
        for each in reading:
            each.result()
    print([(reader.kills, reader.torn, len(reader.seen)) for reader in (everything, some)])
    return folder, everything, some


def test_a_killed_reader_resumes_without_gaps_or_repeats(readers: tuple[Path, Reader, Reader]):
    folder, everything, _ = readers
    with Queue(folder / "q.db") as queue:
        log = [msgspec.json.decode(record.json()) for record in queue.events()]
    assert [event["seq"] for event in everything.seen] == list(range(1, len(log) + 1))
    assert everything.seen == log


def test_a_killed_reader_of_some_types_resumes_too(readers: tuple[Path, Reader, Reader]):
    folder, everything, some = readers
    with Queue(folder / "q.db") as queue:
        log = [record.seq for record in queue.events(type="enqueued")]
    assert [event["seq"] for event in some.seen] == log
    assert 0 < len(log) < len(everything.seen), "the others were left out"
