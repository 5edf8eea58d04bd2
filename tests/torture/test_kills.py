"""Short: a few dozen processes are killed, and no job is lost or run twice, no process left."""

import random
from pathlib import Path
from typing import Any

import pytest

from queuectl.events import (
    Claimed,
    Completed,
    Enqueued,
    Event,
    Failed,
    Interrupted,
    Recorded,
    Released,
    Retried,
    encode,
)
from tests.torture import kills, verdict
from tests.torture.verdict import Attempt, Mark


@pytest.fixture
def seed() -> int:
    seed = random.SystemRandom().getrandbits(32)
    print(f"python -m tests.torture --seed {seed}")  # shown with a failure
    return seed


def test_workers_are_killed_while_they_work(seed: int, tmp_path: Path) -> None:
    figures = kills.workers(seed, full=False, folder=tmp_path)

    assert figures["acknowledged"] == 500
    assert figures["kills"] == 25


def test_parents_are_killed_and_the_machine_reboots(seed: int, tmp_path: Path) -> None:
    figures = kills.reboots(seed, full=False, folder=tmp_path)

    assert figures["kills"] != 0


@pytest.mark.parametrize("end, options", [("exit 3", {}), ("sleep 60", {"timeout": 0.5})])
def test_hidden_processes_end_before_the_next_attempt(tmp_path: Path, end: str, options: dict[str, Any]) -> None:
    it = kills.Arena(tmp_path)
    try:
        id = it.queue.enqueue(
            f'setsid bash job.sh ticks 200 & until grep -q "T 1 $QUEUECTL_ATTEMPT" marks; do sleep 0.01; done; {end}',
            cwd=str(tmp_path), max_retries=1, backoff_base=1.0, backoff_max=0.02, **options,
        )  # fmt: skip
        it.start(1, 1, 1.0)
        it.queue.wait(timeout=30)
        marks, faults = verdict.read_marks(tmp_path / "marks")
    finally:
        it.close()

    assert faults == []
    assert {number for _, number in marks} == {1, 2}
    assert marks[id, 1][-1].place < marks[id, 2][0].place


# The judge itself: what it must find.

NOW = "2026-11-24T09:00:00.000000Z"
POLICY = Enqueued(command="true", run_at=NOW, cwd="/", max_retries=1, backoff_base=1.0, backoff_max=1.0)
FAILED = Failed(attempt=1, cause="lost")
RETRIED = Retried(run_at=NOW, delay=1.0)


def stream(*events: Event) -> list[Recorded]:
    return [
        Recorded(seq, "job:1", seq, event.type, event.v, seq * 100, "test", encode(event).decode())
        for seq, event in enumerate(events, 1)
    ]


def claim(attempt: int) -> Claimed:
    return Claimed(attempt=attempt, worker="w")


@pytest.mark.parametrize(
    "events",
    [
        (POLICY, claim(1), FAILED, RETRIED, claim(1)),
        (POLICY, claim(1), FAILED, RETRIED, claim(3), Completed(attempt=3)),
        (POLICY, claim(1), claim(2), Completed(attempt=2)),
        (POLICY, claim(1), Completed(attempt=1), Completed(attempt=1)),
        (POLICY, claim(1), Completed(attempt=1), FAILED),
        (POLICY, claim(1), FAILED, claim(2), Completed(attempt=2)),
        (POLICY, claim(1), FAILED, RETRIED, claim(2), FAILED),
        (POLICY, claim(1)),
        (claim(1), Completed(attempt=1)),
        (POLICY, POLICY),
        (POLICY, Completed(attempt=1)),
    ],
)
def test_an_impossible_history_is_reported(events: tuple[Event, ...]) -> None:
    assert verdict.life("1", stream(*events))[1]


def test_a_legal_history_has_no_faults() -> None:
    events = (POLICY, claim(1), Released(attempt=1), claim(1), Failed(attempt=1, cause="exit"), RETRIED, claim(2),
              Interrupted(attempt=2), claim(3), Completed(attempt=3))  # fmt: skip
    attempts, faults = verdict.life("1", stream(*events))

    assert faults == []
    assert [attempt.number for attempt in attempts] == [1, 1, 2, 3]


@pytest.mark.parametrize(
    "outcome, marks",
    [
        (Completed(attempt=1), []),
        (Completed(attempt=1), [("S", 1000)]),
        (Completed(attempt=1), [("S", 1000), ("S", 1001), ("E", 1002)]),
        (Completed(attempt=1), [("S", 1000), ("E", 2001)]),
        (Completed(attempt=1), [("S", 999), ("E", 1500)]),
        (FAILED, [("T", 1100)]),
        (FAILED, [("S", 1000), ("T", 2001)]),
        (Released(attempt=1), [("S", 1000)]),
    ],
)
def test_marks_that_contradict_the_log_are_reported(outcome: Event, marks: list[tuple[str, int]]) -> None:
    record = Recorded(3, "job:1", 3, outcome.type, 1, 2000, "test", encode(outcome).decode())
    attempt = Attempt(1, 1000, record, "lost" if outcome is FAILED else None)

    assert list(verdict.compare("1", attempt, [Mark(kind, "1", 1, at, at) for kind, at in marks]))
