"""The arguments of `enqueue --each`: lines of files or of stdin, the columns of a CSV file, or words behind `:::`."""

import csv
import itertools
import math
import os
import sys
from collections.abc import Iterator, Sequence
from typing import IO, NamedTuple

from queuectl import bounds
from queuectl.errors import Invalid

SEPARATORS = (":::", ":::+", "::::", "::::+")
"""What stands before words, and before the files of which each has its own; with + they go along with those before."""

STDIN = "/dev/stdin"

MOST_COMBINATIONS = 1_000_000
"""Jobs that arguments of several sources are combined to."""

_LONGEST = bounds.LONGEST_ARGUMENT
"""Bytes of one argument; a job can't be given a longer one."""

_PIECE = 1 << 16
"""Bytes that are read at a time."""


class Arguments(NamedTuple):
    """What `enqueue --each` is given: for each job, its arguments in order."""

    rows: Iterator[Sequence[str]]
    width: int
    """How many arguments each job has."""
    names: tuple[str, ...] = ()
    """Their names, where they have any."""


def with_stdin(words: Sequence[str]) -> list[str]:
    """Return the words of `enqueue --each` with `STDIN` for a `-` that is no option's value: cyclopts takes none."""
    before = ["", *words]
    return [
        STDIN if word == "-" and previous not in ("--stdin", "--file") else word
        for previous, word in zip(before, words, strict=False)
    ]


def split(words: Sequence[str]) -> tuple[tuple[str, ...], list[tuple[str, tuple[str, ...]]]]:
    """Return the words before the first separator, and each separator with the words behind it."""
    cuts = [place for place, word in enumerate(words) if word in SEPARATORS]
    ends = [*cuts, len(words)]
    groups = [(words[cut], tuple(words[cut + 1 : end])) for cut, end in zip(cuts, ends[1:], strict=True)]
    return tuple(words[: ends[0]]), groups


def read(
    files: Sequence[str], groups: Sequence[tuple[str, tuple[str, ...]]], *, null: bool = False, header: bool = False
) -> Arguments:
    """Return the arguments that are asked for: of files, and of the words behind separators.

    Without any they are read from stdin. `null`: a NUL ends each, in the place of a line's end. `header`: they are
    those of one CSV file, of which the first line names the columns. Raises Invalid, also while they are read.
    """
    if not files and not groups:
        if sys.stdin.isatty():
            raise Invalid("there are no arguments: name a FILE of them, write ::: ARG..., or pipe them in (- reads "
                          "them from the terminal)")  # fmt: skip
        files = (STDIN,)
    if header:
        if null or groups or len(files) > 1:
            raise Invalid("--csv: the arguments are those of one file, or stdin: without --null, ::: and other files")
        return _columns(files[0])
    if not groups:
        rows = ((text,) for file in files for text in _texts(file, null))
        return Arguments(rows, 1)
    return _combined(files, groups, null)


def _combined(files: Sequence[str], groups: Sequence[tuple[str, tuple[str, ...]]], null: bool) -> Arguments:
    """The arguments of several sources: each with each, or those of a source along with those of the one before."""
    sources: list[list[tuple[str, ...]]] = []
    if files:
        sources.append([(text,) for file in files for text in _texts(file, null)])
    for separator, words in groups:
        if not words and separator.startswith("::::"):
            raise Invalid(f"{separator} needs a FILE")
        lists = [[*_texts(file, null)] for file in words] if separator.startswith("::::") else [words]
        for texts in lists:
            if not separator.endswith("+"):
                sources.append([(text,) for text in texts])
            elif not sources:
                raise Invalid(f"{separator} has no source before it with which it could go along")
            else:
                sources[-1] = [(*row, text) for row, text in zip(sources[-1], texts, strict=False)]
    if (total := math.prod(map(len, sources))) > MOST_COMBINATIONS:
        raise Invalid(f"{' x '.join(str(len(each)) for each in sources)} arguments are {total:,} jobs; at most "
                      f"{MOST_COMBINATIONS:,} at once")  # fmt: skip
    width = len(files[:1]) + sum(len(words) if separator.startswith("::::") else 1 for separator, words in groups)
    return Arguments((tuple(itertools.chain(*rows)) for rows in itertools.product(*sources)), width)


def _texts(path: str, null: bool) -> Iterator[str]:
    """Yield the lines of a file, or what ends in NUL, without their ends. Raises Invalid, naming the line."""
    what, end = ("argument", b"\0") if null else ("line", b"\n")
    with _open(path) as file:
        for number, text in enumerate(_pieces(file, end), 1):
            if len(text) > _LONGEST:
                raise Invalid(f"{_name(path)}: {what} {number}: is longer than {_LONGEST} bytes, which no program can "
                              "be given")  # fmt: skip
            try:
                yield text.decode()
            except UnicodeDecodeError as error:
                raise Invalid(f"{_name(path)}: {what} {number}: not valid UTF-8 (byte {error.start + 1})") from None


def _pieces(file: IO[bytes], end: bytes) -> Iterator[bytes]:
    """Yield what stands before each `end`, and what is left behind the last one; of what is too long a part."""
    rest = b""
    while piece := file.read(_PIECE):
        *whole, rest = (rest + piece).split(end)
        yield from whole
        if len(rest) > _LONGEST:
            break
    if rest:
        yield rest


def _columns(path: str) -> Arguments:
    """The arguments of a CSV file."""
    rows = _rows(path)
    names = tuple(next(rows, ()))
    if not names:
        raise Invalid(f"{_name(path)}: there is no line in it that names the columns")
    for name in names:
        if not name or name.isdigit() or name != name.strip() or set(name) & set("{}/.#%"):
            raise Invalid(f"{_name(path)}: the first line has to name the columns: {name!r} is no name (empty, digits, "
                          "spaces at an end, or one of {}/.#% in it)")  # fmt: skip
        if names.count(name) > 1:
            raise Invalid(f"{_name(path)}: the column {name!r} is there twice")
    return Arguments(rows, len(names), names)


def _rows(path: str) -> Iterator[Sequence[str]]:
    width = 0
    with _open(path) as file:
        lines = (line.decode("utf-8-sig" if not number else "utf-8") for number, line in enumerate(_lines(file)))
        reader = csv.reader(lines, strict=True)
        try:
            for row in reader:
                width = width or len(row)
                if row and len(row) != width:
                    raise Invalid(
                        f"{_name(path)}: line {reader.line_num}: has {len(row)} columns, the first line {width}"
                    )
                if row:
                    yield row
        except csv.Error as error:
            raise Invalid(f"{_name(path)}: line {reader.line_num}: {error}") from None
        except UnicodeDecodeError:
            raise Invalid(f"{_name(path)}: line {reader.line_num + 1}: not valid UTF-8") from None


def _lines(file: IO[bytes]) -> Iterator[bytes]:
    while line := file.readline(bounds.LONGEST_COMMAND):
        yield line


def _open(path: str) -> IO[bytes]:
    if path == STDIN:
        return open(0, "rb", closefd=False)
    try:
        if os.path.isdir(path):
            raise Invalid(f"{path!r} is a folder: its files are arguments behind ::: ({path.rstrip('/')}/*)")
        return open(path, "rb")
    except OSError as error:
        raise Invalid(f"{path!r}: {error.strerror}") from None


def _name(path: str) -> str:
    return "stdin" if path == STDIN else path
