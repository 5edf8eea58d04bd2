"""Screens of text over the panes: the details of a job, and the help."""

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.screen import Screen
from textual.widgets import Footer, Static

from queuectl.cli.ui import job_details, output, timeline
from queuectl.errors import QueueError

if TYPE_CHECKING:
    from queuectl.cli.top.queue_thread import QueueThread
    from queuectl.queue import Queue

PAUSE = 2.0
"""Seconds between two looks at a job."""

BACK = Binding("escape,q", "back", "Back", key_display="Esc")


class TextScreen(Screen[None]):
    """Lines that can be scrolled."""

    app: "App[int]"
    BINDINGS: ClassVar[list[BindingType]] = [
        BACK,
        Binding("up,k", "scroll('up')", "Up", show=False),
        Binding("down,j", "scroll('down')", "Down", show=False),
        Binding("pageup", "scroll('page_up')", "Page up", show=False),
        Binding("pagedown,space", "scroll('page_down')", "Page down", show=False),
        Binding("home,g", "scroll('home')", "First", show=False),
        Binding("end,G", "scroll('end')", "Last", show=False),
    ]

    def compose(self) -> ComposeResult:
        """Make the widgets."""
        with VerticalScroll():
            yield Static(id="text")
        yield Footer(show_command_palette=False)

    def show(self, lines: Sequence[str]) -> None:
        """Show these lines, which may have colours."""
        self.query_one("#text", Static).update(Text.from_ansi("\n".join(lines)))

    def action_back(self) -> None:
        """Go back to the panes."""
        self.dismiss()

    def action_scroll(self, where: str) -> None:
        """Scroll the text."""
        getattr(self.query_one(VerticalScroll), f"scroll_{where}")(animate=False)


class DetailsScreen(TextScreen):
    """Everything about a job, as `inspect` has it, and its history below."""

    def __init__(self, thread: "QueueThread", id: str) -> None:
        super().__init__()
        self._thread, self._id = thread, id

    def on_mount(self) -> None:
        """Begin to look."""
        self.set_interval(PAUSE, self.look_anew)
        self.look_anew()

    def on_resize(self) -> None:
        """Lay it out anew."""
        self.look_anew()

    def look_anew(self) -> None:
        """Begin to look, where that is not under way."""
        self.run_worker(self.look(), exclusive=True)

    async def look(self) -> None:
        """Show the job as it is now."""
        room = max(self.app.size.width - 2, 40)
        try:
            self.show(await self._thread.ask(lambda q: [*_details(q, self._id, room)]))
        except (QueueError, OSError) as error:
            self.show([output.escape(str(error))])


def _details(q: "Queue", id: str, room: int) -> Iterator[str]:
    job, attempts, notes = q.job(id), q.attempts(id), q.notes(id)
    yield from chain(
        job_details.job_lines(q, job, attempts, q.forecasts()(job), False, room),
        job_details.note_lines(notes, room),
        job_details.output_lines(q, job, room),
    )
    yield from ("", output.paint("its history", "dim"))
    moments = q.history(id)
    yield from timeline.render(timeline.build(moments, q.engine.now(), q.facts()), room)


class HelpScreen(TextScreen):
    """The keys."""

    def __init__(self, lines: Sequence[str]) -> None:
        super().__init__()
        self._lines = lines

    def on_mount(self) -> None:
        """Show them."""
        self.show(self._lines)
