"""A pane: a title and a table whose rows are chosen by keys and the mouse."""

from typing import ClassVar

from rich.style import Style
from rich.text import Text
from textual import events
from textual.app import App
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from queuectl.cli.top.panes import PaneContent, PaneRow
from queuectl.cli.ui import output


class PaneView(ScrollView, can_focus=True):
    """Shows the content of a pane: its fixed lines, and as many rows as there is room for."""

    app: "App[int]"
    DEFAULT_CSS = "PaneView { scrollbar-size-vertical: 1; overflow-x: hidden; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home,g", "move(-1000000)", "First", show=False),
        Binding("end,G", "move(1000000)", "Last", show=False),
    ]

    class Chosen(Message):
        """A row was clicked twice."""

    class Moved(Message):
        """Another row is the current one, or another pane has the focus."""

        def __init__(self, pane: "PaneView") -> None:
            super().__init__()
            self.pane = pane

    def __init__(self, name: str) -> None:
        super().__init__(id=name)
        self.content = PaneContent(name, name.capitalize(), (), ())
        self._lines: list[str] = []
        """Those of the rows, laid out for a width."""
        self._fixed: list[Strip] = []
        self._width = 0
        self._place = 0
        """Of the current row."""

    @property
    def current(self) -> PaneRow | None:
        """The row on which the cursor is; None where there is no row."""
        return self.content.rows[self._place] if self.content.rows else None

    @property
    def fixed(self) -> int:
        """The lines that it has above its rows."""
        return len(self._fixed)

    @property
    def rows(self) -> int:
        """The lines that its rows take, where there is room for all."""
        return len(self._lines)

    def show(self, content: PaneContent, width: int) -> None:
        """Show other content, laid out for so many columns. The cursor stays on what it was on."""
        key = self.current.key if self.current is not None else None
        if (content, width) == (self.content, self._width):
            return
        self.content, self._width = content, width
        self._lay_out()
        keys = [row.key for row in content.rows]
        place = keys.index(key) if key is not None and key in keys else self._place
        self._place = max(0, min(place, len(keys) - 1))
        self.virtual_size = Size(width, len(self._fixed) + len(self._lines))
        if self.current is None or self.current.key != key:
            self.post_message(self.Moved(self))
        self.refresh()

    def _lay_out(self) -> None:
        content = self.content
        room = self._width - 1  # a column for the scrollbar
        table = output.table_lines(content.heads, [row.cells for row in content.rows], content.right, room)
        heads, *rows = [*table] or [""]
        title = output.truncate(content.title, room)
        rule = "─" * max(room - output.display_width(title) - 1, 0)
        self._fixed = [
            self._strip(f"{output.paint(title, 'bold')} {output.paint(rule, 'dim')}"),
            *(
                self._strip(output.paint(output.truncate(f"  {output.escape(note)}", room), "dim"))
                for note in content.notes
            ),
            *([self._strip(heads)] if rows else []),
        ]
        self._lines = rows

    def _strip(self, line: str) -> Strip:
        text = Text.from_ansi(line, end="")
        return Strip(text.render(self.app.console)).adjust_cell_length(self._width)

    def render_line(self, y: int) -> Strip:
        """Return a line of the widget."""
        width = self.size.width
        if y < len(self._fixed):
            strip = self._fixed[y]
            if y == 0 and self.has_focus:
                strip = strip.apply_style(Style(bold=True, color=None if self.app.no_color else "blue"))
            return self._filled(strip, width)
        place = y - len(self._fixed) + round(self.scroll_y)
        if place >= len(self._lines):
            return Strip.blank(width, self.rich_style)
        strip = self._filled(self._strip(self._lines[place]), width)
        return strip.apply_style(Style(reverse=True)) if place == self._place and self.has_focus else strip

    def _filled(self, strip: Strip, width: int) -> Strip:
        return strip.adjust_cell_length(width, self.rich_style).apply_style(self.rich_style)

    # -- moving ------------------------------------------------------------------------------------------------------

    def action_move(self, by: int) -> None:
        """Move the cursor by so many rows."""
        self.move_to(self._place + by)

    def action_page(self, by: int) -> None:
        """Move the cursor by so many screens."""
        self.move_to(self._place + by * max(self._room, 1))

    @property
    def _room(self) -> int:
        return self.size.height - len(self._fixed)

    def move_to(self, place: int) -> None:
        """Move the cursor to a row, and scroll it into view."""
        self._place = max(0, min(place, len(self._lines) - 1))
        top = round(self.scroll_y)
        if self._place < top:
            self.scroll_to(y=self._place, animate=False)
        elif self._place >= top + self._room:
            self.scroll_to(y=self._place - self._room + 1, animate=False)
        self.post_message(self.Moved(self))
        self.refresh()

    def on_click(self, event: events.Click) -> None:
        """Move the cursor to the row that was clicked."""
        place = event.y - len(self._fixed) + round(self.scroll_y)
        if event.y >= len(self._fixed) and place < len(self._lines):
            self.move_to(place)
            if event.chain == 2:
                self.post_message(self.Chosen())

    def on_focus(self) -> None:
        """Show the cursor."""
        self.post_message(self.Moved(self))
