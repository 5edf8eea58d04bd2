"""How the lines of a screen are shared among its panes."""

from collections.abc import Sequence


def shared(wanted: Sequence[int], room: int, least: int = 1) -> list[int]:
    """Return how many lines each pane gets that wants so many, of `room` in all.

    What is wanted is given as far as there is room; then those that want most get equally less. Each gets `least`, or
    what it wants where that is less.
    """
    given = [min(each, least) for each in wanted]
    left = max(room - sum(given), 0)
    while left and (open_ := [place for place, each in enumerate(wanted) if given[place] < each]):
        part = max(left // len(open_), 1)
        for place in open_[:left] if part == 1 else open_:
            more = min(part, wanted[place] - given[place], left)
            given[place] += more
            left -= more
    return given
