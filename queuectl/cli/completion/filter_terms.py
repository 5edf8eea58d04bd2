"""Completion of filters (see `queuectl.filters`): the last term of the word at the cursor."""

from collections.abc import Iterator

from projections.jobs import STATES
from projections.suggestions import Suggestion
from queuectl import filters
from queuectl.cli.completion.candidates import suggestions
from queuectl.cli.completion.slot import CursorSlot

_WORDS = {"state": STATES, "cause": filters.CAUSES}
"""Keys whose values are known."""
_NAMES = {"queue": "queues", "batch": "batches", "tag": "tags"}
"""Keys whose values the queue knows: the questions of `Suggestions` that give them."""


def terms(slot: CursorSlot) -> Iterator[Suggestion]:
    """Yield what the filter may be with its last term, or the last value of that, completed."""
    begin = slot.text.rfind(" ") + 1
    begin += slot.text.startswith("-", begin)
    key, colon, values = slot.text[begin:].partition(":")
    if not colon:
        for name in filters.KEYS:
            if name.startswith(key):
                yield Suggestion(f"{slot.text[:begin]}{name}:")
        return
    cut = values.rfind(",") + 1
    head = slot.text[:begin] + f"{key}:{values[:cut]}"
    for each in _of_key(slot, key.lower(), values[cut:]):
        written = _quoted(each.name)
        if each.name.startswith(values[cut:]) and written not in values[:cut].split(","):
            yield Suggestion(head + written, each.text)


def _of_key(slot: CursorSlot, key: str, text: str) -> Iterator[Suggestion]:
    """Yield the values of a key that begin so."""
    yield from map(Suggestion, _WORDS.get(key, ()))
    if key in _NAMES:
        with suggestions(slot.database) as queue:
            yield from getattr(queue, _NAMES[key])(text)


def _quoted(value: str) -> str:
    """A value as it is written in a term."""
    return filters.text([filters.Term("tag", (value,))]).removeprefix("tag:")
