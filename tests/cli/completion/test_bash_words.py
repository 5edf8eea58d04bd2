"""Words of bash: what is read of an unfinished line, and what bash makes of the rest that is put into it."""

import subprocess
from collections.abc import Sequence

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from queuectl.cli.completion import bash_words
from queuectl.cli.completion.bash_words import open_quote, parse, rest, unquoted

NAMES = st.text(st.sampled_from("ab1é'\"\\$`!#~*?[]{}()<>|&;:=, %^"), min_size=1, max_size=12).filter(
    lambda text: text == text.strip()
)


def in_bash(words: Sequence[str]) -> list[str]:
    """What bash makes of these words, each as it is typed."""
    line = "printf '%s\\0' " + " ".join(words)
    done = subprocess.run(["bash", "-c", line], capture_output=True, check=True, timeout=30)
    return done.stdout.decode().split("\0")[:-1]


@pytest.mark.parametrize(
    "line, words",
    [
        ("queuectl ", [""]),
        ("queuectl can", ["can"]),
        ("queuectl cancel a\\ b 'c d' \"e $f\" x", ["cancel", "a b", "c d", "e $f", "x"]),
        ("queuectl cancel 'a b", ["cancel", "a b"]),
        ('queuectl cancel "a\\"b\\c', ["cancel", 'a"b\\c']),
        ("queuectl cancel a\\", ["cancel", "a"]),
        ("queuectl enqueue --after batch:", ["enqueue", "--after", "batch:"]),
        ("queuectl list --queue=a", ["list", "--queue=a"]),
        ("queuectl list 2>errors st", ["list", "2", "st"]),
        ("queuectl list > out st", ["list", "st"]),
        ("true && queuectl list", ["list"]),
        ("queuectl list | queuectl cancel ", ["cancel", ""]),
    ],
)
def test_a_line_is_read_as_bash_does(line: str, words: list[str]) -> None:
    assert [*parse(line).words] == words


def test_the_file_of_a_redirection_is_no_word() -> None:
    assert parse("queuectl list > o").is_redirected
    assert parse("queuectl list >").is_redirected
    assert not parse("queuectl list > o ").is_redirected
    assert not parse("queuectl list").is_redirected


@pytest.mark.parametrize("quote", ["", "'", '"'])
def test_bash_reads_the_name_that_was_meant(quote: str) -> None:
    names = [
        "plain",
        "a b",
        "it's",
        'say "x"',
        "$HOME",
        "`id`",
        "a\\b",
        "*",
        "~",
        "#x",
        "{a,b}",
        "a;b",
        "!x",
        "é",
        "$(id)",
    ]
    typed = [quote + rest(name, quote, "") + quote for name in names]
    assert in_bash(typed) == names


@given(NAMES, NAMES, st.sampled_from(["", "'", '"']))
def test_typed_and_rest_make_the_name(begin: str, end: str, quote: str) -> None:
    typed = quote + rest(begin, quote, "")
    assert unquoted(typed) == begin
    assert open_quote(typed) == quote
    whole = begin + end
    assert unquoted(typed + rest(whole, typed, "") + quote) == whole


@given(NAMES, NAMES)
def test_only_what_readline_replaces_is_given(begin: str, end: str) -> None:
    typed = rest(begin + ":", "", "")
    assume(typed.endswith(":"))
    after = rest(end, "", "")
    assert rest(f"{begin}:{end}", typed + after, after) == rest(end, "x", "x")
    assert bash_words.parse(f"queuectl cancel {typed}{after}").words == ["cancel", f"{begin}:{end}"]
