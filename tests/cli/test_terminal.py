"""What a command wrote, on a terminal: what draws within a line is kept, all else escaped; bars as they were last."""

import pytest

from queuectl.cli.ui import terminal
from queuectl.cli.ui.terminal import WIDTH, Sanitizer, Screen

GREEN, BOLD, RESET = "\x1b[32m", "\x1b[1m", "\x1b[0m"


def safe(*parts: bytes) -> str:
    """What a terminal gets, where the bytes come in these parts."""
    made = Sanitizer()
    return "".join(map(made.feed, parts)) + made.end()


def seen(*parts: bytes) -> str:
    """What is left of it at the end of each line."""
    made, screen = Sanitizer(), Screen()
    return "".join(screen.feed(made.feed(part)) for part in parts) + screen.feed(made.end()) + screen.end()


@pytest.mark.parametrize(
    "written, shown",
    [
        (b"plain \xe6\xbc\xa2 text\n", "plain 漢 text\n"),
        (b" 10%\r 20%\ta\bb\r\n", " 10%\r 20%\ta\bb\r\n"),
        (b"\x1b[1;32mok\x1b[0m\x1b[38;2;1;2;3mx\x1b[m", "\x1b[1;32mok\x1b[0m\x1b[38;2;1;2;3mx\x1b[m"),
        (b"\x1b[4:3mx", "\x1b[4:3mx\x1b[0m"),
        (b"\r\x1b[K\x1b[0K\x1b[1K\x1b[2K", "\r\x1b[K\x1b[0K\x1b[1K\x1b[2K"),
        (b"\x1b]52;c;aGk=\x07", r"\x1b]52;c;aGk=\x07"),
        (b"\x1b]0;title\x1b\\", r"\x1b]0;title\x1b\\"[:-1]),
        (b"\x1b[2J\x1b[H\x1b[1A\x1b[?25l", r"\x1b[2J\x1b[H\x1b[1A\x1b[?25l"),
        (b"\x1b[>4;2m\x1b[3K\x1b[6n\x1bc", r"\x1b[>4;2m\x1b[3K\x1b[6n\x1bc"),
        (b"\xc2\x9b31m\xc2\x9d0;t\xc2\x9c", r"\x9b31m\x9d0;t\x9c"),
        (b"\x9b31m\xff", r"\x9b31m\xff"),
        ("\u202egpj.exe\u2066\u200f".encode(), r"\u202egpj.exe\u2066\u200f"),
        (b"\x00\x07\x0b\x0c\x0e\x7f", r"\x00\x07\x0b\x0c\x0e\x7f"),
        (b"\x1b", r"\x1b"),
        (b"\x1b[", r"\x1b["),
        (b"\x1b[1;3", r"\x1b[1;3"),
        (b"\x1b\x1b[32m", r"\x1b" + "\x1b[32m\x1b[0m"),
        (b"\x1b[" + b"1;" * 40 + b"m", r"\x1b[" + "1;" * 40 + "m"),
        (b"\xe6\xbc", r"\xe6\xbc"),
    ],
)  # fmt: skip
def test_sanitizing_does_not_depend_on_chunks(written: bytes, shown: str):
    assert safe(written) == shown
    for at in range(len(written) + 1):
        assert safe(written[:at], written[at:]) == shown
    assert safe(*(written[at : at + 1] for at in range(len(written)))) == shown


@pytest.mark.parametrize(
    "written, shown",
    [
        (b"one\ntwo", "one\ntwo\n"),
        (b"one\r\ntwo\r\n", "one\ntwo\n"),
        (b"  1%\r 50%\r100%\ndone\n", "100%\ndone\n"),
        (b"frame=1\rframe=2\r", "frame=2\n"),
        (b"abcdef\rxy\n", "xycdef\n"),
        (b"abcdef\r\x1b[Kxy\n", "xy\n"),
        (b"abcdef\rxy\x1b[K\n", "xy\n"),
        (b"abc\x1b[2Kxy\n", "   xy\n"),
        (b"abcdef\rab\x1b[1K\n", "   def\n"),
        (b"bar\r   \r", ""),
        (b"\rbar\r\x1b[K\n", "\n"),
        (b"passwort\b\b\bd!\n", "passwd!t\n"),
        (b"\b\bx\n", "x\n"),
        (b"a\tb\n", "a       b\n"),
        (b"abcdefgh\r\tX\n", "abcdefghX\n"),
        ("漢字ab\r \n".encode(), "  字ab\n"),
        ("漢字\b\b\bx\n".encode(), " x字\n"),
        ("e\u0301\b!\n".encode(), "!\n"),
        ("e\u0301x\n".encode(), "e\u0301x\n"),
        ("漢\r\x1b[32mab\n".encode(), f"{GREEN}ab{RESET}\n"),
        (b"\x1b[32m 10%\x1b[0m\r\x1b[1m20%\n\n30%\n", f"{BOLD}20%{RESET}{GREEN}%{RESET}\n\n{BOLD}30%{RESET}\n"),
        (b"\x1b[32m1%\r2%\n", f"{GREEN}2%{RESET}\n"),
        (b"\x1b[32mlong text\rab\n", f"{GREEN}abng text{RESET}\n"),
        (b"\x1b[2J\rab\n", r"ab1b[2J" + "\n"),
    ],
)  # fmt: skip
def test_final_lines_do_not_depend_on_chunks(written: bytes, shown: str):
    assert seen(written) == shown
    for at in range(len(written) + 1):
        assert seen(written[:at], written[at:]) == shown


def test_a_long_progress_bar_is_one_line():
    screen = Screen()
    for start in range(0, 100_000, 5000):
        assert screen.feed("".join(f"\r{n:>6} of 100000" for n in range(start, start + 5000))) == ""
    assert screen.end() == " 99999 of 100000\n"


def test_an_endless_line_takes_bounded_memory():
    screen = Screen()
    held = sum(len(screen.feed("x" * 1000)) for _ in range(100))
    assert held >= 100_000 - WIDTH
    assert held + len(screen.end()) == 100_001
    assert len(Screen().feed("\re" + "\N{COMBINING ACUTE ACCENT}" * 5000 + "\n")) < 20


def test_dropping_overprinted_parts_changes_nothing():
    import random

    draw = random.Random(7)
    pieces = [
        "a",
        "bcd",
        "漢",
        "\r",
        "\r\r",
        "\b",
        "\t",
        "\x1b[K",
        "\x1b[1K",
        "\x1b[2K",
        GREEN,
        BOLD,
        RESET,
        "e\u0301",
        " ",
    ]
    for _ in range(1000):
        parts = [*(draw.choice(pieces) for _ in range(draw.randrange(1, 16))), "\n"]
        one = Screen()
        assert Screen().feed("".join(parts)) == "".join(map(one.feed, parts)), repr(parts)


def test_a_line_is_cut_with_its_colours():
    line = f"a{GREEN}bcdef{RESET}gh"
    assert terminal.truncate(line, 8) == line
    assert terminal.truncate(line, 4) == f"a{GREEN}bc{RESET}…"
    assert terminal.truncate("漢字漢字", 6) == "漢字…"
    assert terminal.without_colours(line) == "abcdefgh"
