"""Backoff (R2): the documented delays, and no arithmetic that raises in the middle of a commit."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queuectl.backoff import Exponential, Steps

DAY = 86400.0


def delay(failures: int, base: float, longest: float, jitter: float = 0.0, draw: float = 0.5) -> float:
    return Exponential(base, longest, jitter).delay(failures, draw)


def test_delays_double_from_two_seconds() -> None:
    assert [delay(n, 2.0, DAY) for n in range(1, 8)] == [2, 4, 8, 16, 32, 64, 128]


def test_delays_are_powers_of_the_base() -> None:
    assert [delay(n, 3.0, DAY) for n in range(1, 5)] == [3, 9, 27, 81]
    assert [delay(n, 1.5, DAY) for n in range(1, 4)] == [1.5, 2.25, 3.375]


def test_the_cap_is_the_longest_delay() -> None:
    assert [delay(n, 2.0, 10.0) for n in range(1, 6)] == [2, 4, 8, 10, 10]
    assert delay(16, 2.0, DAY) == 65536
    assert delay(17, 2.0, DAY) == DAY


def test_a_base_of_one_always_waits_a_second() -> None:
    assert [delay(n, 1.0, DAY) for n in (1, 2, 1000, 1_000_000)] == [1, 1, 1, 1]


@pytest.mark.parametrize("cap", [0.0, 0.25])
@pytest.mark.parametrize("base", [1.0, 2.0, 1e6])
def test_a_cap_below_a_second_limits_every_base(base: float, cap: float) -> None:
    assert delay(1, base, cap) == cap


def test_powers_above_a_float_are_not_computed() -> None:
    with pytest.raises(OverflowError):
        math.pow(2.0, 1100)
    assert delay(1100, 2.0, DAY) == DAY
    assert delay(1_000_001, 1e6, 100 * 366 * DAY) == 100 * 366 * DAY


def test_jitter_spreads_both_ways_by_the_draw() -> None:
    assert delay(3, 2.0, DAY, 0.5, 0.0) == 4.0
    assert delay(3, 2.0, DAY, 0.5, 0.5) == 8.0
    assert delay(3, 2.0, DAY, 0.5, 0.75) == 10.0
    assert {delay(3, 2.0, DAY, 0.5, 0.3) for _ in range(10)} == {delay(3, 2.0, DAY, 0.5, 0.3)}


@given(
    st.integers(1, 1_000_001),
    st.floats(1.0, 1e6),
    st.floats(0.0, 100 * 366 * DAY),
    st.floats(0.0, 1.0),
    st.floats(0.0, 1.0, exclude_max=True),
)
def test_every_delay_is_finite_and_within_its_bounds(
    failures: int, base: float, cap: float, jitter: float, draw: float
) -> None:
    plain = delay(failures, base, cap)
    spread = delay(failures, base, cap, jitter, draw)
    assert math.isfinite(spread)
    assert 0.0 <= spread <= cap + 1e-6
    assert plain * (1 - jitter) - 1e-5 * plain - 1e-6 <= spread <= plain * (1 + jitter) + 1e-5 * plain + 1e-6
    assert delay(failures + 1, base, cap) >= plain


def test_listed_delays_are_taken_in_turn() -> None:
    assert [Steps((10.0, 60.0, 600.0)).delay(n) for n in (1, 2, 3, 4, 1_000_000)] == [10, 60, 600, 600, 600]


def test_jitter_spreads_listed_delays_too() -> None:
    assert [Steps((10.0,), 0.5).delay(1, draw) for draw in (0.0, 0.5, 0.75)] == [5, 10, 12.5]
