"""Leaves: the hash of each stored event, and the chain of these hashes (R23).

docs/guides/audit.md defines the bytes, so that other programs can compute them.
"""

from collections.abc import Iterable
from hashlib import sha256

import msgspec
from msgspec.structs import astuple

from queuectl.engines.base import Engine
from queuectl.engines.view import Leaf, View
from queuectl.errors import QueueError
from queuectl.events import Recorded

START = bytes(32)
"""The chain before the first leaf."""

PAGE = 2000
"""Events read at a time: nothing is kept open between two (R8), and writers hardly wait."""


def leaf(record: Recorded) -> Leaf:
    """SHA-256 over the eight stored values, each as UTF-8 text behind its length in bytes (eight bytes, big-endian)."""
    # A value that was changed to another type has a text as well, and another hash.
    values = [str(value).encode() for value in astuple(record)]
    parts = [part for value in values for part in (len(value).to_bytes(8), value)]
    return Leaf(record.seq, record.at, sha256(b"".join(parts)).digest())


def chain(link: bytes, hashes: Iterable[bytes]) -> bytes:
    """The chain after these leaves, which follow those that led to `link`: each time SHA-256(link + leaf)."""
    for each in hashes:
        link = sha256(link + each).digest()
    return link


class Page(msgspec.Struct, frozen=True):
    """A stretch of the log: its events, and the leaves that are kept of it."""

    end: int
    """The seq with which it ends."""
    records: list[Recorded]
    leaves: list[Leaf]


def page(view: View, after: int, upto: int, limit: int = PAGE) -> Page:
    """As much of what lies behind event `after` as a page of events and one of leaves both reach."""
    records = view.events(after=after, upto=upto, limit=limit)
    leaves = view.leaves(after=after, upto=upto, limit=limit)
    end = min(rows[-1].seq if len(rows) == limit else upto for rows in (records, leaves))
    return Page(end, [each for each in records if each.seq <= end], [each for each in leaves if each.seq <= end])


def keep(engine: Engine, after: int, upto: int, limit: int = PAGE, patience: float | None = None) -> Page:
    """Keep the leaves of a page's events that are not kept yet; returns the page with all leaves in order.

    Computed outside of the write lock, which is held for no more than the inserting. Raises QueueError where a leaf is
    there that is not the event's: one of the two was changed; Busy after `patience` seconds.
    """
    with engine.snapshot() as view:
        found = page(view, after, upto, limit)
    made = {record.seq: leaf(record) for record in found.records}
    kept = _compared(made, found.leaves)
    if made.keys() - kept.keys():
        with engine.transaction(patience) as tx:
            # Another sealer may have been here meanwhile, or an archive, which removes events that have their leaf.
            kept = _compared(made, tx.leaves(after=after, upto=found.end, limit=2 * limit))
            tx.keep_leaves([each for seq, each in made.items() if seq not in kept])
    every = made | kept
    return Page(found.end, found.records, [every[seq] for seq in sorted(every)])


def _compared(made: dict[int, Leaf], kept: list[Leaf]) -> dict[int, Leaf]:
    """The leaves that are kept, by their seq. Raises QueueError where one is not its event's."""
    for each in kept:
        if each.seq in made and made[each.seq].hash != each.hash:
            raise QueueError(
                f"event {each.seq} does not fit its leaf: one of them was changed: run queuectl audit verify"
            )
    return {each.seq: each for each in kept}
