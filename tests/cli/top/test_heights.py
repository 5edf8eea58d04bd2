"""How panes share the lines of a screen."""

from hypothesis import given
from hypothesis import strategies as st

from queuectl.cli.top.heights import shared


def test_lines_are_shared_by_what_is_wanted():
    assert shared([3, 2, 1], 10) == [3, 2, 1]
    assert shared([200, 2, 200], 12) == [5, 2, 5]
    assert shared([200, 0, 200], 5) == [3, 0, 2]
    assert shared([5, 5], 0) == [1, 1], "a row of each is seen, whatever room there is"


@given(st.lists(st.integers(0, 300), min_size=1, max_size=5), st.integers(0, 200))
def test_no_line_is_left_that_is_wanted(wanted: list[int], room: int):
    given_ = shared(wanted, room)
    least = sum(min(each, 1) for each in wanted)
    assert sum(given_) == max(least, min(sum(wanted), room))
    assert all(got <= want for got, want in zip(given_, wanted, strict=True))
