"""The line at the foot of the screen in which a reason or a filter is typed."""

from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.widgets import Input, Static


class Prompt(Horizontal):
    """A question with a line for the answer; it is hidden while nothing is asked."""

    DEFAULT_CSS = """
    Prompt { height: 1; }
    Prompt Static { width: auto; max-width: 60%; text-style: bold; text-wrap: nowrap; text-overflow: ellipsis; }
    Prompt Input { width: 1fr; height: 1; border: none; padding: 0; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "give_up", "Back", key_display="Esc", priority=True)]

    class Answered(Message):
        """An answer was given: its text, None where it was not to be given."""

        def __init__(self, text: str | None) -> None:
            super().__init__()
            self.text = text

    def on_mount(self) -> None:
        """Ask nothing yet."""
        self.display = False

    def compose(self) -> ComposeResult:
        """Make the widgets."""
        yield Static(id="question")
        yield Input(select_on_focus=False, compact=True)

    def ask(self, question: str, answer: str, hint: str) -> None:
        """Ask for a line, which begins as `answer`. `hint` stands in it while it is empty."""
        self.query_one("#question", Static).update(Text(f"{question} "))
        line = self.query_one(Input)
        line.value, line.placeholder = answer, hint
        line.cursor_position = len(answer)
        self.display = True
        self.screen.set_focus(line)  # at once: what is typed next is for it

    @property
    def is_open(self) -> bool:
        """Whether anything is asked."""
        return self.display

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Give the answer."""
        event.stop()
        self._close(event.value)

    def action_give_up(self) -> None:
        """Give no answer."""
        self._close(None)

    def _close(self, text: str | None) -> None:
        self.display = False
        self.post_message(self.Answered(text))
