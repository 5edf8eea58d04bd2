"""The output of several jobs, each line behind the id of its job, and of what runs now."""

import time
from collections.abc import Callable, Iterator

import pytest

from queuectl.cli.ui.printer import LinePrinter
from tests.support.shell import Answer, Shell

GATED = "printf 'first\\nsecond'; until test -e go; do sleep 0.02; done; echo , whole; printf 'not ended'"
FIRST = ["a      | first", "longer | first"]
PARTLY = "a      | first\na      | second\nlonger | first\nlonger | second\n"
REST = ["a      | not ended", "a      | second, whole", "longer | not ended", "longer | second, whole"]


@pytest.fixture
def two(queuectl: Shell) -> Iterator[Shell]:
    """Two jobs that run until there is a file `go`."""
    queuectl("enqueue", "--id", "a", GATED).ok()
    queuectl("enqueue", "--id", "longer", GATED).ok()
    worker = queuectl.start("worker", "start", "--slots", "2", "--drain")
    try:
        while queuectl("status", "--json").json["processing"] < 2:
            time.sleep(0.05)
        yield queuectl
    finally:
        (queuectl.folder / "go").touch()
        worker.communicate(timeout=30)


def test_running_jobs_are_followed_with_prefixed_lines(two: Shell):
    named = two.start("logs", "--follow", "longer", "a")
    assert named.stdout is not None
    assert sorted(named.stdout.readline().decode().rstrip() for _ in range(2)) == FIRST, "both run"
    assert two("logs").ok().out == PARTLY
    assert two("logs", "--tail", "1").ok().out == "a      | second\nlonger | second\n"
    unnamed = two.start("logs", "-f", "-n", "2")
    assert unnamed.stdout is not None
    assert sorted(unnamed.stdout.readline().decode().rstrip() for _ in range(2)) == FIRST
    (two.folder / "go").touch()
    for following in (named, unnamed):
        out, err = following.communicate(timeout=30)
        assert sorted(out.decode().splitlines()) == REST
        assert err == b""
        assert following.returncode == 0


def test_logs_names_the_last_ended_job_when_idle(queuectl: Shell):
    queuectl.make()
    assert queuectl("logs").ok().err == "queuectl: nothing runs now; there is no job that has ended\n"
    queuectl("enqueue", "--id", "a b", "echo out").ok()
    queuectl.drain()
    for words in (["logs"], ["logs", "--follow"]):
        answer = queuectl(*words).ok()
        assert answer.out == ""
        assert answer.err == "queuectl: nothing runs now; the last that ended is a b: `queuectl logs 'a b'`\n"


def test_logs_of_several_ended_jobs(queuectl: Shell, terminal: Callable[..., str]):
    queuectl("enqueue", "--id", "a", "printf '1%%\\r2%%\\n\\033[31mred\\nend'").ok()
    queuectl("enqueue", "--id", "bb", "echo b").ok()
    queuectl.drain()
    assert queuectl("logs", "bb", "a", "bb").ok().raw == b"bb | b\na  | 1%\r2%\na  | \x1b[31mred\na  | end\n"
    a, b = "\x1b[36ma  |\x1b[0m ", "\x1b[33mbb |\x1b[0m "
    red = f"{a}\x1b[31mred\x1b[0m\n{a}\x1b[31mend\x1b[0m\n"
    assert terminal("logs", "a", "bb") == f"{a}2%\n{red}{b}b\n"
    assert terminal("logs", "a", "bb", "--raw") == f"{a}1%\n{a}2%\n{red}{b}b\n"
    assert terminal("logs", "-f", "a", "bb") == f"{a}2%\n{red}{b}b\n"
    assert terminal("logs", "a", "bb", "--tail", "1", NO_COLOR="1").endswith("\nbb | b\n")
    queuectl("enqueue", "--id", "later", "--delay", "1h", "true").ok()
    answer = queuectl("logs", "later", "bb")
    assert (answer.code, answer.out) == (1, "bb    | b\n")
    assert answer.err == "queuectl: job later has no output yet\n"


def test_many_jobs_without_output_are_summed_up(queuectl: Shell):
    queuectl("enqueue", "--batch", "b", "--file", "-", stdin=b"true\n" * 25).ok()
    answer = queuectl("logs", "--batch", "b").ok()
    told = answer.err.splitlines()
    assert told[:2] == ["queuectl: job 1 has no output yet", "queuectl: job 2 has no output yet"]
    assert told[20:] == ["queuectl: 5 more jobs have nothing to show"]


def test_the_attempt_is_of_one_job(inside: Callable[..., Answer]):
    for ids in ((), ("a", "b")):
        assert "name that one" in inside("logs", *ids, "--attempt", "1").refused(2)


def test_a_line_without_end_is_divided(capfdbinary: pytest.CaptureFixture[bytes]):
    printer = LinePrinter("a | ", "job a")
    for _ in range(3):
        printer.write(b"x" * (1 << 20))
    printer.finish()
    lines = capfdbinary.readouterr().out.splitlines()
    assert lines == [b"a | " + b"x" * (1 << 20)] * 3


