"""How a text is written in a unit file of systemd, such that it means itself: systemd.syntax(7), systemd.service(5)."""

import re

from queuectl.errors import Invalid

_PLAIN = re.compile(r"[\w@%+=:,./?&~-]+", re.ASCII)


def word(text: str) -> str:
    """A word of a command line, but its first, or of `Environment=` where it has no `$`. Raises Invalid."""
    return program(text).replace("$", "$$")


def program(text: str) -> str:
    """The first word of a command line, or a word of `Environment=`: in these `$` means itself. Raises Invalid."""
    text = value(text)
    if _PLAIN.fullmatch(text):
        return text
    return '"{}"'.format(text.replace("\\", "\\\\").replace('"', '\\"'))


def value(text: str) -> str:
    """A value that systemd does not split into words. Raises Invalid for what no unit file can hold."""
    if not text.isprintable() or text != text.strip() or text.endswith("\\"):
        raise Invalid(f"{text!r} can't stand in a unit of systemd (a control character, or a space or \\ at an end)")
    return text.replace("%", "%%")
