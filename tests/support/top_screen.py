"""`queuectl top` driven by Textual's pilot: keys are pressed, and what is then on the screen is read."""

import asyncio
import html
import re
from collections.abc import Awaitable, Callable

from textual.pilot import Pilot

from queuectl import Queue
from queuectl.cli.top.app import TopApp
from queuectl.cli.ui import output
from queuectl.clock import monotonic

_COLUMN = 12.2
"""Width of a character in the picture."""
_TEXT = re.compile(r'<text class="[^"]*" x="([\d.]+)" y="([\d.]+)"[^>]*>(.*?)</text>')


class TopScreen:
    """The application, and what it shows."""

    def __init__(self, app: TopApp, pilot: Pilot[int]) -> None:
        self.app, self._pilot = app, pilot

    @property
    def lines(self) -> list[str]:
        """What is on the screen, without colours."""
        rows: dict[float, str] = {}
        for x, y, text in _TEXT.findall(self.app.export_screenshot()):
            before = rows.get(float(y), "")
            blank = " " * (round(float(x) / _COLUMN) - output.display_width(before))
            rows[float(y)] = before + blank + html.unescape(text).replace("\xa0", " ")
        return [rows[y].rstrip() for y in sorted(rows)]

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    @property
    def footer(self) -> str:
        return self.lines[-1]

    async def press(self, *keys: str) -> None:
        """Press these keys, of which `text:…` stands for each of its characters."""
        for key in keys:
            await self._pilot.press(*(list(key[5:]) if key.startswith("text:") else [key]))

    async def click(self, word: str, times: int = 1) -> None:
        """Click where a word is shown first."""
        for y, line in enumerate(self.lines):
            if (x := line.find(word)) >= 0:
                await self._pilot.click(offset=(x, y), times=times)
                return
        raise AssertionError(f"{word!r} is not in\n{self.text}")

    async def resize(self, columns: int, rows: int) -> None:
        await self._pilot.resize_terminal(columns, rows)

    async def until(self, shown: str | Callable[[], object], seconds: float = 20) -> None:
        """Wait until this pattern is shown, or a condition is true."""
        deadline = monotonic() + seconds
        while not (re.search(shown, self.text, re.MULTILINE) if isinstance(shown, str) else shown()):
            assert monotonic() < deadline, f"{shown} is not in\n{self.text}"
            await self._pilot.pause(0.05)


def drive(
    url: "str | Callable[[], Queue]",
    steps: Callable[[TopScreen], Awaitable[None]],
    *,
    where: str = "",
    read_only: bool = False,
    size: tuple[int, int] = (80, 24),
) -> TopApp:
    """Run the steps on a screen that shows the queue at this URL; returns the application as it is then."""
    connect = (lambda: Queue(url, create=False, actor="cli:ann@here")) if isinstance(url, str) else url
    app = TopApp(connect, where, read_only=read_only)

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            await steps(TopScreen(app, pilot))

    try:
        asyncio.run(run())
    finally:
        app.let_go()
    return app
