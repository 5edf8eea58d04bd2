"""Time (R3): moments from the wall clock in microseconds, durations from one that never jumps."""

import time
from pathlib import Path

import pytest
from freezegun import freeze_time
from hypothesis import given
from hypothesis import strategies as st

from queuectl import Queue, clock
from queuectl.clock import SECOND, micros, monotonic, now, text
from tests.support.engine_actions import claim, report

NOON = "2026-11-24T12:00:00Z"


@given(st.integers(0, 253_402_300_799_999_999))
def test_a_moment_survives_its_text(moment: int) -> None:
    assert micros(text(moment)) == moment
    assert len(text(moment)) == len("2026-11-24T09:00:00.123456Z")


def test_moments_are_read_with_an_offset_only() -> None:
    assert micros("2026-11-24T10:00:00+01:00") == micros("2026-11-24T09:00:00Z") == 1_795_510_800_000_000
    with pytest.raises(ValueError, match="no offset"):
        micros("2026-11-24T09:00:00")


def test_now_follows_the_wall_clock_monotonic_does_not() -> None:
    with freeze_time(NOON):
        assert now() == micros(NOON)
        before = monotonic()
        deadline = time.clock_gettime(time.CLOCK_MONOTONIC) + 5
        while monotonic() == before and time.clock_gettime(time.CLOCK_MONOTONIC) < deadline:
            pass
        assert monotonic() > before
        assert abs(monotonic() - time.clock_gettime(time.CLOCK_MONOTONIC)) < 1


def test_due_times_come_from_the_raw_clock(tmp_path: Path) -> None:
    with Queue(tmp_path / "q.db") as queue:
        with freeze_time("2027-06-01T00:00:00Z"):
            queue.enqueue("true", id="future")
        with freeze_time(NOON):
            queue.enqueue("false", id="a", delay=10)
            job = queue.job("a")
            assert job.run_at == micros(NOON) + 10 * SECOND
            assert job.enqueued_at == micros("2027-06-01T00:00:00Z") + 1
            queue.enqueue("false", id="b")
            assert queue.job("b").run_at == micros(NOON)
            [(_, lease)] = claim(queue.engine, "w")
            assert lease.job == "b"
            report(queue.engine, lease, "exit")
            assert queue.job("b").run_at == micros(NOON) + 2 * SECOND
            assert claim(queue.engine, "w") == []
        with freeze_time("2026-11-24T12:00:02Z"):
            assert [lease.job for _, lease in claim(queue.engine, "w")] == ["b"]


def test_the_log_rises_though_the_clock_falls(tmp_path: Path) -> None:
    moments = [NOON, NOON, "2026-11-24T11:00:00Z", "1970-01-01T00:00:00Z", "2026-11-24T13:00:00Z", NOON]
    with Queue(tmp_path / "q.db") as queue:
        for moment in moments:
            with freeze_time(moment):
                queue.enqueue("true")
        at = [record.at for record in queue.events()]
        assert at == sorted(set(at))
        noon = micros(NOON)
        assert at == [noon, noon + 1, noon + 2, noon + 3, noon + 3600 * SECOND, noon + 3600 * SECOND + 1]


def test_the_events_of_one_transaction_have_one_moment(tmp_path: Path) -> None:
    with Queue(tmp_path / "q.db") as queue:
        queue.enqueue_many(["true", "false"])
        assert len({record.at for record in queue.events()}) == 1


def test_a_retry_waits_for_its_backoff(tmp_path: Path) -> None:
    with Queue(tmp_path / "q.db") as queue:
        with freeze_time(NOON) as frozen:
            queue.enqueue("false", id="a", max_retries=3)
            for delay in (2, 4, 8):
                [(_, lease)] = claim(queue.engine, "w")
                report(queue.engine, lease, "exit")
                frozen.tick(delay - 0.000001)
                assert claim(queue.engine, "w") == []
                frozen.tick(0.000001)
            [(_, lease)] = claim(queue.engine, "w")
            report(queue.engine, lease, "exit")
        assert queue.dead() == ["a"]


def test_the_clock_is_read_in_one_place() -> None:
    root = Path(clock.__file__).parent
    readers = ("time.time(", "time.time_ns(", "datetime.now(", "utcnow(", "time.monotonic(")
    found = {
        path.name
        for folder in (root, root.parent / "projections")
        for path in folder.rglob("*.py")
        if any(reader in path.read_text() for reader in readers)
    }
    assert found == {"clock.py"}
