"""`queuectl top` without Textual: drawn on a terminal, and ended by a key."""

import os
from collections.abc import Iterator

import pytest

from tests.support.shell import Shell
from tests.support.watching import Terminal


@pytest.fixture
def watching(queuectl: Shell) -> Iterator[Terminal]:
    queuectl("enqueue", "--id", "broken", "--max-retries", "0", "echo no [red]such\x07 file; exit 3").ok()
    queuectl.drain()
    queuectl("enqueue", "--queue", "mail", "--id", "a", "true").ok()
    queuectl("pause", "mail", "--reason", "lunch").ok()
    (queuectl.folder / "sitecustomize.py").write_text("import sys\nsys.modules['textual'] = None\n")
    queuectl.env["PYTHONPATH"] = f"{queuectl.folder}:{queuectl.env['PYTHONPATH']}"
    watching = Terminal(queuectl, "top", columns=80, rows=30)
    yield watching
    (queuectl.folder / "go").touch()
    watching.close()


def test_the_view_shows_what_runs_and_waits(queuectl: Shell, watching: Terminal):
    first = watching.frame("1 pending · 1 dead")
    assert "paused" in first
    assert "1 the queue mail is paused by " in first
    assert "exit 3, " in first
    assert "no [red]such\\x07 file" in first, "the last line of what died"
    queuectl("enqueue", "--id", "b", r"printf '10 %%\r20 %%\r'; until test -e go; do sleep 0.02; done").ok()
    worker = queuectl.start("worker", "start", "--drain")
    assert "  20 %" in watching.frame(r"b +\d.* 20 %")
    (queuectl.folder / "go").touch()
    watching.frame("1 completed")
    worker.communicate(timeout=20)


@pytest.mark.parametrize("key", [b"q", b"\x03"])
def test_a_key_ends_the_view(watching: Terminal, key: bytes):
    watching.frame("Died 1")
    watching.press(key)
    assert watching.process.wait(20) == (0 if key == b"q" else 130)
    assert watching.echoes(), "the terminal is as it was"


def test_a_database_may_come_back(queuectl: Shell, watching: Terminal):
    watching.frame("Died 1")
    os.rename(queuectl.folder / "q.db", queuectl.folder / "away.db")
    watching.frame("\nthere is no database")
    os.rename(queuectl.folder / "away.db", queuectl.folder / "q.db")
    watching.drawn = ""
    watching.frame("q quits")


def test_without_a_terminal_another_command_is_named(queuectl: Shell):
    queuectl.make()
    assert "`queuectl status`" in queuectl("top").refused(2)
