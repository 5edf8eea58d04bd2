"""Whatever is done to a queue in PostgreSQL, the log is what it would be in SQLite, and the tables say what it says."""

import random
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from queuectl import clock, engines
from queuectl.engines.postgres.engine import PostgresEngine
from queuectl.engines.postgres.write_lock import WriteLock
from queuectl.events import Recorded
from tests.support.postgres.database import Database
from tests.support.random_queue import RandomQueue

BEGIN = 1_800_000_000_000_000
"""µs UTC: 2027-01-15 08:00."""

COMMANDS = 45
"""Of one history."""


class Clock:
    """What time it is, for this program and for the server."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = BEGIN
        take: Callable[..., Any] = WriteLock.take
        monkeypatch.setattr(time, "time_ns", lambda: self.now * 1000)
        monkeypatch.setattr(WriteLock, "take", lambda *args: replace(take(*args), now=clock.now()))
        monkeypatch.setattr(PostgresEngine, "now", lambda _: clock.now())


@pytest.fixture
def place(postgres: Database) -> Iterator[Callable[[str], str]]:
    """The URL for a queue in a schema of its own, by a name; it is removed in the end."""
    made: set[str] = set()

    def url(name: str) -> str:
        made.add(found := f"{postgres.url}_{name.removesuffix('.db')}")
        return found

    yield url
    for each in made:
        engines.discard(each)


@pytest.mark.parametrize("histories", [3, pytest.param(12, marks=(pytest.mark.torture, pytest.mark.timeout(1800)))])
def test_histories_are_those_of_sqlite(
    histories: int, place: Callable[[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = Clock(monkeypatch)
    monkeypatch.setattr(PostgresEngine, "many_hosts", False)  # or its workers would tell their leases
    folder = tmp_path / "queue"  # one path for both: the events of archives tell it
    for history in range(histories):
        number = random.SystemRandom().randrange(10**6)
        folder.mkdir()
        with closing(RandomQueue(folder)) as queue:
            here = [*steps(queue, number, now)]
            everything = [*queue.queue.events()]
        shutil.rmtree(folder)
        folder.mkdir()
        with closing(RandomQueue(folder, lambda name: place(f"{history}_{name}"))) as queue:  # noqa: B023
            for expected, step in zip(here, steps(queue, number, now), strict=True):
                assert step == expected, f"history {number}"
            assert queue.queue.check() == [], f"history {number}"
            queue.queue.replay()
            assert queue.queue.check() == [], f"history {number}"
            assert [*queue.queue.events()] == everything, f"history {number}"
        shutil.rmtree(folder)


def steps(queue: RandomQueue, number: int, now: Clock) -> Iterator[list[Recorded]]:
    """What each command of a history adds to the log, time and chance being the same whenever it is carried out."""
    dice = random.Random(number)
    for step in range(COMMANDS):
        now.now = BEGIN + step * 50_000
        command, related = dice.randrange(10_000), dice.random() < 0.3
        random.seed(command)
        yield queue.do(command, related=related)
