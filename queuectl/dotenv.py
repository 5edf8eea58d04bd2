"""The `.env` of the working directory: variables for the commands run there, read as the environment is.

A line is `NAME=value`, also behind `export`. What stands in `'…'` is taken as it is; in `"…"` and without quotes
`$NAME`, `${NAME}` and `${NAME:-default}` are filled in from the environment and the lines above. A quoted value may go
over several lines.

Other programs have their own variables in it. So what is wrong with a line matters only to what needs its value: asking
for that value raises. A file that another user could have written is not read: it is only looked at for which names it
sets, and asking for one of those raises. Of a file that can't be looked at, every name might stand in it.
"""

import os
import re
import stat
import warnings
from collections.abc import Callable

import msgspec

from queuectl.errors import Invalid, SettingWarning, Unusable, shown
from queuectl.host.trust import distrust

MOST = 64 << 10
"""Bytes of a `.env` that is read."""

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


class Entry(msgspec.Struct, frozen=True):
    """What stands behind a name."""

    line: int
    text: str = ""
    wrong: str | None = None
    """Why it can't be used."""


class EnvFile:
    """What a `.env` sets; nothing where there is none."""

    def __init__(self, path: str = ".env", entries: dict[str, Entry] | None = None, refusal: str | None = None) -> None:
        """`refusal` says why the file is not read. `entries` is None where it is not even known which names it sets."""
        self.path = path
        self.refusal = refusal
        self._entries = entries

    @property
    def opaque(self) -> bool:
        """Whether any name might stand in it."""
        return self._entries is None

    def get(self, name: str) -> str | None:
        """The value of a variable, or None where it is not set.

        Raises Invalid, naming file and line, where it can't be used, and Unusable, naming file and owner, where it
        stands in a file that is not read.
        """
        entry = self._entries.get(name) if self._entries is not None else None
        if entry is None:
            return None
        if self.refusal is not None:
            raise Unusable(f"{self.refusal}: {name} is set there")
        if entry.wrong is not None:
            raise Invalid(f"{self.where(name)}: {name}: {entry.wrong}")
        return entry.text

    def where(self, name: str) -> str:
        """File and line in which a variable is set."""
        line = self._entries[name].line if self._entries is not None else 0
        return f"{shown(self.path)}, line {line}"


def read() -> EnvFile:
    """The `.env` of the working directory. Warns of lines that are none; raises nothing.

    A folder of that name is none. What is no regular file is not opened, and what is above 64 KiB not read.
    """
    try:
        found = os.stat(".env")
        if stat.S_ISDIR(found.st_mode):
            return EnvFile(entries={})
        path = os.path.abspath(".env")
    except FileNotFoundError:
        return EnvFile(entries={})
    except OSError as error:
        return EnvFile(".env", None, f".env can't be read ({error.strerror})")
    name = shown(path)
    if not stat.S_ISREG(found.st_mode):
        return EnvFile(path, None, f"{name} is no regular file, and is not read")
    try:
        # It may have been put in the place of another meanwhile: nothing here waits for a writer.
        with open(os.open(".env", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY), "rb") as file:
            found = os.fstat(file.fileno())
            data = file.read(MOST + 1) if stat.S_ISREG(found.st_mode) else b""
    except OSError as error:
        return EnvFile(path, None, f"{name} can't be read ({error.strerror})")
    if len(data) > MOST:
        return EnvFile(path, None, f"{name} is above {MOST >> 10} KiB, and is not read")
    if b"\0" in data:
        return EnvFile(path, None, f"{name} is no text in UTF-8, and is not read")
    text = data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    if why := distrust(os.lstat(".env")) or distrust(found):
        return EnvFile(path, {name: Entry(0) for name in _NAMES.findall(text)}, f"{name} {why}, and is not read")
    return parsed(path, text)


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
