"""The parser of plain command lines: it makes the call that cyclopts makes, or leaves the line to cyclopts."""

import inspect
import re
import subprocess
import sys
from functools import partial
from typing import Any

import pytest
from freezegun import freeze_time
from hypothesis import event, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from queuectl.cli import app, commands, plain_parser
from queuectl.errors import Invalid
from tests.support.paths import ROOT

PLAIN = (
    "enqueue true", "enqueue", "enqueue --id a --max-retries 3 --env A=1 --env B=2 --keep-children --json true",
    "enqueue --file jobs --db q.db", "run --timeout 5s true", "list --state dead,failed --queue mail --limit 3 --all",
    "list --since 2026-11-24 --at seq:3", "status --watch --db q.db", "logs", "logs 1 2 -f -n 5", "logs --raw job1",
    "worker start --count 2 --slots 3 --queue a --queue b --drain --for 1m --detach --logs l", "worker list --all",
    "inspect 1 --events", "config set timeout 5", "dlq retry 1 --command false", "wait 1 --timeout 3",
)  # fmt: skip
TEXTS = (
    "", " ", "0", "1", "3.5", "99999999999", "true", "none", "1h", "2026-11-24T09:00", "09:00", "seq:3", "10s,1m",
    "mail", "dead, failed", "retry", "/tmp", "K=V", "HOME", "not set", "[1]", "é", "@f", "x" * 300,
    '{"command": "true"}',
)  # fmt: skip
NOT_PLAIN = (
    "-", "--", "-1", "-x", "-fn", "-n5", "--no-json", "--limit=3", "--js", "--json=true", "--help", "-h", "--no",
)  # fmt: skip


def _accepts(option: Any, text: str) -> bool:
    try:
        plain_parser._value(replace(option, texts=[text]))  # pyright: ignore[reportPrivateUsage]
    except (Invalid, plain_parser._NotPlain):  # pyright: ignore[reportPrivateUsage]
        return False
    return True


def _option(option: Any) -> st.SearchStrategy[list[str]]:
    """An option with a text that it accepts, or with any."""
    names = st.sampled_from(option.described.names)
    if option.type is bool:
        return st.tuples(names).map(list)
    accepted = [text for text in TEXTS if _accepts(option, text)]
    texts = st.sampled_from(accepted) if accepted else st.nothing()
    return st.tuples(names, texts | texts | texts | st.sampled_from(TEXTS) | st.sampled_from(NOT_PLAIN)).map(list)


def _line(name: str) -> st.SearchStrategy[list[str]]:
    """Lines that call a command: mostly of its own options, and of few words else."""
    options = plain_parser.options(commands.load(name))
    operand = st.sampled_from(TEXTS).map(lambda text: [text])
    own = [_option(each) for each in options if "-" in "".join(each.described.names)]
    any_option = st.one_of(own) if own else operand
    foreign = st.sampled_from(NOT_PLAIN).map(lambda word: [word])
    parts = st.lists(st.one_of(any_option, any_option, any_option, operand, foreign), max_size=6)
    plain = st.lists(any_option, max_size=4)
    return (parts | plain).map(lambda parts: [*name.split(), *(word for part in parts for word in part)])


def _call(call: partial[object]) -> object:
    return call.func.__module__, call.func.__name__, call.args, call.keywords


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_no_word_of_a_list_is_lost(name: str):
    for option in plain_parser.options(commands.load(name)):
        if option.described.read is not None:
            assert not re.search(r"\b(list|tuple)\[", str(option.type)), "it reads one word"


@freeze_time("2026-11-25T10:00:00Z")
@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(commands.COMMANDS)).flatmap(_line))
def test_both_parsers_make_the_same_call(words: list[str]):
    plain = plain_parser.parse(words)
    event("plain" if plain else "left to cyclopts")
    if plain is not None:
        assert _call(plain) == _call(app.parse(words))


@pytest.mark.parametrize(
    "words",
    [["worker start"], ["worker"], ["nope"], ["help"], [], ["-h"], ["export", "--format", "x"]],
    ids=str,
)
def test_other_lines_are_left_to_cyclopts(words: list[str]):
    assert plain_parser.parse(words) is None


@pytest.mark.parametrize("line", PLAIN)
def test_plain_lines_are_not_left_to_cyclopts(line: str):
    plain = plain_parser.parse(line.split())
    assert plain is not None
    assert _call(plain) == _call(app.parse(line.split()))


def test_options_are_given_by_name_alone():
    """`_takes` counts operands, and looks for what must be given by name."""
    for name in commands.COMMANDS:
        for parameter in inspect.signature(commands.load(name)).parameters.values():
            described = [each for each in getattr(parameter.annotation, "__metadata__", ()) if hasattr(each, "names")]
            if parameter.kind is not parameter.KEYWORD_ONLY:
                assert not any(option.startswith("-") for each in described for option in each.names)


def test_plain_lines_need_no_heavy_modules():
    """Whoever has typing_extensions imports `inspect` with msgspec."""
    code = (
        "import sys; sys.modules['typing_extensions'] = None; from queuectl.cli import plain_parser\n"
        "assert plain_parser.parse(['enqueue', 'true']); print(*sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=30).stdout
    assert "queuectl.cli.commands.enqueue" in said.split()
    assert not {"inspect", "cyclopts", "dataclasses", "apsw"} & set(said.split())
