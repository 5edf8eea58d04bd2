"""The layout of `--help`: plain headings and two columns, the same on a terminal and in a file."""

import textwrap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cyclopts.help import HelpEntry, HelpPanel
    from rich.console import Console, ConsoleOptions

_LABELS = 26
"""Width of the left column; a longer label has a line of its own."""


class HelpFormatter:
    """Renders cyclopts' help pages (its HelpFormatter protocol)."""

    def render_usage(self, console: "Console", options: "ConsoleOptions", usage: Any) -> None:
        """Print the usage line, without cyclopts' styling."""
        _print(console, "Usage: " + str(getattr(usage, "plain", usage)).strip().removeprefix("Usage: "))

    def render_description(self, console: "Console", options: "ConsoleOptions", description: Any) -> None:
        """Print the docstring as it is laid out in the source."""
        text = getattr(getattr(description, "primary_renderable", None), "plain", "")
        if text.strip():
            _print(console, "")
            for line in text.strip().splitlines():
                example = line.startswith("$ ")
                _print(console, f"  {line}" if example else line, style="cyan" if example else None)

    def __call__(self, console: "Console", options: "ConsoleOptions", panel: "HelpPanel") -> None:
        """Print one panel: its heading, and each entry on a line."""
        if not panel.entries:
            return
        width = min(max(console.width, 60), 110)
        _print(console, f"\n{panel.title}:", style="bold")
        for entry in panel.entries:
            label = _label(entry, options=panel.format == "parameter")
            lines = textwrap.wrap(_description(entry), width - _LABELS - 4, break_on_hyphens=False) or [""]
            if len(label) > _LABELS:
                _print(console, f"  {label}")
            else:
                _print(console, f"  {label:<{_LABELS}}  {lines.pop(0)}".rstrip())
            for line in lines:
                _print(console, f"{'':{_LABELS + 4}}{line}")


def _label(entry: "HelpEntry", options: bool) -> str:
    names = [*entry.positive_shorts, *entry.positive_names]
    if entry.positional_label is not None:
        return entry.positional_label
    label = ", ".join(names)
    return f"{label} {entry.metavar}" if options and entry.metavar else label


def _description(entry: "HelpEntry") -> str:
    text = getattr(getattr(entry.description, "primary_renderable", None), "plain", "").strip()
    if entry.choices:
        text += f" ({', '.join(entry.choices)})"
    if entry.default not in (None, "False"):
        text += f" [default: {entry.default}]"
    return text


def _print(console: "Console", text: str, style: str | None = None) -> None:
    console.print(text, style=style, highlight=False, markup=False, soft_wrap=True)
