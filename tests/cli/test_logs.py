"""The output of several jobs, each line behind the id of its job, and of what runs now."""

import time
from collections.abc import Callable, Iterator

import pytest

from queuectl.cli.ui import stream
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
    red = "a  | \x1b[31mred\x1b[0m\na  | \x1b[31mend\x1b[0m\n"
    assert terminal("logs", "a", "bb") == f"a  | 2%\n{red}bb | b\n"
    assert terminal("logs", "a", "bb", "--raw") == f"a  | 1%\na  | 2%\n{red}bb | b\n"
    assert terminal("logs", "-f", "a", "bb") == f"a  | 2%\n{red}bb | b\n"
    queuectl("enqueue", "--id", "later", "--delay", "1h", "true").ok()
    answer = queuectl("logs", "later", "bb")
    assert (answer.code, answer.out) == (1, "bb    | b\n")
    assert answer.err == "queuectl: job later has no output yet\n"


def test_the_attempt_is_of_one_job(inside: Callable[..., Answer]):
    for ids in ((), ("a", "b")):
        assert "name that one" in inside("logs", *ids, "--attempt", "1").refused(2)


def test_a_line_without_end_is_divided(capfdbinary: pytest.CaptureFixture[bytes]):
    printer = stream.PrefixedPrinter("a | ", "job a")
    for _ in range(3):
        printer.write(b"x" * (1 << 20))
    printer.finish()
    lines = capfdbinary.readouterr().out.splitlines()
    assert lines == [b"a | " + b"x" * (1 << 20)] * 3
