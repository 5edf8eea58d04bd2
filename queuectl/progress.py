"""How far a job has come: what its command says of that, in a file of its own.

The last line of the file counts: a number of percent, and perhaps a text. Any command of the job may write to it, and
put anything in its place. So it is read within bounds, without waiting, and what is no such line is passed over.
"""

import os
import re
import stat

import msgspec

from queuectl.errors import Invalid

LONGEST_TEXT = 200
"""Characters of a text."""

_TAIL = 1024
"""Bytes at the end of the file that are looked at."""
_LINE = re.compile(r"\s*(\d{1,3}(?:\.\d{1,9})?)\s*%?(?:\s+(.*))?", re.ASCII | re.DOTALL)
_READ = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC
_WRITE = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC


class JobProgress(msgspec.Struct, frozen=True, gc=False):
    """How far a command says that it is."""

    percent: float
    """0 to 100."""
    text: str | None
    """On one line."""
    at: int
    """When it said so: microseconds UTC."""


def read(path: str) -> JobProgress | None:
    """What the file says; None where there is none, or no such line at its end. Never waits, never raises OSError."""
    if not os.access(path, os.F_OK):  # as of most attempts, and a fraction of what an exception costs
        return None
    try:
        fd = os.open(path, _READ)
    except OSError:
        return None
    try:
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode):
            return None
        start = max(0, found.st_size - _TAIL)
        tail = os.pread(fd, _TAIL, start)
    except OSError:
        return None
    finally:
        os.close(fd)
    said = _parsed(tail, is_whole=start == 0)
    return JobProgress(*said, found.st_mtime_ns // 1000) if said is not None else None


def _parsed(tail: bytes, *, is_whole: bool) -> tuple[float, str | None] | None:
    lines = re.split(rb"[\r\n]+", tail.rstrip())
    if len(lines) == 1 and not is_whole:  # the line is longer than what was read of it
        return None
    match = _LINE.fullmatch(lines[-1].decode("utf-8", "backslashreplace"))
    if match is None or (percent := float(match[1])) > 100:
        return None
    text = _printable((match[2] or "").strip())[:LONGEST_TEXT]
    return percent, text or None


def _printable(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def write(path: str, percent: float, text: str | None = None) -> None:
    """Say how far the job is, in its file. Raises Invalid, and OSError where it can't be written."""
    if not 0 <= percent <= 100:  # also false for nan
        raise Invalid(f"progress: {percent:g} is not from 0 to 100")
    if text is not None and len(text) > LONGEST_TEXT:
        raise Invalid(f"progress: the text is {len(text):,} characters long; at most {LONGEST_TEXT}")
    line = f"{percent:.9f}".rstrip("0").rstrip(".") + (f" {_printable(text)}" if text else "")
    fd = os.open(path, _WRITE, 0o600)
    try:
        os.write(fd, f"{line}\n".encode())
    finally:
        os.close(fd)
