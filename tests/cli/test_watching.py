"""`status --watch` on a terminal: drawn over what was there, to its size."""

import re
import signal
from collections.abc import Iterator

import pytest

from queuectl.cli.ui import output
from tests.support.shell import Shell
from tests.support.watching import Terminal


def lines(frame: str) -> list[str]:
    return re.sub(r"\x1b\[\d?[A-Z]", "", frame).removesuffix("\n").split("\n")


@pytest.fixture
def watching(queuectl: Shell) -> Iterator[Terminal]:
    queuectl("enqueue", "--queue", "mail", "--id", "a", "true").ok()
    queuectl("pause", "mail", "--reason", "none today " * 9).ok()
    watching = Terminal(queuectl, "status", "--watch", columns=60, rows=24)
    yield watching
    (queuectl.folder / "go").touch()  # also where the test has failed before
    watching.close()


def test_the_status_is_redrawn_at_changes(queuectl: Shell, watching: Terminal):
    first = watching.frame("pending +1")
    assert first.startswith("\x1b[2J\x1b[H")
    assert " 1 the queue mail is paused by " in first
    queuectl("enqueue", "--queue", "mail", "--hold", "true").ok()
    assert " 1 held; " in watching.frame("pending +2")
    queuectl("enqueue", "--id", "b", "echo 40 half > $QUEUECTL_PROGRESS; until test -e go; do sleep 0.02; done").ok()
    worker = queuectl.start("worker", "start", "--drain")
    running = watching.frame("b 40 % half")
    assert running.startswith("\x1b[Hpending"), "drawn over the one before"
    assert "for " in lines(running)[-1]
    (queuectl.folder / "go").touch()
    ended = watching.frame("completed +1")
    assert re.search(r"\d jobs a second have ended in the last \d+s", ended)
    assert "\nrunning" not in ended
    worker.communicate(timeout=20)
    watching.process.send_signal(signal.SIGINT)
    assert watching.process.wait(20) == 130


def test_the_status_is_drawn_to_the_size(queuectl: Shell, watching: Terminal):
    drawn = lines(watching.frame("pending +1"))
    assert len(drawn) < 24
    assert max(map(output.display_width, drawn)) == 60
    assert any(line.endswith("…") for line in drawn)
    watching.drawn = ""
    watching.resize(200, 6)
    queuectl("enqueue", "--queue", "mail", "true").ok()
    small = watching.frame("pending +2")
    assert small.startswith("\x1b[2J"), "drawn anew: the terminal has moved its lines"
    assert len(lines(small)) == 5
