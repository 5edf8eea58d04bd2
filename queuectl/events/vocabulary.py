"""Reading stored payloads by type and version; old forms are converted to the present one (R25)."""

from collections.abc import Callable
from typing import Any

import msgspec

Upcast = Callable[[dict[str, Any]], dict[str, Any]]


class Unreadable(ValueError):
    """A log that can't be read: a payload is damaged, or a history is impossible."""


class Newer(Unreadable):
    """An event that only a newer program can read."""


class Vocabulary:
    """Reads stored payloads, given the current form of every type and the steps from older forms to it.

    The payloads are Structs with a `type` and a `v`. `upcasts[type, v]` converts a payload of version v to version
    v + 1. Stored events are never changed.
    """

    def __init__(self, payloads: tuple[type[Any], ...], upcasts: dict[tuple[str, int], Upcast]) -> None:
        self.payloads = {payload.type: payload for payload in payloads}
        self.upcasts = upcasts
        self._decoders: dict[tuple[str, int], Callable[[str], Any]] = {}

    def decode(self, kind: str, v: int, data: str) -> Any:
        """Return the event of a stored payload.

        Raises Newer for a type or a version that this program does not know, Unreadable for a damaged payload.
        """
        decoder = self._decoders.get((kind, v))
        try:
            if decoder is not None:
                return decoder(data)
            payload = self.payloads.get(kind)
            if payload is not None and (payload.readable_from or payload.v) <= v <= payload.v:
                self._decoders[kind, v] = decoder = msgspec.json.Decoder(payload).decode
                return decoder(data)
            if v < 1:
                raise Unreadable(f"there is no version {v} of an event of type {kind!r}")
            if payload is None or v > payload.v:
                raise Newer(f"an event of type {kind!r} version {v} was written by a newer queuectl; upgrade this one")
            old: dict[str, Any] = msgspec.json.decode(data)
            for version in range(v, payload.v):
                old = self.upcasts[kind, version](old)
            return msgspec.convert(old, payload)
        except msgspec.DecodeError as error:
            raise Unreadable(f"an event of type {kind!r} version {v} is damaged ({error}): {data[:80]!r}") from error
