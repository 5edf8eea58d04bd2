"""An event from a line of JSON, as exports and archives have it: what was stored, byte by byte."""

import gzip
import zlib
from collections.abc import Iterator
from io import BufferedReader

import msgspec

from queuectl.clock import micros
from queuectl.errors import Invalid
from queuectl.events import Recorded, Unreadable

_GZIP = b"\x1f\x8b"


class _Line(msgspec.Struct, frozen=True):
    """The common shape of an event, with the payload left as it is."""

    seq: int
    stream: str
    version: int
    type: str
    v: int
    at: str
    actor: str
    data: msgspec.Raw


class _Stream(msgspec.Struct, frozen=True):
    """As much of it as it takes to see whether it is wanted."""

    stream: str


LONGEST = 16 << 20
"""Bytes of a line: no command, and no environment, makes an event as long."""

_decode = msgspec.json.Decoder(_Line).decode
_decode_stream = msgspec.json.Decoder(_Stream).decode


def parse(line: bytes) -> Recorded:
    """The event that stands in a line. Raises Invalid."""
    try:
        found = _decode(line)
        data = bytes(found.data).decode()
        record = Recorded(
            found.seq, found.stream, found.version, found.type, found.v, micros(found.at), found.actor, data
        )
        _ = record.event
    except (msgspec.DecodeError, Unreadable, ValueError, OverflowError, KeyError, TypeError) as error:
        raise Invalid(f"is no event as `queuectl export` writes it ({error})") from error
    except RecursionError:
        raise Invalid("is no event as `queuectl export` writes it (nested too deeply)") from None
    return record


def stream_of(line: bytes) -> str:
    """The stream of the event in a line, which takes a tenth of reading all of it. Raises Invalid."""
    try:
        return _decode_stream(line).stream
    except (msgspec.DecodeError, ValueError) as error:
        raise Invalid(f"is no event as `queuectl export` writes it ({error})") from error
    except RecursionError:
        raise Invalid("is no event as `queuectl export` writes it (nested too deeply)") from None


def lines(file: BufferedReader) -> Iterator[bytes]:
    """The lines of a file, unpacked where it is compressed with gzip. Raises Invalid where that is damaged."""
    if file.peek(2)[:2] != _GZIP:
        yield from _bounded(file)
        return
    try:
        yield from _bounded(gzip.GzipFile(fileobj=file))
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise Invalid(f"what follows is cut off or damaged ({error})") from error


def _bounded(file: BufferedReader | gzip.GzipFile) -> Iterator[bytes]:
    while line := file.readline(LONGEST + 1):
        if len(line) > LONGEST:
            raise Invalid(f"is longer than {LONGEST >> 20} MiB, and no event is")
        yield line
