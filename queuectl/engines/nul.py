"""NUL characters: no text in the log has one, for PostgreSQL could not keep it, nor a log with it move there (P11)."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from queuectl.errors import Invalid

_ESCAPED = "\\u0000"


def refuse_nul(rows: Iterable[Sequence[Any]]) -> None:
    """Raise Invalid, which names the field, where an event has a NUL in its actor or payload (fields of `Recorded`)."""
    for *_, actor, data in rows:
        if "\0" in actor:
            raise _refusal("actor")
        if _ESCAPED in data and _has_nul(data):
            raise _refusal(_field(msgspec.json.decode(data)))


def _refusal(field: str) -> Invalid:
    return Invalid(f"{field}: has a NUL character in it, which the log does not take: leave it out")


def _has_nul(data: str) -> bool:
    """Whether a text in this JSON has a NUL: behind an even number of backslashes it is one."""
    return any(len(before) % 2 == 0 for before in re.findall(r"(\\*)\\u0000", data))


def _field(payload: dict[str, Any]) -> str:
    return next(name for name, value in payload.items() if _has_nul(msgspec.json.encode([name, value]).decode()))
