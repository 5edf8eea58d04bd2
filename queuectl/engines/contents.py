"""All that goes from one database into another, of whichever engine: tables are not among it, they are folded anew."""

from collections.abc import Iterable, Iterator

import msgspec

from queuectl.engines.view import Leaf, Secret, View
from queuectl.events import Recorded

PAGE = 1000


class Contents(msgspec.Struct, frozen=True):
    """What a new database is filled with. Each part is read once, in this order."""

    records: Iterable[Recorded]
    """A whole log, as it was stored elsewhere."""
    leaves: Iterable[Leaf] = ()
    """Those that were kept with it: of archived events nothing else is left, and a false one must go on to show."""
    secrets: Iterable[Secret] = ()


def contents(view: View, *, secrets: bool) -> Contents:
    """What a queue has, as of one moment, for as long as the view is open; the values of secrets only where asked."""
    upto = view.head()[0]
    return Contents(_records(view, upto), _leaves(view, upto), view.every_secret() if secrets else ())


def _records(view: View, upto: int) -> Iterator[Recorded]:
    after = 0
    while page := view.events(after=after, upto=upto, limit=PAGE):
        yield from page
        after = page[-1].seq


def _leaves(view: View, upto: int) -> Iterator[Leaf]:
    after = 0
    while page := view.leaves(after=after, upto=upto, limit=PAGE):
        yield from page
        after = page[-1].seq
