"""`queuectl top` on a real terminal: it leaves that as it was, however it ends, and lends it to an editor."""

import re
import signal
import sys
from collections.abc import Iterator

import pytest

from tests.support.shell import Shell
from tests.support.watching import Terminal

LEAVES = r"\x1b\[\?1049l"
"""What brings back the screen of before."""


@pytest.fixture
def session(queuectl: Shell) -> Iterator[Terminal]:
    queuectl("enqueue", "--id", "later", "--hold", "true").ok()
    editor = queuectl.folder / "editor"
    editor.write_text(f"#!{sys.executable}\nimport os, signal, sys\n" + EDITOR)
    editor.chmod(0o755)
    queuectl.env["VISUAL"] = f"exec {editor}"  # no shell beside it that a Ctrl-C would end
    session = Terminal(queuectl, "top", columns=100, rows=30)
    yield session
    session.close()


EDITOR = r"""
path = sys.argv[1]
print("in the editor", sys.stdin.isatty())
signal.signal(signal.SIGINT, signal.SIG_IGN)
os.killpg(os.getpgrp(), signal.SIGINT)  # Ctrl-C is meant for the editor
text = open(path).read()
open(path, "w").write(text.replace('"priority": 0', '"priority": 7'))
"""


def test_q_gives_the_terminal_back(session: Terminal):
    drawn = session.shows("later") + session.shows("Quit")
    assert not re.findall(r"\x1b\[(?:[\d;]*;)?(?:3[0-7]|38;[\d;]*|4[0-7]|48;[\d;]*)m", drawn), "NO_COLOR is set"
    session.press(b"q")
    session.shows(LEAVES)
    assert session.process.wait(20) == 0
    assert session.echoes()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_gives_the_terminal_back(session: Terminal, number: signal.Signals):
    session.shows("later")
    session.process.send_signal(number)
    session.shows(LEAVES)
    assert session.process.wait(20) == 128 + number
    assert session.echoes()


def test_a_job_is_changed_in_an_editor(queuectl: Shell, session: Terminal):
    session.shows("later")
    session.press(b"\t")
    session.shows("e.*Edit")
    session.press(b"e")
    session.shows("in the editor True")
    session.shows("later was changed")
    session.press(b"q")
    assert session.process.wait(20) == 0
    assert queuectl("inspect", "later", "--json").json["priority"] == 7


def test_an_editor_that_fails_is_told(queuectl: Shell, session: Terminal):
    session.shows("later")
    (queuectl.folder / "editor").write_text("#!/bin/sh\nexit 7\n")
    session.press(b"\te")
    session.shows("edit later: the editor")
    session.press(b"q")
    assert session.process.wait(20) == 0
    assert session.echoes()


def test_an_error_is_one_line(queuectl: Shell):
    (queuectl.folder / "sitecustomize.py").write_text(
        "import queuectl.overview\n"
        "def fail(*_):\n    raise ZeroDivisionError('on purpose')\n"
        "queuectl.overview.overview = fail\n"
    )
    queuectl.make()
    queuectl.env["PYTHONPATH"] = f"{queuectl.folder}:{queuectl.env['PYTHONPATH']}"
    session = Terminal(queuectl, "top", columns=100, rows=30)
    try:
        session.shows(LEAVES + r"[^\n]*queuectl: internal error: ZeroDivisionError\('on purpose'\)[^\n]*\r\n")
        assert session.process.wait(20) == 1
        assert session.drawn == "", "and no traceback"
        assert session.echoes()
    finally:
        session.close()


def test_a_dumb_terminal_is_refused(queuectl: Shell):
    queuectl.make()
    session = Terminal(queuectl, "top", columns=100, rows=30, term="dumb")
    try:
        session.shows("top needs a terminal that can be drawn on .*status")
        assert session.process.wait(20) == 2
    finally:
        session.close()
