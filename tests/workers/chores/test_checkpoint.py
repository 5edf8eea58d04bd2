"""Checkpoints are made after turns, and wholly once the worker is idle."""

from typing import cast

import pytest

from queuectl.engines.base import Engine
from queuectl.errors import Unusable
from queuectl.workers.chores.checkpoint import IDLE, Checkpoint
from queuectl.workers.chores.chore import NEVER
from tests.support.chore_host import Host


class Recorder:
    """An engine that only records its checkpoints."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.fails = False

    def checkpoint(self) -> None:
        self.calls.append("much")
        if self.fails:
            raise Unusable("disk full")

    def truncate_wal(self) -> None:
        self.calls.append("all")


@pytest.fixture
def engine() -> Recorder:
    return Recorder()


@pytest.fixture
def host() -> Host:
    return Host()


@pytest.fixture
def checkpoint(host: Host, engine: Recorder) -> Checkpoint:
    return Checkpoint(host, cast(Engine, engine))


def test_large_wal_is_checkpointed_after_a_turn(checkpoint: Checkpoint, engine: Recorder) -> None:
    checkpoint.turn_taken()
    assert checkpoint.due == 0.0
    checkpoint.run(5.0)
    assert engine.calls == ["much"]
    assert checkpoint.due == NEVER


def test_an_idle_worker_writes_all_back_once(checkpoint: Checkpoint, engine: Recorder) -> None:
    checkpoint.idle(5.0)
    checkpoint.idle(5.5)
    assert checkpoint.due == 5.0 + IDLE
    checkpoint.run(5.0 + IDLE)
    assert engine.calls == ["all"]
    assert checkpoint.due == NEVER
    checkpoint.written()
    assert checkpoint.due == 5.0 + IDLE


def test_a_busy_worker_writes_nothing_back_for_idleness(checkpoint: Checkpoint) -> None:
    checkpoint.idle(5.0)
    checkpoint.busy()
    assert checkpoint.due == NEVER


def test_the_last_one_writes_all_back(checkpoint: Checkpoint, engine: Recorder) -> None:
    checkpoint.turn_taken()
    checkpoint.finish()
    assert engine.calls == ["all"]


def test_trouble_makes_the_worker_pause(checkpoint: Checkpoint, engine: Recorder, host: Host) -> None:
    engine.fails = True
    checkpoint.turn_taken()
    checkpoint.run(5.0)
    assert host.pauses == ["disk full"]
    assert checkpoint.due == NEVER
