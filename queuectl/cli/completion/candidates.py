"""What the word at the cursor may become."""

from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from operator import attrgetter
from typing import Any, cast

from projections.suggestions import Suggestion, Suggestions
from queuectl.cli.completion.slot import CursorSlot
from queuectl.cli.completion.values import Values


def candidates(slot: CursorSlot) -> list[Suggestion]:
    """The whole words that may stand at the cursor. Raises QueueError where the queue can't be read."""
    if slot.values is None:
        found: Iterable[Suggestion] = (each for each in slot.names if each.name.startswith(slot.text))
    elif slot.values.is_filter:
        from queuectl.cli.completion.filter_terms import terms

        found = terms(slot)
    else:
        found = _of_values(slot, slot.values)
    return [Suggestion(slot.head + each.name, each.text) for each in found]


@contextmanager
def suggestions(database: str | None) -> Generator[Suggestions]:
    """What the queue suggests that the line names, or else environment and `.env`. Raises QueueError."""
    import os

    from queuectl import engines, settings

    named = os.path.expandvars(database) if database is not None else None  # the shell would have done that
    with engines.read_only(settings.database(named).path) as store:
        yield Suggestions(store)


def _of_values(slot: CursorSlot, values: Values) -> Iterator[Suggestion]:
    """Yield the values that begin as the word does; of several in one word, those of the last."""
    cut = slot.text.rfind(values.separator) + 1 if values.separator else 0
    head, text = slot.text[:cut], slot.text[cut:]
    used = {*head.split(values.separator or None), *slot.operands}
    for each in (*_words(slot, values), *_names(slot, values, text)):
        if each.name.startswith(text) and each.name not in used:
            yield Suggestion(head + each.name, each.text)


def _words(slot: CursorSlot, values: Values) -> Iterator[Suggestion]:
    """Yield the values that are known without the queue."""
    yield from map(Suggestion, values.words)
    if values.known:
        module, _, name = values.known.partition(":")
        known: Any = attrgetter(name)(import_module(module))
        give = cast(Callable[[], Iterable[Any]], known if callable(known) else getattr(known, "values", known.__iter__))
        for word in give():
            yield Suggestion(getattr(word, "key", getattr(word, "name", word)), getattr(word, "help", ""))
    if values.of_setting and slot.operands:
        from queuectl.settings import SETTINGS

        setting = SETTINGS.get(slot.operands[0])
        yield from map(Suggestion, setting.words if setting is not None else ())


def _names(slot: CursorSlot, values: Values, text: str) -> Iterator[Suggestion]:
    """Yield the ids and names that the queue has."""
    if not values.jobs and not values.names:
        return
    with suggestions(slot.database) as queue:
        if values.jobs:
            yield from queue.jobs(text, values.jobs)
        if values.prefix and not text.startswith(values.prefix):
            if values.prefix.startswith(text):
                yield Suggestion(values.prefix, "all of a batch")
            return
        for name in values.names:
            found: list[Suggestion] = getattr(queue, name)(text.removeprefix(values.prefix))
            yield from (Suggestion(values.prefix + each.name, each.text) for each in found)
