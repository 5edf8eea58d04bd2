"""Rates: how many starts any span of time has, bursts, refunds, and clocks that are set back (R36)."""

from pathlib import Path

import pytest
from freezegun import freeze_time
from hypothesis import given
from hypothesis import strategies as st

from queuectl import Queue
from queuectl.clock import SECOND
from queuectl.decisions import Release
from queuectl.errors import Invalid
from queuectl.limits import rate_from
from queuectl.rate import Rate
from queuectl.workers.turn import TurnWriter

BEGIN = 1_800_000_000 * SECOND


def starts(rate: Rate, moments: list[int]) -> list[int]:
    """The moments at which a start is let through, of those at which one is wanted."""
    arrival: int | None = None
    found: list[int] = []
    for now in moments:
        if rate.opens(arrival, now) <= now:
            arrival = rate.started(arrival, now)
            found.append(now)
    return found


@given(
    st.integers(1, 50),
    st.sampled_from([0.1, 1.0, 60.0]),
    st.integers(1, 10),
    st.lists(st.integers(0, 3 * SECOND), min_size=1, max_size=120),
)
def test_no_span_has_more_than_its_share(count: int, seconds: float, burst: int, gaps: list[int]) -> None:
    rate = Rate(count, seconds, burst)
    moments = [BEGIN]
    for gap in gaps:
        moments.append(moments[-1] + gap)
    found = starts(rate, moments)
    for i, first in enumerate(found):
        for j in range(i, len(found)):
            assert j - i + 1 <= burst + (found[j] - first) / rate.interval


def test_a_burst_then_evenly_spaced() -> None:
    rate = Rate(10, 1.0, 3)
    found = starts(rate, [BEGIN + step * 10_000 for step in range(60)])
    assert [moment - BEGIN for moment in found] == [0, 10_000, 20_000, 100_000, 200_000, 300_000, 400_000, 500_000]


def test_what_was_given_back_is_free_again() -> None:
    rate = Rate(1, 60.0)
    arrival = rate.started(None, BEGIN)
    assert rate.opens(arrival, BEGIN) == BEGIN + 60 * SECOND
    assert rate.opens(arrival - rate.added(arrival, None), BEGIN) == BEGIN


def test_a_forced_start_gives_back_what_it_took(tmp_path: Path) -> None:
    """Past a whole burst it takes less than an interval: what it gives back may not open the queue for another job."""
    with freeze_time("2027-01-15T08:00:00Z"), Queue(tmp_path / "q.db") as queue:
        queue.limit("default", rate="1/m")
        ids = queue.enqueue_many(["true"] * 4)
        writer = TurnWriter(queue, "w", (), queue.home.identity())
        writer.start(9)
        assert len(writer.turn([], [], 9).claims) == 1
        opens = [each.when for each in queue.reasons(ids[3]) if each.kind == "rate"]
        assert opens != []
        queue.start(*ids[1:3])
        forced = writer.turn([], [], 9).claims
        assert [claim.job.id for claim in forced] == ids[1:3]
        writer.turn([], [Release(claim.lease, "not started in time") for claim in forced], 0)
        queue.hold(*ids[1:3])
        assert [each.when for each in queue.reasons(ids[3]) if each.kind == "rate"] == opens
        assert writer.turn([], [], 9).claims == []


@pytest.mark.parametrize("seconds, free", [(59, 2), (61, 1)])
def test_only_what_is_soon_given_back_is_free(tmp_path: Path, seconds: int, free: int) -> None:
    """Later the queue has its burst anew without it: given back as well, that would be more than a burst at once."""
    with freeze_time("2027-01-15T08:00:00Z") as time, Queue(tmp_path / "q.db") as queue:
        queue.limit("default", rate="1/m")
        queue.limit("default", burst=2)
        queue.enqueue_many(["true"] * 5)
        writer = TurnWriter(queue, "w", (), queue.home.identity())
        writer.start(5)
        claims = writer.turn([], [], 5).claims
        assert len(claims) == 2
        time.tick(seconds)
        released = [Release(claim.lease, "not started in time") for claim in claims]
        assert len(writer.turn([], released, 5).claims) == free


def test_stamps_ahead_of_the_clock_free_nothing(tmp_path: Path) -> None:
    """The clock was set back: a claim is stamped with a later moment than the one that it was decided by."""
    with freeze_time("2027-01-15T08:00:00Z") as time, Queue(tmp_path / "q.db") as queue:
        queue.limit("default", rate="1/m")
        writer = TurnWriter(queue, "w", (), queue.home.identity())
        writer.start(5)
        time.tick(-3600)
        queue.enqueue_many(["true"] * 3)
        [early] = writer.turn([], [], 5).claims
        time.tick(61)
        assert len(writer.turn([], [], 5).claims) == 1

        assert writer.turn([], [Release(early.lease, "not started in time")], 5).claims == []


def test_a_clock_set_back_shuts_no_queue() -> None:
    rate = Rate(1, 60.0, 2)
    arrival = rate.started(None, BEGIN + 365 * 86400 * SECOND)
    assert rate.opens(arrival, BEGIN) == BEGIN + 60 * SECOND


WRITTEN = [
    ("10/s", 10, 1.0, "10/s"), ("3/m", 3, 60.0, "3/m"), (" 1 / 90s ", 1, 90.0, "1/90s"),
    ("5/2m30s", 5, 150.0, "5/150s"),
]  # fmt: skip
NONSENSE = ["", "10", "0/s", "-1/s", "10/", "10/fortnight", "1.5/s", "10/0s", "9999999/s", "1/400d"]


@pytest.mark.parametrize("text, starts, seconds, shown", WRITTEN)
def test_rates_are_read_as_written(text: str, starts: int, seconds: float, shown: str) -> None:
    rate = rate_from(text)
    assert (rate.starts, rate.seconds, rate.burst, rate.text) == (starts, seconds, 1, shown)


@pytest.mark.parametrize("text", NONSENSE)
def test_nonsense_is_no_rate(text: str) -> None:
    with pytest.raises(Invalid, match=r"^rate: "):
        rate_from(text)
