"""GNU parallel's --joblog: what failed there becomes jobs, as its --retry-failed runs it again."""

from collections.abc import Iterable
from typing import NamedTuple

from queuectl import spec
from queuectl.errors import Invalid
from queuectl.job_fields import Spec
from queuectl.other_queues import Found

HEAD = b"Seq\tHost\tStarttime\tJobRuntime\tSend\tReceive\tExitval\tSignal\tCommand"


LONGEST = 1 << 20
"""Bytes of a line; no command that long can be run."""


class _LoggedRun(NamedTuple):
    number: int
    command: str
    failed: bool


def read(lines: Iterable[bytes], *, all: bool = False) -> Found:
    """The jobs of a joblog: those whose latest line tells of a failure; with `all` also those that succeeded.

    They have no time limit, as there. Raises Invalid, which names the line.
    """
    latest: dict[int, _LoggedRun] = {}
    for number, line in enumerate(lines, 1):
        if len(line) >= LONGEST:
            raise Invalid(f"line {number}: is longer than {LONGEST} bytes")
        text = line.removesuffix(b"\n")
        if number == 1:
            if text.rstrip() != HEAD:
                raise Invalid("line 1: is not the head of a joblog (Seq, Host, Starttime, ...)")
        elif text:
            seq, read_line = _read(number, text)
            latest[seq] = read_line
    taken = [latest[seq] for seq in sorted(latest) if all or latest[seq].failed]
    return Found(
        [_job(line) for line in taken], [f"line {line.number}" for line in taken], len(latest) - len(taken), {}
    )


def _read(number: int, line: bytes) -> tuple[int, _LoggedRun]:
    columns = line.split(b"\t", 8)
    if len(columns) < 9:
        raise Invalid(f"line {number}: has {len(columns)} columns; a joblog has 9, with tabs between them")
    try:
        seq, code, signal = (int(columns[place]) for place in (0, 6, 7))
    except ValueError:
        raise Invalid(f"line {number}: Seq, Exitval and Signal are not whole numbers") from None
    try:
        command = columns[8].replace(b"\0", b"\n").decode()
    except UnicodeDecodeError:
        raise Invalid(f"line {number}: the command is not valid UTF-8") from None
    return seq, _LoggedRun(number, command, failed=bool(code or signal))


def _job(line: _LoggedRun) -> Spec:
    try:
        return spec.check(Spec(command=line.command, timeout=None))
    except Invalid as error:
        raise Invalid(f"line {line.number}: {error}") from None
