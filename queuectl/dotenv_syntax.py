"""How a `.env` is written.

A line is `NAME=value`, also behind `export`. What stands in `'…'` is taken as it is; in `"…"` and without quotes
`$NAME`, `${NAME}` and `${NAME:-default}` are filled in from the environment and the lines above. A quoted value may go
over several lines.
"""

import os
import re
import warnings
from collections.abc import Callable, Iterable

from queuectl.dotenv import Entry, EnvFile
from queuectl.errors import SettingWarning, shown

_NAME = re.compile(r"[ \t]*(?:export[ \t]+)?([A-Za-z_][\w.-]*)[ \t]*", re.ASCII)
_QUOTED = {
    "'": re.compile(r"'((?:[^'\\]|\\.)*)'", re.DOTALL),
    '"': re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL),
}
_BREAK = re.compile(r"[\r\n]")
_COMMENT = re.compile(r"[ \t]*(?:#[^\r\n]*)?(?=[\r\n]|\Z)")
_NAMES = re.compile(r"^[ \t]*(?:export[ \t]+)?([A-Za-z_]\w*)[ \t]*[=:]", re.ASCII | re.MULTILINE)
_PARTS = re.compile(r"\\(.)|\$\{([^}\r\n]*)(\}?)|\$([A-Za-z_]\w*)|\$(\()", re.ASCII | re.DOTALL)
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}


def names(text: str) -> Iterable[str]:
    """The names that the text of a `.env` sets, at the least."""
    return _NAMES.findall(text)


def parsed(path: str, text: str, environ: Callable[[str], str | None] = os.environ.get) -> EnvFile:
    """What the text of a `.env` says. Warns of lines that are none."""
    entries: dict[str, Entry] = {}
    broken: list[int] = []

    def lookup(name: str) -> str:
        value = environ(name)
        if value is not None:
            return value
        if name not in entries:
            raise _Wrong(f"${name} is not set")
        if entries[name].wrong is not None:
            raise _Wrong(f"${name} can't be used")
        return entries[name].text

    at, line = 0, 1
    while at < len(text):
        end, name, entry = _line(text, at, line, lookup)
        if name is not None and entry is not None:
            entries[name] = entry
        elif name is not None:
            broken.append(line)
        end = _rest(text, end)
        end += 2 if text.startswith("\r\n", end) else 1
        line += len(re.findall(r"\r\n|\n|\r", text[at:end]))
        at = end
    if broken:
        more = f" (and {len(broken) - 1} more)" if len(broken) > 1 else ""
        warnings.warn(
            f"{shown(path)}, line {broken[0]}{more}: is not NAME=value: passed over", SettingWarning, stacklevel=1
        )
    return EnvFile(path, entries)


def _line(text: str, at: int, line: int, lookup: Callable[[str], str]) -> tuple[int, str | None, Entry | None]:
    """What begins at this place: where it ends, its name and what is set.

    A name without an entry is a line that is none; no name, that there is nothing in it.
    """
    if blank := _COMMENT.match(text, at):
        return blank.end(), None, None
    head = _NAME.match(text, at)
    if head is None:
        return at, "", None
    name, at = head[1], head.end()
    if not text.startswith("=", at):  # `export NAME` sets nothing
        if _COMMENT.match(text, at):
            return at, None, None
        return at, name, Entry(line, wrong="there is no = behind it") if text.startswith(":", at) else None
    while text[at + 1 : at + 2] in (" ", "\t"):
        at += 1
    quote = text[at + 1 : at + 2]
    try:
        if quote in _QUOTED:
            found = _QUOTED[quote].match(text, at + 1)
            if found is None:
                raise _Wrong(f"the {quote} is not closed")
            if not _COMMENT.match(text, found.end()):
                raise _Wrong(f"something stands behind the closing {quote}")
            raw, at = found[1], found.end()
        else:
            raw = text[at + 1 : _rest(text, at + 1)]
            if comment := re.search(r"(?:^|[ \t])#", raw):
                raw = raw[: comment.start()]
            raw = raw.rstrip()
        value = re.sub(r"\\([\\'])", r"\1", raw) if quote == "'" else _filled(raw, quote == '"', lookup)
        value.encode()
    except _Wrong as wrong:
        return at, name, Entry(line, wrong=str(wrong))
    except UnicodeEncodeError:
        return at, name, Entry(line, wrong="is not valid UTF-8")
    return at, name, Entry(line, value)


def _rest(text: str, at: int) -> int:
    """Where the line ends."""
    found = _BREAK.search(text, at)
    return found.start() if found is not None else len(text)


class _Wrong(Exception):
    """Why a value can't be used."""


def _filled(raw: str, quoted: bool, lookup: Callable[[str], str]) -> str:
    """The value with its variables filled in."""

    def part(match: re.Match[str]) -> str:
        escaped, braced, closed, name, command = match.groups()
        if escaped is not None:
            if escaped == "$":
                return "$"
            return _ESCAPES.get(escaped, escaped if escaped in "\\\"'" else match[0]) if quoted else match[0]
        if command:
            raise _Wrong("$(…) is not run: write the value")
        if name is not None:
            return lookup(name)
        wanted = re.fullmatch(r"([A-Za-z_]\w*)(?:(:?-)(.*))?", braced, re.ASCII)
        if wanted is None or not closed:
            raise _Wrong(f"${{{braced}{closed} is no variable: write ${{NAME}} or ${{NAME:-default}}")
        if wanted[2] is None:
            return lookup(wanted[1])
        try:
            value = lookup(wanted[1])
        except _Wrong:
            return wanted[3]
        return wanted[3] if not value and wanted[2] == ":-" else value

    return _PARTS.sub(part, raw)
