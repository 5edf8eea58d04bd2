"""Words as bash reads them: what a line says that is still being typed, and how the rest of a word is to be written.

readline replaces what follows the last of some characters in a word, `:` and `=` among them, which do not end a word
for bash. So an answer holds the rest alone, written so that it goes on in the quotes that are open there.
"""

import re
from collections.abc import Sequence

import msgspec

_TOKEN = re.compile(
    r"""
    \s+
    | (?P<operator>[|&;()<>]+)
    | (?P<word>(?:[^\s'"\\|&;()<>] | \\.? | '[^']*'? | "(?:\\.|[^"\\])*\\?"?)+)
    """,
    re.VERBOSE | re.DOTALL,
)
_PART = re.compile(
    r"""'(?P<single>[^']*)'? | "(?P<double>(?:\\.|[^"\\])*)\\?"? | \\(?P<one>.?)""", re.VERBOSE | re.DOTALL
)
_UNSAFE = re.compile(r"""[^\w@%+=:,./^-]""")


class Line(msgspec.Struct, frozen=True):
    """The command at the end of a line."""

    words: Sequence[str]
    """Without their quotes, after the name of the program; the last may be empty."""
    last: str
    """The last one as it is typed."""
    is_redirected: bool
    """Whether the last one is the file of a redirection."""


def parse(line: str) -> Line:
    """Read a line up to the cursor. Variables, `~` and patterns are left as they are."""
    words: list[str] = []
    last, redirects = "", False
    for token in _TOKEN.finditer(line):
        if (operator := token["operator"]) is not None:
            redirects = operator[-1] in "<>"
            words = words if redirects else []
            last = ""
        elif (last := token["word"] or "") and redirects and token.end() < len(line):
            redirects = False  # the file is no argument
        elif last:
            words.append(unquoted(last))
    return Line([*words[1:], *([] if last and not redirects else [""])], last, redirects)


def unquoted(word: str) -> str:
    """A word without its quotes, the last of which may still be open."""
    return _PART.sub(_without_quotes, word)


def _without_quotes(part: re.Match[str]) -> str:
    if part["double"] is not None:
        return re.sub(r'\\(["\\$`\n])', r"\1", part["double"])
    return part["single"] if part["single"] is not None else part["one"]


def open_quote(word: str) -> str:
    """The quote that is open at the end of a word; empty where none is."""
    end = ""
    for part in _PART.finditer(word):
        quote = part[0][0]
        is_closed = len(part[0]) > 1 and part[0][-1] == quote and not part[0].endswith('\\"')
        end = quote if quote in "'\"" and not is_closed else ""
    return end


def rest(word: str, typed: str, replaced: str) -> str:
    """What is to stand in the place of `replaced`, the end of the word as it is `typed`, so that it says `word`."""
    kept = typed[: len(typed) - len(replaced)] if typed.endswith(replaced) else ""
    text = word[len(unquoted(kept)) :]
    match open_quote(kept):
        case "'":
            return text.replace("'", "'\\''")
        case '"':
            return re.sub(r'(["\\$`])', r"\\\1", text)
        case _:
            return _UNSAFE.sub(r"\\\g<0>", text)
