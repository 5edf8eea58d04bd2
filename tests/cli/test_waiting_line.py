"""The status line of commands that wait: drawn in one place, on a terminal, where nothing else stands."""

import re
import time
from collections.abc import Callable

import pytest

from queuectl.cli.ui import output
from tests.support.shell import Shell
from tests.support.transcripts import visible

HALF = "echo 50 half > $QUEUECTL_PROGRESS"


def drawn(seen: str) -> list[str]:
    """The lines that were drawn in one place, each time."""
    return re.findall(r"\r\x1b\[K([^\r\n]+)(?=\r)", seen)


def test_run_draws_the_progress(terminal: Callable[..., str]):
    seen = terminal("run", f"echo first; {HALF}; sleep 2; echo last")
    lines = drawn(seen)
    assert len(lines) >= 2, "it is drawn over and over"
    assert all(line.startswith("1: 50 % half, for ") for line in lines)
    assert visible(seen)[-2:] == ["first", "last"]


@pytest.mark.parametrize("columns", [40, 140])
def test_the_line_fits_the_terminal(terminal: Callable[..., str], queuectl: Shell, columns: int):
    lines = drawn(terminal("run", f"echo 50 {'größer ' * 20} > $QUEUECTL_PROGRESS; sleep 1", columns=columns))
    assert lines
    assert all(output.display_width(line) < columns for line in lines)
    assert lines[0].endswith("…") == (columns == 40)


def test_an_unfinished_line_stays_alone(terminal: Callable[..., str]):
    """A job that draws a bar of its own has the line for itself, from when it was seen."""
    seen = terminal("run", f"printf 'its own bar'; sleep 0.5; {HALF}; sleep 1.5")
    assert drawn(seen) == []
    assert visible(seen)[-1] == "its own bar"


def test_a_job_that_says_nothing_draws_nothing(terminal: Callable[..., str]):
    assert drawn(terminal("run", "sleep 1.5")) == []


def test_past_runs_tell_the_end(terminal: Callable[..., str], queuectl: Shell):
    queuectl("run", "sleep 2").ok()
    lines = drawn(terminal("run", "sleep 2"))
    assert re.match(r"2: ETA ~[12]s, for ", lines[0])


def test_wait_says_why_nothing_starts(terminal: Callable[..., str], queuectl: Shell):
    queuectl("enqueue", "--id", "a", "--hold", "true").ok()
    seen = terminal("wait", "a", "--timeout", "2s")
    assert set(drawn(seen)) == {"a: pending, held"}
    said = visible(seen)
    assert said[0].startswith("queuectl: waiting: held by ")
    assert said[-1].startswith("queuectl: after 2s still waiting for 1 job")


def test_wait_of_several_counts_and_names(terminal: Callable[..., str], queuectl: Shell):
    for seconds in ("0.1", "3"):
        queuectl("enqueue", f"{HALF}; sleep {seconds}").ok()
    worker = queuectl.start("worker", "start", "--slots", "2", "--drain")
    time.sleep(0.5)
    lines = drawn(terminal("wait", "1", "2"))
    assert lines[-1].startswith("Waiting ████████████░░░░░░░░░░░░  50 %  1 of 2 · 2: 50 % half")
    worker.communicate(timeout=20)


def test_without_a_terminal_nothing_is_drawn(queuectl: Shell):
    answer = queuectl("run", f"{HALF}; sleep 1")
    assert "50 %" not in answer.err + answer.out
