"""What a worker does as its lease runs out, by a clock that the test moves (R48)."""

import math
from pathlib import Path
from typing import cast

import pytest

from queuectl.workers.chores import self_fencing
from queuectl.workers.chores.chore import NEVER
from queuectl.workers.chores.self_fencing import LOOK, SelfFencing
from queuectl.workers.recovery import attempt_table
from queuectl.workers.recovery.attempt_table import AttemptTable
from queuectl.workers.slots import Slots
from tests.support.chore_host import Host

NOW = 1000.0
"""Monotonic seconds; the tests' machine was suspended for 500 s before."""


class FakeSlots:
    """Slots in which something runs until it is killed."""

    def __init__(self) -> None:
        self.running = 1
        self.given_up = 0
        self.ends: list[tuple[float, str]] = []

    def __len__(self) -> int:
        return self.running

    def give_up_waiting(self, now: float) -> None:
        self.given_up += 1

    def end(self, now: float, *, grace: float, error: str) -> None:
        self.ends.append((grace, error))


class Clock:
    """CLOCK_BOOTTIME."""

    seconds = NOW + 500.0

    def __call__(self) -> float:
        return self.seconds


class Scene:
    """A worker with a lease of a minute, confirmed just now."""

    def __init__(self, path: Path, clock: Clock) -> None:
        path.touch()
        self.path, self.clock, self.host, self.slots = str(path), clock, Host(), FakeSlots()
        self.fencing = SelfFencing(self.host, cast("Slots", self.slots), AttemptTable(self.path, 1))
        self.fencing.begin(60.0, clock.seconds, NOW)

    def pass_seconds(self, seconds: float) -> None:
        """Let so many go by since the worker was confirmed, and run the chore."""
        self.clock.seconds = Clock.seconds + seconds
        self.fencing.run(NOW + seconds)

    @property
    def deadline(self) -> float:
        return attempt_table.read_deadline(self.path) - Clock.seconds


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    clock = Clock()
    monkeypatch.setattr(self_fencing, "boottime", clock)
    return Scene(tmp_path / "lock", clock)


def test_without_a_lease_it_does_nothing(scene: Scene, tmp_path: Path) -> None:
    fencing = SelfFencing(scene.host, cast("Slots", scene.slots), AttemptTable(scene.path, 1))
    fencing.begin(None, 0.0, NOW)
    fencing.confirm(0.0, NOW)
    assert (fencing.due, fencing.may_start()) == (NEVER, True)
    (tmp_path / "other").touch()
    assert attempt_table.read_deadline(str(tmp_path / "other")) == math.inf


def test_a_confirmed_worker_goes_on(scene: Scene) -> None:
    assert scene.fencing.due == NOW + LOOK
    scene.pass_seconds(30.0)
    assert scene.fencing.may_start()
    assert (scene.slots.given_up, scene.slots.ends, scene.deadline) == (0, [], 52.0)


def test_half_a_lease_later_nothing_starts(scene: Scene) -> None:
    scene.pass_seconds(30.5)
    assert not scene.fencing.may_start()
    assert scene.slots.given_up == 1, "nothing starts either once an earlier attempt has been ended"
    assert scene.slots.ends == []


def test_commands_get_five_seconds_then_none(scene: Scene) -> None:
    for age in (45.0, 48.0, 50.0, 58.0):
        scene.pass_seconds(age)
    assert [grace for grace, _ in scene.slots.ends] == [5.0, 2.0, 0.0, 0.0]
    assert scene.slots.ends[0][1] == "its worker could not reach the database for 45s, and other hosts may run it"
    assert scene.host.warnings == ["could not reach the database for 45s: ends what it runs"], "said once"
    assert scene.deadline == 52.0, "something is left: the parent may know better"


def test_a_confirmation_starts_it_all_over(scene: Scene) -> None:
    scene.pass_seconds(46.0)
    scene.fencing.confirm(scene.clock.seconds - 1.0, NOW + 46.0)
    assert scene.fencing.may_start()
    assert scene.deadline == 45.0 + 52.0
    scene.pass_seconds(45.0 + 45.0)
    assert len(scene.slots.ends) == 2
    assert len(scene.host.warnings) == 2


def test_a_turn_unseen_elsewhere_confirms_nothing(scene: Scene) -> None:
    scene.fencing.confirm(None, NOW + 40.0)
    scene.pass_seconds(45.0)
    assert len(scene.slots.ends) == 1


def test_a_slow_turn_counts_from_its_start(scene: Scene) -> None:
    scene.clock.seconds += 40.0
    scene.fencing.confirm(Clock.seconds + 2.0, NOW + 40.0)
    assert not scene.fencing.may_start()
    assert scene.deadline == 2.0 + 52.0


def test_a_suspend_counts(scene: Scene) -> None:
    scene.clock.seconds += 3600.0
    scene.fencing.run(NOW + LOOK)
    assert [grace for grace, _ in scene.slots.ends] == [0.0]


def test_parents_spare_workers_that_run_nothing(scene: Scene) -> None:
    scene.slots.running = 0
    assert scene.fencing.due == NOW + 50.0
    scene.pass_seconds(50.0)
    assert scene.deadline == math.inf
    assert (scene.fencing.due, scene.slots.ends, scene.host.warnings) == (NEVER, [], [])
