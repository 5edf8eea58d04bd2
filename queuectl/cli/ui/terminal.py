"""The output of a command made safe for a terminal (R43).

`Sanitizer` passes the sequences that draw within a line (CR, BS, tab, colours, erase-line) and escapes all others.
`Screen` reduces each line to what a terminal would show when the line ends: of a progress bar, its last state.
"""

import codecs
import re

from queuectl.cli.ui import output

WIDTH = 4096
"""Columns of the `Screen`: a longer line is printed in pieces, and CR returns to the beginning of a piece."""

_COMBINED = 16
"""Maximum number of characters in one column, combining ones included; more are dropped."""

_COLOURS = 32
"""Maximum number of colour sequences kept since the last reset; the oldest are dropped."""

_RESET = "\x1b[0m"
_OTHER = re.compile(r"(\x1b\[(?:[0-9;:]{0,64}m|[0-2]?K))|\x1b|[^\x1b\n\t\r\b -~]+")
_INCOMPLETE = re.compile(r"\x1b(?:\[[0-9;:]{0,64})?\Z")
_COLOUR = re.compile(r"\x1b\[([0-9;:]*)m")
_PIECE = re.compile(r"[^\x1b\t\r\b]+|\x1b\[([0-9;:]*)([mK])|[\t\r\b]")
_DRAWS = re.compile(r"[\x1b\t\r\b]")


class Sanitizer:
    """Decodes bytes incrementally and escapes cursor movement, OSC, C1 and bidi controls."""

    def __init__(self) -> None:
        self._decode = codecs.getincrementaldecoder("utf-8")("backslashreplace").decode
        self._pending = ""  # an incomplete escape sequence
        self._coloured = False

    def feed(self, data: bytes) -> str:
        """Return the text of more bytes, without an incomplete character or sequence at their end."""
        return self._text(self._pending + self._decode(data), last=False)

    def end(self) -> str:
        """Return what was incomplete, escaped, and a reset of the colours."""
        text = self._text(self._pending + self._decode(b"", True), last=True)
        if self._coloured:
            text += _RESET
        self._coloured = False
        return text

    def _text(self, text: str, last: bool) -> str:
        incomplete = None if last else _INCOMPLETE.search(text)
        self._pending = incomplete[0] if incomplete else ""
        text = _OTHER.sub(_escaped, text[: incomplete.start()] if incomplete else text)
        if colours := _COLOUR.findall(text):
            self._coloured = colours[-1] not in ("", "0")
        return text


def _escaped(match: re.Match[str]) -> str:
    return match[1] or output.escape(match[0])


