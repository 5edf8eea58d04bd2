"""What hosts that share a database can read of each other's files: outputs of attempts, and inputs of jobs.

The files lie on one host: where the attempt ran, where `--stdin` copied. The engine keeps the ends of each output and
the whole of each input, and passes on what a reader asks a worker of that host for.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import msgspec


class OutputEnds(msgspec.Struct, frozen=True):
    """The beginning and the end of an output file, or of that for stderr."""

    job: str
    lease: int
    source: int
    """0: the output file; 1: the one for stderr."""
    size: int
    """Bytes of the whole file."""
    head: bytes
    tail: bytes
    """Empty where `head` has all of it."""


class OutputRequest(msgspec.Struct, frozen=True):
    """A question of a reader: what is at `start` of a file that lies elsewhere."""

    id: str
    """Of the reader. Its next question takes the place of this one."""
    identity: str
    """Of the home in which the file is."""
    job: str
    lease: int
    source: int
    """As of `OutputEnds`."""
    start: int
    number: int
    """How many questions this reader has asked by now."""


class OutputPiece(msgspec.Struct, frozen=True):
    """The answer. All places are bytes from the beginning of the file."""

    size: int | None
    """Of the file; None: there is none."""
    begin: int = 0
    """Where at or behind `start` there is something: what is before was cut out."""
    end: int = 0
    """Where the next that was cut out begins, or the file ends."""
    data: bytes = b""
    """From `begin` on, as much as is sent at once."""


class SharedFiles(Protocol):
    """Kept outside of the log, and without its lock. Every method raises Unusable where the server can't be asked."""

    def keep_outputs(self, ends: Iterable[OutputEnds]) -> None:
        """Keep the ends of outputs. They are durable when what is appended after it is."""
        ...

    def output_ends(self, job: str, lease: int) -> dict[int, OutputEnds]:
        """What was kept of an attempt, by source."""
        ...

    def every_output(self) -> Iterable[OutputEnds]:
        """All that was kept, in no order."""
        ...

    def forget_outputs(self, attempts: Sequence[tuple[str, int]]) -> None:
        """Remove what was kept of these attempts, by job and lease."""
        ...

    def keep_input(self, name: str, data: bytes) -> None:
        """Keep an input under its name, the digest of its content. Harmless when repeated."""
        ...

    def input(self, name: str) -> bytes | None:
        """The content of an input; None where it is not kept."""
        ...

    def inputs(self) -> Iterable[str]:
        """The names of all inputs that are kept."""
        ...

    def input_versions(self) -> Mapping[str, str]:
        """The names of all inputs that are kept, each with what changes whenever `keep_input` is asked for it."""
        ...

    def forget_inputs(self, versions: Mapping[str, str]) -> None:
        """Remove inputs, as long as each has this version."""
        ...

    def can_ask(self) -> bool:
        """Whether requests can be made: on a replica, or by a role that may only read, they can't."""
        ...

    def ask(self, request: OutputRequest, *, wake: bool) -> None:
        """Ask, and wake the workers (`wake`): those at work on requests look again for `ATTENTION` seconds anyway."""
        ...

    def answer_to(self, request: OutputRequest) -> OutputPiece | None:
        """The answer; None while there is none."""
        ...

    def withdraw(self, reader: str) -> None:
        """The reader asks no more."""
        ...

    def requests(self, identity: str) -> list[tuple[OutputRequest, bool]]:
        """What is asked of the home with this identity, and whether it was answered already; none for `ATTENTION`
        seconds after its last question."""
        ...

    def answer(self, request: OutputRequest, piece: OutputPiece) -> None:
        """Answer a request, if that has not been done and nothing else is asked by now."""
        ...


ATTENTION = 5.0
"""Seconds for which a worker looks for the next question of a reader."""
