"""Limits and pauses by the library: what can't be is refused, and nothing of it comes into the log."""

from pathlib import Path
from typing import Any

import pytest

from queuectl import Queue
from queuectl.errors import Invalid
from queuectl.events import Rate

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"concurrency": 0}, "concurrency: 0 is not"),
    ({"concurrency": 2.5}, "concurrency"),
    ({"concurrency": True}, "concurrency"),
    ({"burst": 2}, "a burst belongs to a rate"),
    ({"rate": "10/s", "burst": 0}, "burst: 0 is not"),
    ({"rate": "10/s", "burst": 2.5}, "burst"),
    ({"rate": "10/s", "burst": 2_000_000}, "burst: 2000000 is not"),
    ({"rate": Rate(0, 1.0)}, "rate: '0/s' is out of bounds"),
    ({"rate": Rate(1, float("nan"))}, "is out of bounds"),
    ({"pause_on_failure": "yes"}, "pause_on_failure"),
    ({"concurrency": 1, "reason": 5}, "reason"),
]


@pytest.mark.parametrize("limits, told", WRONG)
def test_limits_that_cannot_be_are_refused(tmp_path: Path, limits: dict[str, Any], told: str) -> None:
    with Queue(tmp_path / "q.db") as queue:
        with pytest.raises(Invalid, match=told):
            queue.limit("q", **limits)
        assert queue.queues() == []
        assert queue.status().seq == 0


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), 1e18])
def test_pauses_of_no_duration_are_refused(tmp_path: Path, seconds: float) -> None:
    with Queue(tmp_path / "q.db") as queue, pytest.raises(Invalid, match=r"^seconds: "):
        queue.pause("q", seconds=seconds)


def test_an_unreadable_event_is_not_written(tmp_path: Path) -> None:
    """The log is only added to: what could not be read again would be in the way for ever."""
    reason: Any = 5
    with Queue(tmp_path / "q.db") as queue:
        id = queue.enqueue("true")
        with pytest.raises(Invalid, match=r"^held: Expected `str \| null`, got `int`"):
            queue.hold(id, reason=reason)
        assert [moment.record.type for moment in queue.history(id)] == ["enqueued"]
