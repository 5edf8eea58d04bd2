"""Where in a line of shell a quoted word can be put: not in quotes, nor in what the shell reads by other rules."""

import shlex

ESCAPED = "behind a backslash"
"""The context of the character that a backslash takes its meaning."""

_PLAIN, _PAREN = "", "("
_SINGLE = "in single quotes, and what it stands for is quoted already: leave those quotes out"
_DOUBLE = "in double quotes, and what it stands for is quoted already: leave those quotes out"
_BACKQUOTES = "in backquotes, where nothing can be quoted for sure: write $(…) in their place"
_ARITHMETIC = "in an arithmetic expression, where nothing can be quoted"
_COMMENT = "in a comment"
_HERE = "behind <<, where nothing can be quoted: give the text with --stdin"
_BRACES = "in ${…}, where nothing can be quoted for sure"
_UNCLEAR = "behind quotes that shells understand in different ways: put the line into a script"

_LASTING = {_BACKQUOTES, _ARITHMETIC, _BRACES, _HERE, _UNCLEAR}
"""In these, and in all within them, a quoted word means something else."""


_RESERVED = {
    "case", "coproc", "do", "done", "elif", "else", "esac", "fi", "for", "function", "if", "in", "select", "then",
    "time", "until", "while",
}  # fmt: skip
"""Words that begin or end something where a command could stand, in sh or in bash."""


def quoted(word: str) -> str:
    """A word as it stands in a line of shell: where that has a command, too, it sets no variable and is no keyword."""
    safe = shlex.quote(word)
    return f"'{word}'" if safe == word and ("=" in word or word in _RESERVED) else safe


def unquotable(line: str) -> list[str]:
    """Of each character of a line of shell, why a quoted word can't stand there: empty where one can, or `ESCAPED`.

    The line is read as sh reads it, and as bash does. Where that is not clear the answer is that one can't.
    """
    found: list[str] = []
    stack = [_PLAIN]
    while len(found) < len(line):
        place = len(found)
        width = _step(line, place, stack)
        why = next((each for each in reversed(stack) if each in _LASTING), stack[-1].strip(_PAREN))
        found += [why] * width
        if line[place] == "\\" and width == 2:
            found[place + 1 :] = [ESCAPED]
    return found[: len(line)]


def _step(line: str, place: int, stack: list[str]) -> int:
    """Read on from this place: change the stack of what is open there, and return how many characters were read."""
    top, char = stack[-1], line[place]
    if top in (_SINGLE, _COMMENT):
        if char == ("'" if top == _SINGLE else "\n"):
            stack.pop()
        return 1
    if char == "\\":
        return 2
    if top in _ENDS and line.startswith(_ENDS[top], place):
        stack.pop()
        return len(_ENDS[top])
    if top == _BRACES and char in "\"'" and _DOUBLE in stack:
        stack.append(_UNCLEAR)
        return 1
    for begin, context in _IN_DOUBLE if top == _DOUBLE else _BEGIN:
        if line.startswith(begin, place):
            if context:
                stack.append(context)
            return len(begin)
    if char == "#" and top != _BRACES and (place == 0 or line[place - 1] in " \t\n;&|()"):
        stack.append(_COMMENT)
    elif top == _PAREN and line.startswith("case", place):
        stack.append(_UNCLEAR)  # its patterns end in a parenthesis that nothing has opened
    return 1


_ENDS = {_DOUBLE: '"', _BACKQUOTES: "`", _PAREN: ")", _ARITHMETIC: "))", _BRACES: "}"}
_IN_DOUBLE = (("$((", _ARITHMETIC), ("$(", _PAREN), ("${", _BRACES), ("`", _BACKQUOTES))
_BEGIN = (
    *_IN_DOUBLE, ("((", _ARITHMETIC), ("(", _PAREN), ("$'", _UNCLEAR), ("'", _SINGLE), ('"', _DOUBLE), ("<<<", ""),
    ("<<", _HERE),
)  # fmt: skip
"""What begins a context, the longer before the shorter."""
