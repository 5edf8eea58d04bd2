"""The `.env` of the working directory: variables for the commands run there, read as the environment is.

Other programs have their own variables in it. So what is wrong with a line matters only to what needs its value: asking
for that value raises. A file that another user could have written is not read: it is only looked at for which names it
sets, and asking for one of those raises. Of a file that can't be looked at, every name might stand in it.
"""

import os
import stat

import msgspec

from queuectl.errors import Invalid, Unusable, shown
from queuectl.host.trust import distrust

MOST = 64 << 10
"""Bytes of a `.env` that is read."""


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
    from queuectl import dotenv_syntax

    text = data.decode("utf-8", "surrogateescape").removeprefix("\ufeff")
    if why := distrust(os.lstat(".env")) or distrust(found):
        return EnvFile(path, {name: Entry(0) for name in dotenv_syntax.names(text)}, f"{name} {why}, and is not read")
    return dotenv_syntax.parsed(path, text)