def test_retries_and_new_members_are_followed(queuectl: Shell):
    twice = "echo try $QUEUECTL_ATTEMPT; test $QUEUECTL_ATTEMPT = 2 && until test -e go; do sleep 0.02; done"
    queuectl("enqueue", "--id", "a", "--batch", "night", "--backoff", "0s", twice).ok()
    following = queuectl.start("logs", "--batch", "night", "--follow")
    worker = queuectl.start("worker", "start", "--slots", "2", "--drain")
    assert following.stdout is not None
    assert [following.stdout.readline() for _ in range(2)] == [b"a | try 1\n", b"a | try 2\n"]
    queuectl("enqueue", "--id", "longer", "--batch", "night", "echo new").ok()
    assert following.stdout.readline() == b"longer | new\n"
    (queuectl.folder / "go").touch()
    assert following.communicate(timeout=30) == (b"", b"queuectl: job a: attempt 2\n")
    assert following.returncode == 0
    worker.communicate(timeout=30)


def test_grep_prints_the_lines_that_match(queuectl: Shell, terminal: Callable[..., str]):
    queuectl("enqueue", "--id", "a", "printf 'an Error\\nfine\\n\\033[31mer\\033[0mror\\r\\nlast error'").ok()
    queuectl("enqueue", "--id", "b", "echo fine").ok()
    queuectl.drain()
    assert queuectl("logs", "a", "--grep", "error$").ok().raw == b"\x1b[31mer\x1b[0mror\r\nlast error\n"
    assert queuectl("logs", "a", "-f", "--grep", "(?i)^an e").ok().raw == b"an Error\n"
    assert queuectl("logs", "b", "a", "--grep", "fine|last").ok().out == "b | fine\na | fine\na | last error\n"
    assert queuectl("logs", "a", "--tail", "1", "--grep", "error").ok().out == "last error\n"
    assert terminal("logs", "a", "--grep", "^error") == "\x1b[31mer\x1b[0mror\n"


def test_grep_that_finds_nothing_exits_one(queuectl: Shell, inside: Callable[..., Answer]):
    queuectl("enqueue", "--id", "a", "echo fine").ok()
    queuectl("enqueue", "--id", "b", "echo fine").ok()
    queuectl.drain()
    for words in (["a"], ["a", "b"], ["a", "--follow"], ["a", "b", "--follow"]):
        answer = queuectl("logs", *words, "--grep", "error")
        assert (answer.code, answer.out, answer.err) == (1, "", "")
    told = inside("logs", "a", "--grep", "a(").refused(2)
    assert told.startswith("--grep: 'a(' is not a regular expression: missing ), unterminated")


BOTH = "printf 'out\\nmore'; printf 'err\\n\\200' >&2"


def test_split_output_is_shown_apart_and_together(queuectl: Shell):
    queuectl("enqueue", "--id", "a", "--split-output", BOTH).ok()
    queuectl("enqueue", "--id", "b", "echo b").ok()
    queuectl.drain()
    assert queuectl("logs", "a", "--stdout").ok().raw == b"out\nmore"
    assert queuectl("logs", "a", "--stderr").ok().raw == b"err\n\200"
    assert queuectl("logs", "a", "--stderr", "-f").ok().raw == b"err\n\200"
    assert queuectl("logs", "a").ok().raw == b"out\nmoreerr\n\200"
    assert queuectl("logs", "a", "--tail", "1").ok().raw == b"more\200"
    assert queuectl("logs", "a", "b").ok().raw == b"a | out\na | more\na | err\na | \200\nb | b\n"
    assert queuectl("logs", "a", "--grep", "err").ok().raw == b"err\n"
    shown = queuectl("inspect", "a").ok().out
    assert shown.endswith("its output\n  out\n  more\n\nits stderr\n  err\n  \\x80\n")
    for words in (["b"], ["b", "--follow"], ["a", "b", "--follow"]):
        told = queuectl("logs", *words, "--stderr").refused(3)
        assert told == "job b has stdout and stderr in one file: it ran without --split-output"
    assert queuectl("logs", "a", "--stdout", "--stderr").refused(2).startswith("give --stdout or --stderr;")


def test_followed_split_output_comes_in_whole_lines(queuectl: Shell):
    slow = "printf begun; echo warned >&2; until test -e go; do sleep 0.02; done; echo ' ended'; printf last >&2"
    queuectl("enqueue", "--id", "a", "--split-output", slow).ok()
    following = queuectl.start("logs", "--follow", "a")
    worker = queuectl.start("worker", "start", "--drain")
    assert following.stdout is not None
    assert following.stdout.readline() == b"warned\n"
    (queuectl.folder / "go").touch()
    assert following.communicate(timeout=30)[0] == b"begun ended\nlast\n"
    worker.communicate(timeout=30)


def test_run_writes_split_output_to_both_streams(queuectl: Shell):
    answer = queuectl("run", "--split-output", BOTH + "; exit 3", "--max-retries", "0")
    assert (answer.code, answer.raw) == (3, b"out\nmore")
    assert "err\n\ufffd" in answer.err


def test_colours_end_with_the_attempt(capsys: pytest.CaptureFixture[str]):
    printer = LinePrinter("a | ", "job a")
    printer.terminal = True
    printer.write(b"\x1b[31mred\n")
    printer.finish()
    printer.write(b"the next one\n")
    printer.finish()
    assert capsys.readouterr().out == "a | \x1b[31mred\x1b[0m\na | the next one\n"
