"""The result of `audit verify`: what was verified, what is wrong, and what could not be verified."""

from collections.abc import Iterable
from typing import Any

import msgspec

from queuectl.audit.seal import Seal

MOST = 1000
"""The most findings that are listed; further ones are counted."""


class AuditFinding(msgspec.Struct, frozen=True):
    """A difference between the log and what was sealed."""

    kind: str
    """changed, removed, added: of events; leaf, seal: of what proves them; anchor; archive: a file of events; log."""
    what: str
    seq: int | None = None
    """Of the event it is about, or the first of several."""


class Unchecked(msgspec.Struct, frozen=True):
    """Archived events that could not be verified, because their file is missing."""

    file: str
    events: int


class Verdict(msgspec.Struct, kw_only=True):
    """The findings so far, and counts of what was verified."""

    events: int = 0
    """In the log."""
    archived: int = 0
    """Not in the log, but with their leaves stored."""
    seals: int = 0
    seal: Seal = Seal()
    """The last one."""
    unsealed: int = 0
    """Events in the log that are under no seal."""
    findings: list[AuditFinding] = []
    more: int = 0
    """Findings beyond those."""
    unchecked: list[Unchecked] = []
    allows_missing: bool = False
    """Whether archives may be missing."""

    @property
    def ok(self) -> bool:
        """Whether there is no finding, and no archive is missing that must not be."""
        return not self.findings and (self.allows_missing or not self.unchecked)

    def add(self, finding: AuditFinding) -> None:
        """Add a finding."""
        if len(self.findings) < MOST:
            self.findings.append(finding)
        else:
            self.more += 1

    def json(self) -> dict[str, Any]:
        """The document of `audit verify --json`."""
        return {
            "ok": self.ok,
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
    """Numbers added in rising order, written as `5-7, 9`; of very many, the first ones and how many more."""

    def __init__(self) -> None:
        self.count = 0
        self.spans: list[tuple[int, int]] = []

    def add(self, first: int, last: int) -> None:
        """Add the numbers from `first` to `last`, both included."""
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
    """Return the ranges of rising numbers."""
    found = Ranges()
    for number in numbers:
        found.add(number, number)
    return found


def events(count: int) -> str:
    """Return `1 event`, or `2,000 events`."""
    return f"{count:,} event{'' if count == 1 else 's'}"