class Screen:
    """Turns the text of a `Sanitizer` into final lines. Each line begins and ends without colours."""

    def __init__(self) -> None:
        self._cells: list[str] = []  # a wide character has two: itself, and an empty one
        self._styles: list[str] = []
        self._column = 0
        self._style: tuple[str, ...] = ()

    def feed(self, text: str) -> str:
        """Return the lines that more text completes, each with its line end."""
        done: list[str] = []
        *whole, rest = text.split("\n")
        for line in whole:
            if self._cells or self._column or self._style or _DRAWS.search(line):
                self._draw(line, done)
                line = self._finish_line()
            done += (line, "\n")
        self._draw(rest, done)
        return "".join(done)

    def end(self) -> str:
        """Return the unfinished line with a line end, or nothing."""
        return f"{self._finish_line()}\n" if any(cell != " " for cell in self._cells) else ""

    def _draw(self, line: str, done: list[str]) -> None:
        for piece in _PIECE.finditer(_without_overprinted(line) if "\r" in line else line):
            first = piece[0][0]
            if first == "\r":
                self._column = 0
            elif first == "\b":
                self._column = max(self._column - 1, 0)
            elif first == "\t":
                self._column = min(self._column // 8 * 8 + 8, WIDTH - 1)
            elif piece[2] == "K":
                self._erase(piece[1])
            elif piece[2]:
                self._colour(piece[0], piece[1])
            elif piece[0].isascii():
                self._print(piece[0], done)
            else:
                for character in piece[0]:
                    self._put([character, *[""] * (output.display_width(character) - 1)], done)

    def _print(self, text: str, done: list[str]) -> None:
        if not (self._cells or self._column or self._style) and len(text) > WIDTH:
            whole = (len(text) - 1) // WIDTH * WIDTH
            done.append(text[:whole])
            text = text[whole:]
        while text:
            room = WIDTH - self._column or WIDTH
            self._put(list(text[:room]), done)
            text = text[room:]

    def _put(self, new: list[str], done: list[str]) -> None:
        if len(new) == 1 and not output.display_width(new[0]):  # it combines with the one before
            if 0 < self._column <= len(self._cells):
                at = self._column - (2 if self._cells[self._column - 1] == "" else 1)
                self._cells[at] = (self._cells[at] + new[0])[:_COMBINED]
            return
        if self._column + len(new) > WIDTH:
            done.append(self._finish_line())
        cells, styles, at, after = self._cells, self._styles, self._column, self._column + len(new)
        if at > len(cells):
            styles += [""] * (at - len(cells))
            cells += [" "] * (at - len(cells))
        if at < len(cells) and cells[at] == "":  # overwriting half of a wide character blanks the other half
            cells[at - 1] = " "
        if after < len(cells) and cells[after] == "":
            cells[after] = " "
        cells[at:after] = new
        styles[at:after] = ["".join(self._style)] * len(new)
        self._column = after

    def _erase(self, how: str) -> None:
        cells, styles, at = self._cells, self._styles, self._column
        if how == "2":
            cells.clear()
            styles.clear()
        elif how == "1":
            if at + 1 < len(cells) and cells[at + 1] == "":
                at += 1
            count = min(at + 1, len(cells))
            cells[:count] = [" "] * count
            styles[:count] = [""] * count
        else:
            if at < len(cells) and cells[at] == "":
                cells[at - 1] = " "
            del cells[at:], styles[at:]

    def _colour(self, sequence: str, codes: str) -> None:
        if codes in ("", "0"):
            self._style = ()
        elif codes.startswith("0;"):
            self._style = (sequence,)
        else:
            self._style = (*(each for each in self._style if each != sequence), sequence)[-_COLOURS:]

    def _finish_line(self) -> str:
        """Return the current line and begin the next one."""
        text = self.current
        self._cells, self._styles, self._column = [], [], 0
        return text

    @property
    def current(self) -> str:
        """The line that has not ended, as it is now."""
        cells, styles = self._cells, self._styles
        if any(styles):
            parts: list[str] = []
            style = ""
            for cell, new in zip(cells, styles, strict=True):
                if new != style:
                    parts.append((_RESET if style else "") + new)
                    style = new
                parts.append(cell)
            text = "".join(parts) + (_RESET if style else "")
        else:
            text = "".join(cells)
        return text


def _without_overprinted(line: str) -> str:
    """Drop the parts of a line that later parts overwrite, except their colours: a bar may be drawn a million times."""
    first, *parts = re.sub("\r+", "\r", line).split("\r")
    kept: list[str] = []
    covered = 0
    for part in reversed(parts):
        drawn = _DRAWS.search(part)
        text = _COLOUR.sub("", part) if drawn else part
        if drawn and _DRAWS.search(text):
            kept.append(part)
            if part.startswith(("\x1b[K", "\x1b[2K")):
                covered = WIDTH  # erased
        elif covered < (wide := output.display_width(text)) or not kept:  # the last part places the cursor
            kept.append(part)
            covered = wide if wide <= WIDTH else covered
        elif drawn and (colours := _colours(part)) and not (colours == _RESET and kept[-1:] == [_RESET]):
            kept.append(colours)
    return "\r".join((first, *reversed(kept)))


def _colours(text: str) -> str:
    """Return the colour sequences of a text that affect what follows."""
    _, reset, rest = text.rpartition(_RESET)
    return reset + "".join(match[0] for match in _COLOUR.finditer(rest))


def without_colours(line: str) -> str:
    """Return a line of the `Screen` without its colours."""
    return _COLOUR.sub("", line)


def truncate(line: str, room: int) -> str:
    """Return a line of the `Screen`, truncated to `room` columns with an ellipsis."""
    if output.display_width(without_colours(line)) <= room:
        return line
    kept = output.truncate(without_colours(line), room)[:-1]
    parts: list[str] = []
    coloured = False
    for piece in _PIECE.finditer(line):
        if piece[2]:
            parts.append(piece[0])
            coloured = piece[0] != _RESET
        else:
            parts.append(piece[0][: len(kept)])
            kept = kept[len(piece[0]) :]
        if not kept:
            break
    return "".join(parts) + (_RESET if coloured else "") + "…"
