"""A screen that follows the output of a job."""

import asyncio
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.screen import Screen
from textual.widgets import Footer, RichLog, Static

from queuectl.cli.top.text_screens import BACK
from queuectl.cli.ui import output
from queuectl.cli.ui.printer import Printer
from queuectl.cli.ui.stream import Part, Steps, follow_steps
from queuectl.cli.ui.terminal import Sanitizer
from queuectl.cli.ui.terminal import Screen as LineScreen
from queuectl.errors import QueueError

if TYPE_CHECKING:
    from projections.jobs import Job
    from queuectl.cli.top.queue_thread import QueueThread
    from queuectl.queue import Queue

FIRST = 1000
"""Lines of what is there already that are shown."""
BURST = 1000
"""Lines that are shown at once; of a command that writes faster than can be read, the last ones."""
PAUSE = 0.2
"""Seconds between two looks, at least."""
MOST = 20_000
"""Lines that are kept."""


class LogLines(Printer):
    """Takes what `follow_steps` prints, as lines of a terminal."""

    terminal = True

    def __init__(self) -> None:
        self._sanitizer, self._screen = Sanitizer(), LineScreen()
        self._lines: list[str] = []
        self._passed_over = 0

    def write(self, data: bytes, source: int = 0) -> None:
        """Take a piece of output."""
        self._take(self._screen.feed(self._sanitizer.feed(data)))

    def _take(self, text: str) -> None:
        self._lines += text.split("\n")[:-1]
        if (more := len(self._lines) - BURST) > 0:
            self._passed_over += more
            del self._lines[:more]

    def finish(self) -> None:
        """End an unfinished line and its colours."""
        self._take(self._screen.feed(self._sanitizer.end()) + self._screen.end())

    def message(self, text: str) -> None:
        """Take a line that is no output."""
        self.finish()
        self._lines.append(output.paint(f"— {output.escape(text)} —", "dim"))

    def taken(self) -> tuple[list[str], str]:
        """Return the lines since the last call, and the line that has not ended, as it is now."""
        lines, self._lines = self._lines, []
        if passed_over := self._passed_over:
            lines.insert(0, output.paint(f"— {passed_over:,} lines passed over —", "dim"))
            self._passed_over = 0
        return lines, self._screen.current


class LogScreen(Screen[None]):
    """The output of a job as it grows, and of each later attempt, until the job ends."""

    DEFAULT_CSS = """
    LogScreen #title { text-style: bold; height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    LogScreen #unfinished { height: auto; max-height: 3; }
    LogScreen RichLog { scrollbar-size-vertical: 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        BACK,
        Binding("home,g", "top", "First", show=False),
        Binding("end,G", "end", "Follow", key_display="End"),
    ]

    def __init__(self, thread: "QueueThread", job: "Job") -> None:
        super().__init__()
        self._thread, self._job = thread, job
        self._steps: Steps | None = None

    def compose(self) -> ComposeResult:
        """Make the widgets."""
        title = output.escape(f"{self._job.id}  {self._job.command}")
        yield Static(Text(title), id="title")
        yield RichLog(max_lines=MOST, wrap=True, auto_scroll=False, min_width=0)
        yield Static(id="unfinished")
        yield Footer(show_command_palette=False)

    def on_mount(self) -> None:
        """Begin to follow."""
        self.query_one(RichLog).focus()
        self.run_worker(self._follow())

    async def _follow(self) -> None:
        printer, id = LogLines(), self._job.id
        steps = await self._thread.ask(lambda q: follow_steps(q, id, None, printer, Part(tail=FIRST)))

        self._steps = steps

        def step(q: "Queue") -> tuple[float | None, tuple[list[str], str]]:
            return _next_pause(steps), printer.taken()

        while True:
            try:
                pause, (lines, unfinished) = await self._thread.ask(step)
            except (QueueError, OSError) as error:
                self._append([output.paint(output.escape(str(error)), "dead")], "")
                return
            self._append(lines, unfinished)
            if pause is None:
                job = await self._thread.ask(lambda q: q.job(id))
                self._append([output.paint(f"— {job.state} —", job.state)], "")
                return
            await asyncio.sleep(max(pause, PAUSE))

    def _append(self, lines: list[str], unfinished: str) -> None:
        log = self.query_one(RichLog)
        follows = log.is_vertical_scroll_end
        for line in lines:
            log.write(Text.from_ansi(line), scroll_end=False)
        self.query_one("#unfinished", Static).update(Text.from_ansi(unfinished))
        if lines and follows:
            log.scroll_end(animate=False, immediate=True)

    def on_unmount(self) -> None:
        """Let go of the output, in the thread that reads it."""
        if (steps := self._steps) is not None:
            self._thread.submit(lambda q: steps.close())

    def action_back(self) -> None:
        """Go back to the panes."""
        self.dismiss()

    def action_top(self) -> None:
        """Show the first line that there is."""
        self.query_one(RichLog).scroll_home(animate=False)

    def action_end(self) -> None:
        """Show the last line, and each that comes."""
        self.query_one(RichLog).scroll_end(animate=False)


def _next_pause(steps: Steps) -> float | None:
    """Take a step; return the seconds until the next one, None if it was the last."""
    return next(steps, None)
