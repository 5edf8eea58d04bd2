"""What `audit verify` has to say: what it looked at, what is wrong, and what it could not look at."""

from collections.abc import Iterable
from typing import Any

import msgspec

from queuectl.audit.seal import Seal

MOST = 1000
"""Findings that are told in full; of more only the number."""


class Finding(msgspec.Struct, frozen=True):
    """One thing that is not as it was sealed."""

    kind: str
    """changed, removed, added: of events; leaf, seal: of what proves them; anchor; archive: a file of events; log."""
    what: str
    seq: int | None = None
    """Of the event it is about, or the first of several."""


class Unchecked(msgspec.Struct, frozen=True):
    """Archived events of which nothing is proven, because their file is not here."""

    file: str
    events: int


class Verdict(msgspec.Struct, kw_only=True):
    """What was found so far."""

    events: int = 0
    """In the log."""
    archived: int = 0
    """Gone from it, of which the leaves are kept."""
    seals: int = 0
    seal: Seal = Seal()
    """The last one."""
    unsealed: int = 0
    """Events in the log that are under no seal."""
    findings: list[Finding] = []
    more: int = 0
    """Findings beyond those."""
    unchecked: list[Unchecked] = []
    allows_missing: bool = False
    """Whether archives may be missing."""

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong, and all was checked but what may be missing."""
        return not self.findings and (self.allows_missing or not self.unchecked)

    def add(self, finding: Finding) -> None:
        """Take down one more."""
        if len(self.findings) < MOST:
            self.findings.append(finding)
        else:
            self.more += 1

    def json(self) -> dict[str, Any]:
        """The document of `audit verify --json`."""
        return {
            "ok": self.holds,
            "seals": self.seals,
            "anchor": self.seal.anchor if self.seals else None,
            "sealed": self.seal.events,
            "unsealed": self.unsealed,
            "archived": self.archived,
            "findings": self.findings,
            "more": self.more,
            "unchecked": self.unchecked,
        }


class Ranges:
    """Numbers that come in rising order, told as `5-7, 9`; of very many only the first and how many."""

    def __init__(self) -> None:
        self.count = 0
        self.spans: list[tuple[int, int]] = []

    def add(self, first: int, last: int) -> None:
        """`first` to `last`, both included."""
        self.count += last - first + 1
        if self.spans and self.spans[-1][1] == first - 1:
            self.spans[-1] = (self.spans[-1][0], last)
        elif len(self.spans) < MOST:
            self.spans.append((first, last))

    @property
    def first(self) -> int | None:
        """The lowest number."""
        return self.spans[0][0] if self.spans else None

    def __str__(self) -> str:
        shown = [str(first) if first == last else f"{first}-{last}" for first, last in self.spans[:5]]
        rest = self.count - sum(last - first + 1 for first, last in self.spans[:5])
        return ", ".join(shown) + (f" and {rest:,} more" if rest else "")


def ranges(numbers: Iterable[int]) -> Ranges:
    """The ranges of rising numbers."""
    found = Ranges()
    for number in numbers:
        found.add(number, number)
    return found


def events(count: int) -> str:
    """`1 event`, `2,000 events`."""
    return f"{count:,} event{'' if count == 1 else 's'}"
