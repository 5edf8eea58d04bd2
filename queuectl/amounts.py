"""Amounts of resources, and the numbers of their pieces, as people write them and as they are stored (R34)."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

from queuectl import units
from queuectl.errors import Invalid

MOST = 1 << 50
"""The most that there may be of a resource: a pebibyte."""
MOST_INDICES = 100_000
"""Pieces of a resource that have numbers."""
HIGHEST_INDEX = 1_000_000_000

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}", re.ASCII)


def check_resource(name: str) -> str:
    """The same name, if a resource may have it. Raises Invalid."""
    if name == "slots":
        raise Invalid("resource: slots of workers are no resource: write --slots N")
    if not _NAME.fullmatch(name):
        raise Invalid(f"resource: {name!r} is no name of a resource (a letter, then letters, digits and _ . -)")
    return name


def amount(text: str) -> int:
    """How much of a resource: `2`, `8G`. Raises Invalid for nothing, and for more than a pebibyte."""
    try:
        found = units.size(text)
    except Invalid:
        found = 0
    return check_amount(found, text)


def check_amount(found: int, text: str | None = None) -> int:
    """The same amount, if there can be so much. `text`: as it was written. Raises Invalid."""
    if not 1 <= found <= MOST:
        written = repr(text) if text is not None else str(found)
        raise Invalid(f"{written} is not how much there can be of a resource: write 1, 2, …, or a size as 8G")
    return found


def need(word: str) -> tuple[str, int]:
    """The resource and the amount of `gpu`, `gpu=2` or `mem=8G`. Raises Invalid."""
    name, equals, much = word.partition("=")
    check_resource(name)
    try:
        return name, amount(much) if equals else 1
    except Invalid as error:
        raise Invalid(f"resource {name}: {error}") from None


def needs(words: Iterable[str]) -> dict[str, int]:
    """What several such words need together. Raises Invalid, also where one names a resource again."""
    found: dict[str, int] = {}
    for word in words:
        name, much = need(word)
        if name in found:
            raise Invalid(f"resource {name}: is given twice")
        found[name] = much
    return found


def check_needs(found: Mapping[str, int]) -> dict[str, int]:
    """What a job needs, by name and in the order of the names, if it can be. Raises Invalid."""
    for name, much in found.items():
        check_resource(name)
        try:
            check_amount(much)
        except Invalid as error:
            raise Invalid(f"resource {name}: {error}") from None
    return dict(sorted(found.items()))


def demanded(demand: str) -> dict[str, int]:
    """The resources of a demand (see `Enqueued.demand`), its slots aside."""
    words = (word.partition("=") for word in demand.split(" "))
    return {name: int(much) for name, _, much in words if name != "slots"}


def indices(text: str) -> tuple[int, ...]:
    """The numbers of `0-3,7`, each once and in order. Raises Invalid."""
    found: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,10})(?:-(\d{1,10}))?\s*", part, re.ASCII)
        if match is None:
            raise Invalid(f"{text!r} is not a list of numbers; write 0-3 or 0,2,5-7")
        low, high = int(match[1]), int(match[2] or match[1])
        if high < low or high > HIGHEST_INDEX or high - low >= MOST_INDICES:
            raise Invalid(
                f"{part.strip()!r} is not a range from a number to a higher one, of {MOST_INDICES:,} numbers at most, "
                f"up to {HIGHEST_INDEX:,}"
            )
        found.update(range(low, high + 1))
        if len(found) > MOST_INDICES:
            raise Invalid(f"{text!r} has more than {MOST_INDICES:,} numbers")
    return tuple(sorted(found))


def ranges(numbers: Collection[int]) -> str:
    """Numbers as `indices` reads them: `0-3,7`."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ",".join(f"{low}-{high}" if high > low else str(low) for low, high in found)


def offer(word: str) -> tuple[str, int | str]:
    """What a worker offers, by a word: `gpu=0-1` or `gpu=0,2` names the pieces, `db`, `gpu=2`, `mem=8G` how much.

    A single piece is a range as well: `gpu=0-0`. Raises Invalid.
    """
    name, _, text = word.partition("=")
    if re.fullmatch(r"[\d\s]*[-,][\d\s,-]*", text, re.ASCII):
        check_indexed(name)
        try:
            return name, ranges(indices(text))
        except Invalid as error:
            raise Invalid(f"resource {name}: {error}") from None
    try:
        return need(word)
    except Invalid as error:
        raise Invalid(f"{error}; or the numbers of its pieces, as 0-1, or 0-0 for one") from None


def offers(words: Sequence[str]) -> dict[str, int | str]:
    """What several such words offer. Raises Invalid, also where one names a resource again."""
    found = dict(map(offer, words))
    if len(found) < len(words):
        raise Invalid("a resource is offered twice")
    return found


def text(much: int) -> str:
    """An amount for people: `2`, and from a mebibyte on as a size, `8 GiB`."""
    return units.size_text(much) if much >= 1 << 20 and not much % 1024 else f"{much:,}"


def variable(name: str) -> str:
    """The variable that tells a job the numbers of the pieces it was granted: `QUEUECTL_GPU`."""
    return f"QUEUECTL_{re.sub('[^A-Za-z0-9]', '_', name).upper()}"


_TAKEN = frozenset({
    "db", "job_id", "attempt", "queue", "tag", "logs", "debug", "keep_env", "max_retries", "backoff_base",
    "backoff_max", "backoff", "jitter", "timeout", "on_lost", "memory_limit", "grace", "shell", "progress",
    "scheduled_for", "trigger_job",
})  # fmt: skip
"""Resources whose variable is another: of a job's attempt, or of a setting."""


def check_indexed(name: str) -> str:
    """The same name, if a resource whose pieces have numbers may have it. Raises Invalid."""
    check_resource(name)
    if variable(name).removeprefix("QUEUECTL_").lower() in _TAKEN:
        raise Invalid(f"resource {name}: {variable(name)} is a variable of QueueCTL's own: choose another name")
    return name
