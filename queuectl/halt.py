"""When a batch is halted: `soon,fail=3`, `now,fail=10%`, `now,success=1` (the words of GNU parallel's `--halt`)."""

import re
from collections.abc import Mapping

import msgspec

from queuectl.errors import Invalid

LEAST_ENDED = 10
"""How many jobs have to have ended before a percentage of them says anything."""

MOST = 1_000_000

_WHY = {"fail": ("dead",), "success": ("completed",), "done": ("completed", "dead", "cancelled")}
"""By the word for it: the states of the jobs that count."""

_HINT = "write soon,fail=3, now,fail=10% or now,success=1"


class HaltRule(msgspec.Struct, frozen=True):
    """A rule of a batch."""

    when: str
    """`soon`: what runs may end; `now`: it is cancelled as well."""
    why: str
    """`fail`, `success` or `done`: which jobs count."""
    number: int
    """How many of them there have to be; of a percentage, of a hundred that have ended."""
    is_percentage: bool = False

    def __str__(self) -> str:
        """The rule as it is written."""
        return f"{self.when},{self.why}={self.number}{'%' if self.is_percentage else ''}"

    def is_met(self, counts: Mapping[str, int]) -> bool:
        """Whether a batch with so many jobs in each state is to be halted."""
        found = sum(counts.get(state, 0) for state in _WHY[self.why])
        if not self.is_percentage:
            return found >= self.number
        ended = sum(counts.get(state, 0) for state in _WHY["done"])
        return ended >= LEAST_ENDED and found * 100 >= self.number * ended


def halt_rule(text: str) -> HaltRule:
    """The rule of a text. Raises Invalid."""
    match = re.fullmatch(r"\s*(soon|now)\s*,\s*(fail|success|done)\s*=\s*(\d{1,7})\s*(%?)\s*", text, re.ASCII)
    if match is None:
        raise Invalid(f"halt: {text!r} is no rule; {_HINT}")
    number, is_percentage = int(match[3]), bool(match[4])
    most = 100 if is_percentage else MOST
    if not 1 <= number <= most:
        raise Invalid(f"halt: {text!r}: {number}{match[4]} is not from 1 to {most:,}{match[4]}; {_HINT}")
    return HaltRule(match[1], match[2], number, is_percentage)
