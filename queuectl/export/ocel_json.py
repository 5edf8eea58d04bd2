"""OCEL 2.0 as one JSON document, written from its beginning to its end."""

from collections.abc import Iterable, Iterator
from typing import Any

from queuectl.clock import text
from queuectl.engines.scratch_database import scratch_database
from queuectl.events import encode
from queuectl.export import ocel
from queuectl.export.ocel import OcelEvent, OcelObject
from queuectl.export.rows import Source


def stream(source: Source) -> Iterator[bytes]:
    """The types, the events, then the objects: their ids wait in a temporary database meanwhile."""
    upto = source.queue.status().seq
    with scratch_database() as scratch:
        objects = ocel.Objects(scratch)
        yield b'{"eventTypes":' + _types(ocel.EVENT_TYPES) + b',\n"objectTypes":' + _types(ocel.OBJECT_TYPES)
        yield b',\n"events":['
        comma = b"\n"
        for page in ocel.events(source):
            objects.add(id for event in page for id in event.objects)
            yield comma + b",\n".join(map(_event, page))
            comma = b",\n"
        yield b'\n],\n"objects":['
        comma = b"\n"
        for batch in objects.read(source.queue, max(upto, source.last)):
            yield comma + b",\n".join(map(_object, batch))
            comma = b",\n"
        yield b"\n]}\n"


def _types(types: dict[str, dict[str, str]]) -> bytes:
    return encode([
        {"name": name, "attributes": [{"name": each, "type": type} for each, type in attributes.items()]}
        for name, attributes in types.items()
    ])  # fmt: skip


def _event(event: OcelEvent) -> bytes:
    return encode({
        "id": event.id,
        "type": event.type,
        "time": text(event.at),
        "attributes": [{"name": name, "value": value} for name, value in event.attributes.items()],
        "relationships": _relationships(event.objects.items()),
    })  # fmt: skip


def _object(each: OcelObject) -> bytes:
    return encode({
        "id": each.id,
        "type": each.type,
        "attributes": [{"name": name, "time": text(at), "value": value} for (at, name), value in each.values.items()],
        "relationships": _relationships(each.objects.items()),
    })  # fmt: skip


def _relationships(objects: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    return [{"objectId": id, "qualifier": part} for id, part in objects]
