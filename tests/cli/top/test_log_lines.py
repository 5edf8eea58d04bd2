"""What a screen shows of outputs: whole lines, the last state of a progress bar, and no more than can be read."""

from queuectl import Queue
from queuectl.cli.top import log_screen
from queuectl.cli.top.last_lines import LastLines
from queuectl.cli.top.log_screen import LogLines
from tests.support.lab import Lab


def test_lines_come_with_the_one_that_goes_on():
    printer = LogLines()
    printer.write(b"one\n\x1b[31mred\x1b[0m\n\x1b]0;title\x07\n10 %\r20 %")
    assert printer.taken() == (["one", "\x1b[31mred\x1b[0m", r"\x1b]0;title\x07"], "20 %")
    printer.write(b"\r\x1b[Kdone\n")
    printer.message("attempt 2")
    assert printer.taken() == (["done", "— attempt 2 —"], "")


def test_of_a_flood_the_last_lines_are_shown():
    printer = LogLines()
    printer.write(b"".join(b"%d\n" % number for number in range(log_screen.BURST + 5)))
    lines, _ = printer.taken()
    assert (lines[:2], len(lines)) == (["— 5 lines passed over —", "5"], log_screen.BURST + 1)


def read(queue: Queue, lines: LastLines) -> dict[str, str]:
    return lines.read(queue, queue.jobs())


def test_last_lines_of_running_and_ended_jobs(lab: Lab):
    q, lines = lab.queue, LastLines()
    q.enqueue("true", id="silent")
    q.enqueue(r"printf 'a\n10 %%\r20 %%'; exit 3", id="bar", max_retries=0)
    lab.drain()
    q.enqueue("echo first; until test -e go; do sleep 0.02; done; echo second; sleep 600", id="runs",
        cwd=str(lab.folder), timeout=None)  # fmt: skip
    q.enqueue("true", id="waits", held=True)
    assert read(q, lines) == {"bar": "20 %"}
    lab.start()
    lab.until(lambda: read(q, lines) == {"bar": "20 %", "runs": "first"})
    (lab.folder / "go").touch()
    lab.until(lambda: read(q, lines) == {"bar": "20 %", "runs": "second"})
    lines.close()
