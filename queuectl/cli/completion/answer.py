"""What the scripts ask: `queuectl __complete SHELL ...`, once for each press of TAB.

The first line of the answer says what the shell has to do. Each further one has a word that may stand at the cursor,
and for zsh and fish behind a tab what it stands for. A queue that can't be read has no names: that is no error here.
"""

import sys
import warnings
from collections.abc import Sequence

from projections.suggestions import Suggestion
from queuectl.cli.completion import bash_words
from queuectl.cli.completion.candidates import candidates
from queuectl.cli.completion.slot import CursorSlot, slot
from queuectl.errors import Invalid, QueueError

_LISTING = ("63", "33")
"""The values of COMP_TYPE with which bash shows the words rather than put them into the line."""
_WIDTH = 60
"""Characters of what a word stands for that are shown."""


def answer(words: Sequence[str]) -> int:
    """Print the answer to the words behind `__complete`; return the exit code. Raises Invalid for others than a script.

    There are, for bash, COMP_TYPE, the line up to the cursor and the end of it that readline replaces; for zsh and fish
    the words behind the name of the program, without their quotes, up to the cursor.
    """
    shell, *rest = words or ("",)
    if shell not in ("bash", "zsh", "fish") or not rest or (shell == "bash" and len(rest) != 3):
        raise Invalid("__complete is for the scripts that `queuectl completion SHELL` prints")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        lines = _for_bash(*rest) if shell == "bash" else _for_others(rest)
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


def _for_bash(kind: str, line: str, replaced: str) -> list[str]:
    """The answer for bash; `kind` is COMP_TYPE."""
    read = bash_words.parse(line)
    if read.is_redirected:
        return ["files"]
    found = slot(read.words)
    suggestions = _suggestions(found)
    words = [bash_words.rest(each.name, read.last, replaced) for each in suggestions]
    if kind in _LISTING and len(words) > 1:
        width = max(map(len, words))
        described = zip(words, suggestions, strict=True)
        words = [f"{word:{width}}  ({_brief(each.text)})" if each.text else word for word, each in described]
    return [_task(found, suggestions), *words]


def _for_others(words: Sequence[str]) -> list[str]:
    """The answer for zsh and fish."""
    found = slot(words)
    suggestions = _suggestions(found)
    return [_task(found, suggestions), *(f"{each.name}\t{_brief(each.text)}" for each in suggestions)]


def _suggestions(found: CursorSlot) -> list[Suggestion]:
    try:
        return candidates(found)
    except (QueueError, OSError):
        return []


def _task(found: CursorSlot, suggestions: Sequence[Suggestion]) -> str:
    """What the shell has to do: complete the word itself (argv, files, folders or programs), or take the words.

    `open` words are not complete, and no space follows them.
    """
    if found.is_argv:
        return "argv"
    if found.values is not None and found.values.shell:
        return found.values.shell
    return "open" if any(each.name.endswith((":", "=")) for each in suggestions) else "words"


def _brief(text: str) -> str:
    """The beginning of a text as it may stand in one line of a terminal."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text).split())
    return line if len(line) <= _WIDTH else line[: _WIDTH - 1] + "…"
