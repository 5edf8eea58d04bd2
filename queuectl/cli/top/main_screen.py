"""The panes, and what the keys do to the jobs in them."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.screen import Screen
from textual.widgets import Footer, Static

from queuectl.cli import job_editing
from queuectl.cli.top import actions, keys
from queuectl.cli.top.actions import Request
from queuectl.cli.top.heights import shared
from queuectl.cli.top.last_lines import LastLines
from queuectl.cli.top.log_screen import LogScreen
from queuectl.cli.top.pane_view import PaneView
from queuectl.cli.top.panes import panes, summary
from queuectl.cli.top.prompt import Prompt
from queuectl.cli.top.text_screens import DetailsScreen, HelpScreen
from queuectl.cli.ui import output
from queuectl.errors import QueueError
from queuectl.options import OF_NAME
from queuectl.overview import Overview

if TYPE_CHECKING:
    from projections.jobs import Job
    from queuectl.cli.top.app import TopApp

PANES = ("queues", "running", "waiting", "ended")
"""In the order in which they are shown."""
CRAMPED = (60, 15)
"""Columns and lines below which only one pane is shown."""


class Looked(Message):
    """The queue was looked at."""

    def __init__(self, seen: Overview | None, trouble: str) -> None:
        super().__init__()
        self.seen, self.trouble = seen, trouble


class MainScreen(Screen[None]):
    """Shows the queues, and the jobs by what they do."""

    app: "TopApp"
    DEFAULT_CSS = """
    MainScreen { overflow: hidden; }
    MainScreen #summary, MainScreen #status { height: 1; text-wrap: nowrap; text-overflow: ellipsis; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *keys.BINDINGS,
        Binding("tab", "pane(1)", "Next pane", show=False),
        Binding("shift+tab", "pane(-1)", "Pane before", show=False),
    ]

    def __init__(self, where: str) -> None:
        """`where`: the filter, as it was given."""
        super().__init__()
        self._where = where
        self._seen: Overview | None = None
        self._trouble = self._said = ""
        self._last_lines, self._written, self._reads = LastLines(), dict[str, str](), False
        self._request: Request | None = None
        """What a reason is asked for; None: the filter is."""
        self._current = "running"
        """The pane that has the cursor, or had it last."""
        self._is_zoomed = False
        self._summary, self._status, self._prompt = Static(id="summary"), Static(id="status"), Prompt()
        self._panes = {name: PaneView(name) for name in PANES}

    def compose(self) -> ComposeResult:
        """Lay out the widgets."""
        yield self._summary
        yield from self._panes.values()
        yield self._status
        yield self._prompt
        yield Footer(show_command_palette=False, compact=True)

    def on_mount(self) -> None:
        """Put the cursor where most is to be seen."""
        self._panes[self._current].focus()

    # -- what is shown -----------------------------------------------------------------------------------------------

    def on_looked(self, looked: Looked) -> None:
        """Show what was seen."""
        self._seen, self._trouble = looked.seen, looked.trouble
        self.lay_out()
        if not self._reads and looked.seen is not None and not looked.trouble:
            self._reads = True
            self.run_worker(self._read(looked.seen))

    async def _read(self, seen: Overview) -> None:
        """Read the last lines of what runs and of what has ended."""
        jobs = [*(each.job for each in seen.running), *seen.ended]
        lines = self._last_lines
        try:
            self._written = await self.app.outputs.ask(lambda q: lines.read(q, jobs))
            self.lay_out()
        except (QueueError, OSError):  # of the database: the watch tells of it
            self._last_lines = LastLines()
        finally:
            self._reads = False

    def lay_out(self) -> None:
        """Lay it out for the size of the terminal."""
        columns, rows = self.app.size
        if (seen := self._seen) is not None:
            self._summary.update(_line(summary(seen), "bold"))
            for content in panes(seen, self._written, columns, rows):
                self._panes[content.name].show(content, columns)
        self._show_status()
        alone = self._is_zoomed or columns < CRAMPED[0] or rows < CRAMPED[1]
        shown = [self._panes[name] for name in PANES if not alone or name == self._current]
        for name in PANES:
            self._panes[name].display = not alone or name == self._current
        if self.focused is None:  # a click beside all panes takes the cursor away
            self.set_focus(self._panes[self._current])
        room = max(rows - 3 - self._prompt.is_open, 1)
        sizes = shared([view.rows for view in shown], room - sum(view.fixed for view in shown))
        for view, size in zip(shown, sizes, strict=True):
            view.styles.height = room if alone else view.fixed + size

    def on_resize(self) -> None:
        """Lay it out anew."""
        self.call_after_refresh(self.lay_out)

    def say(self, text: str) -> None:
        """Show a line, until the next key."""
        self._said = text
        self._show_status()

    def _show_status(self) -> None:
        words = [f"filter: {self._where}"] if self._where else []
        words += ["read-only"] if self.app.read_only else []
        line = _line(" · ".join(words), "dim")
        if self._trouble:
            line = _line(f"no answer: {self._trouble}; trying again", "bold" if self.app.no_color else "bold red")
        elif self._said:
            line = _line(self._said, "bold")
        self._status.update(line)

    # -- keys --------------------------------------------------------------------------------------------------------

    def on_key(self) -> None:
        """Forget what was said."""
        if self._said:
            self.say("")

    def on_pane_view_moved(self, moved: PaneView.Moved) -> None:
        """Have the footer show what can be done to what the cursor is on."""
        if moved.pane.has_focus and moved.pane.id is not None:
            self._current = moved.pane.id
        self.refresh_bindings()

    def on_pane_view_chosen(self) -> None:
        """Show what was clicked twice."""
        self.action_details()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Whether a key does anything where the cursor is."""
        key = keys.OF_ACTION.get(action)
        if key is None:
            return True
        if (key.changes and self.app.read_only) or self._prompt.is_open:
            return False
        return not key.panes or (self._current in key.panes and self._job() is not None)

    def _job(self) -> "Job | None":
        """The job on which the cursor is."""
        row = self._panes[self._current].current
        if row is None or (seen := self._seen) is None:
            return None
        jobs: Mapping[str, list[Job]] = {
            "running": [each.job for each in seen.running], "waiting": seen.waiting, "ended": seen.ended,
        }  # fmt: skip
        return next((job for job in jobs.get(self._current, ()) if job.id == row.key), None)

    def action_details(self) -> None:
        """Show everything about the job."""
        if (job := self._job()) is not None:
            self.app.push_screen(DetailsScreen(self.app.outputs, job.id))

    def action_log(self) -> None:
        """Follow the output of the job."""
        if (job := self._job()) is not None:
            self.app.push_screen(LogScreen(self.app.outputs, job))

    def action_retry(self) -> None:
        """Run the job again."""
        self._ask(actions.retry)

    def action_cancel(self) -> None:
        """Cancel the job."""
        self._ask(actions.cancel)

    def action_hold(self) -> None:
        """Hold the job, or release it."""
        self._ask(actions.hold)

    def action_start(self) -> None:
        """Start the job next."""
        self._ask(actions.start)

    def action_suspend(self) -> None:
        """Suspend the job, or continue it."""
        self._ask(actions.suspend)

    def action_pause(self) -> None:
        """Pause the queue, or resume it."""
        row, job = self._panes[self._current].current, self._job()
        name = job.queue if job is not None else row.key if row is not None else None
        if name is not None:
            self._ask_reason(actions.pause(self._seen, name))

    def action_pause_all(self) -> None:
        """Pause all queues, or resume them."""
        self._ask_reason(actions.pause(self._seen, ""))

    def action_filter(self) -> None:
        """Ask for another filter."""
        self._request = None
        self._open_prompt("filter:", self._where, "state:dead queue:gpu tag:exp=3 words; nothing: all jobs")

    def action_pane(self, by: int) -> None:
        """Move the cursor to another pane."""
        self._current = PANES[(PANES.index(self._current) + by) % len(PANES)]
        self.lay_out()
        self.set_focus(self._panes[self._current])

    def action_zoom(self) -> None:
        """Show one pane alone, or all of them."""
        self._is_zoomed = not self._is_zoomed
        self.lay_out()

    def action_help(self) -> None:
        """Show the keys."""
        self.app.push_screen(HelpScreen(keys.help_lines(read_only=self.app.read_only)))

    def action_quit(self) -> None:
        """End it."""
        self.app.exit(0)

    def action_edit(self) -> None:
        """Change what was asked of the job, in an editor."""
        if (job := self._job()) is not None:
            self.run_worker(self._edit(job.id))

    async def _edit(self, id: str) -> None:
        changes = self.app.changes
        try:
            job = await changes.ask(lambda q: q.job(id))
            with self.app.lent_terminal():
                changed = job_editing.edit_text(
                    job, {}, lambda id, fields: changes.submit(lambda q: q.edit(id, **fields)).result()
                )
        except (QueueError, OSError) as error:
            self.say(f"edit {id}: {error}")
        else:
            self.say(f"{id} was changed" if changed else f"edit {id}: nothing was changed")

    # -- changes -----------------------------------------------------------------------------------------------------

    def _ask(self, make: "Callable[[Job], Request]") -> None:
        if (job := self._job()) is not None:
            self._ask_reason(make(job))

    def _ask_reason(self, request: Request) -> None:
        self._request = request
        self._open_prompt(f"{request.verb}:", "", "a reason, or none · Enter does it · Esc doesn't")

    def _open_prompt(self, question: str, answer: str, hint: str) -> None:
        self._prompt.ask(output.escape(question), answer, hint)
        self.lay_out()
        self.refresh_bindings()

    def on_prompt_answered(self, answered: Prompt.Answered) -> None:
        """Do what was asked for."""
        request, text = self._request, answered.text
        if text is not None and request is None:
            try:
                self.app.show_only(text)
            except QueueError as error:
                self._open_prompt("filter:", text, "")
                self.say(str(error))
                return
            self._where = text.strip()
        elif text is not None and request is not None:
            self.run_worker(self._make(request, text.strip()))
        self.set_focus(self._panes[self._current])
        self.lay_out()

    async def _make(self, request: Request, reason: str) -> None:
        try:
            why = OF_NAME["reason"].kind.read(reason) if reason else None
            changed = await self.app.changes.ask(lambda q: request.make(q, why))
        except (QueueError, OSError) as error:
            self.say(f"{request.verb}: {error}")
        else:
            self.say(request.done if changed else f"{request.verb}: nothing was changed")


def _line(text: str, style: str) -> Text:
    """Return one line of text that came from anywhere: no markup, nothing that moves a cursor."""
    return Text(output.escape(text), style=style, end="")
