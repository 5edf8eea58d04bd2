"""What `queuectl top` shows: of each size, whatever commands and outputs contain, and through trouble."""

import os
import re
from threading import Event

import pytest

from queuectl import Queue
from queuectl.cli.ui import output
from queuectl.clock import monotonic
from tests.support.lab import Lab
from tests.support.top_screen import TopScreen, drive


@pytest.fixture
def busy(lab: Lab) -> Lab:
    """A queue in which something runs, waits and has died."""
    lab.queue.enqueue("echo oops; exit 3", id="broken", max_retries=0)
    lab.drain()
    lab.queue.enqueue(r"printf 'one\n10 %%\r20 %%\r'; sleep 600 # [red]markup[/red] [/]", id="long", timeout=None)
    lab.start()
    lab.processing("long")
    lab.queue.enqueue("echo \x1b[31m日本語\x07", id="later", held=True, tags={"exp": "3"})
    return lab


def test_panes_show_what_there_is(busy: Lab):
    async def steps(screen: TopScreen) -> None:
        await screen.until("long .*20 %$")
        await screen.until("q Quit")
        text = screen.text
        assert "1 worker up · 1 pending · 1 processing · 1 dead" in text
        assert re.search(r"broken +exit 3, .* oops$", text, re.MULTILINE)
        assert r"echo \x1b[31m日本語\x07" in text, "nothing of a command reaches the terminal as it is"
        assert "held" in text

    drive(busy.database, steps)


@pytest.mark.parametrize("size", [(140, 40), (80, 24), (60, 15)])
def test_the_screen_fits_its_size(busy: Lab, size: tuple[int, int]):
    async def steps(screen: TopScreen) -> None:
        await screen.until("long .*20 %$")
        assert max(map(output.display_width, screen.lines)) <= size[0]
        assert all(each in screen.text for each in ("Queues", "Running 1", "Waiting 1", "Died 1"))
        wide = "WORKER" in screen.text
        assert wide == (size[0] >= 110)
        if wide:
            assert "[red]markup[/red] [/]" in screen.text, "markup is text"

    drive(busy.database, steps, size=size)


def test_a_small_screen_shows_one_pane(busy: Lab):
    async def steps(screen: TopScreen) -> None:
        await screen.until("Died 1")
        await screen.resize(40, 8)
        await screen.until(lambda: "Died" not in screen.text)
        assert "Running 1" in screen.text
        await screen.press("tab", "tab")
        await screen.until("Died 1")
        assert "Running" not in screen.text
        await screen.resize(140, 40)
        await screen.until("WORKER")

    drive(busy.database, steps)


def test_a_pane_is_zoomed(busy: Lab):
    async def steps(screen: TopScreen) -> None:
        await screen.until("Died 1")
        await screen.press("z")
        await screen.until(lambda: "Died" not in screen.text)
        await screen.press("z")
        await screen.until("Died 1")

    drive(busy.database, steps)


def test_a_filter_chooses_the_jobs(busy: Lab):
    async def steps(screen: TopScreen) -> None:
        await screen.until("Running 1")
        await screen.press("slash", "text:tag:exp=3", "enter")
        await screen.until("Running 0")
        assert "Waiting 1" in screen.text
        assert "filter: tag:exp=3" in screen.text
        await screen.press("slash", *["backspace"] * 9, "text:nope:1", "enter")
        await screen.until("unknown key 'nope'")
        await screen.press("escape")
        await screen.press("slash", *["backspace"] * 9, "text:state:cancelled,completed", "enter")
        await screen.until("Ended 0|Died 0")
        assert "Waiting 0" in screen.text

    drive(busy.database, steps)


def test_details_are_those_of_inspect(busy: Lab):
    async def steps(screen: TopScreen) -> None:
        await screen.until("Running 1")
        await screen.press("enter")
        await screen.until("its history")
        assert "[red]markup[/red] [/]" in screen.text
        assert "20 %" in screen.text
        await screen.press("escape")
        await screen.until("Running 1")

    drive(busy.database, steps, size=(100, 40))


def test_the_log_is_followed_to_the_end(lab: Lab):
    lab.queue.enqueue("for i in $(seq 50); do echo line $i [b]; done; until test -e go; do sleep 0.02; done; echo last",
        id="chatty", cwd=str(lab.folder))  # fmt: skip
    lab.start()
    lab.processing("chatty")

    async def steps(screen: TopScreen) -> None:
        await screen.until("Running 1")
        await screen.press("l")
        await screen.until(r"line 50 \[b\]")
        assert "line 1 " not in screen.text
        await screen.press("home")
        await screen.until(r"line 1 \[b\]")
        await screen.press("end")
        (lab.folder / "go").touch()
        await screen.until("last(?s:.*)— completed —")
        await screen.press("escape")
        await screen.until("Running 0")

    drive(lab.database, steps)


def test_the_mouse_chooses_a_job(busy: Lab):
    async def steps(screen: TopScreen) -> None:
        await screen.until("broken +exit 3")
        await screen.click("broken")
        await screen.until(lambda: "r Retry" in screen.footer)
        await screen.click("broken", times=2)
        await screen.until("its history")
        assert screen.text.startswith("broken")

    drive(busy.database, steps)


def test_a_database_may_go_and_come_back(busy: Lab):
    path = busy.database

    async def steps(screen: TopScreen) -> None:
        await screen.until("Running 1")
        os.rename(path, f"{path}.away")
        await screen.until("no answer: ")
        await screen.press("tab", "h", "enter")
        await screen.until("no answer: ")
        os.rename(f"{path}.away", path)
        await screen.until(lambda: "no answer" not in screen.text)

    drive(path, steps)


def test_it_ends_while_the_database_is_waited_for():
    stuck = Event()

    def connect() -> Queue:
        stuck.wait(60)
        raise AssertionError("nobody waits for this")

    async def steps(screen: TopScreen) -> None:
        await screen.until("q Quit")
        await screen.press("q")

    began = monotonic()
    assert drive(connect, steps).return_value == 0
    assert monotonic() - began < 20
    stuck.set()


def test_what_was_asked_for_is_done_first(busy: Lab):
    async def steps(screen: TopScreen) -> None:
        await screen.until("Waiting 1")
        await screen.press("tab", "c", "enter", "q")

    drive(busy.database, steps)
    assert busy.queue.job("later").state == "cancelled"


def test_ctrl_c_and_q_end_it(lab: Lab):
    for key, code in (("q", 0), ("ctrl+c", 130)):

        async def steps(screen: TopScreen, key: str = key) -> None:
            await screen.until("Running 0")
            await screen.press(key)

        assert drive(lab.database, steps).return_value == code


def test_an_error_is_no_traceback(lab: Lab, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]):
    def fail(*_: object) -> None:
        raise ZeroDivisionError("on purpose")

    monkeypatch.setattr("queuectl.cli.top.watch.overview", fail)

    async def steps(screen: TopScreen) -> None:
        await screen.until(lambda: screen.app.error is not None)

    with pytest.raises(Exception, match="on purpose"):
        drive(lab.database, steps)
    assert "Traceback" not in capfd.readouterr().err
