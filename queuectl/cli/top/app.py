"""The screen as an application of Textual."""

import asyncio
import os
import signal
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from threading import Thread
from typing import TYPE_CHECKING, ClassVar

from textual.app import App
from textual.binding import Binding, BindingType
from textual.message import Message
from textual.worker import WorkerFailed

from queuectl import filters
from queuectl.cli.top.main_screen import Looked, MainScreen
from queuectl.cli.top.queue_thread import QueueThread
from queuectl.cli.top.watch import QueueWatch

if TYPE_CHECKING:
    from queuectl.queue import Queue

PATIENCE = 1.0
"""Seconds for which reading is waited for at the end."""


class WatchFailed(Message):
    """The thread that watches has met an error."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


class TopApp(App[int]):
    """Shows a queue, and does to it what is asked for. Its return value is the exit code."""

    ENABLE_COMMAND_PALETTE = False
    CSS = "App:nocolor FooterKey .footer-key--key { color: ansi_default; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "exit(130)", "Quit", show=False, priority=True, system=True)
    ]

    def __init__(self, connect: "Callable[[], Queue]", where: str = "", *, read_only: bool = False) -> None:
        """`where`: the filter of the jobs. `read_only`: nothing can be changed."""
        no_color = os.environ.pop("NO_COLOR", "")
        super().__init__()
        if no_color:  # Textual would make the terminal's own colours black on black
            os.environ["NO_COLOR"] = no_color
            self.no_color = True
        self.theme = "ansi-dark"  # the colours of the terminal, its background as well
        self.read_only = read_only
        self.outputs, self.changes = QueueThread(connect), QueueThread(connect)
        self.error: Exception | None = None
        """What has ended it, where that was an error."""
        self._watch = QueueWatch(connect, filters.parse(where))
        self._waker = os.eventfd(0, os.EFD_CLOEXEC)
        self._watching = Thread(target=self._look_on, daemon=True)
        self._is_over = self._is_lent = False
        self._main = MainScreen(where)

    def get_default_screen(self) -> MainScreen:
        """Return the screen of the panes."""
        return self._main

    def on_mount(self) -> None:
        """Begin to watch."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            with suppress(ValueError, RuntimeError):  # not in the main thread
                loop.add_signal_handler(number, self._signalled, number)
        self._watching.start()

    def _signalled(self, number: int) -> None:
        if not (self._is_lent and number == signal.SIGINT):
            self.exit(128 + number)

    @contextmanager
    def lent_terminal(self) -> Generator[None]:
        """Lend the terminal to another program, for which a Ctrl-C is then meant."""
        self._is_lent = True
        failure: Exception | None = None
        with self.suspend():
            try:
                yield
            except Exception as error:  # noqa: BLE001 - raised below: the terminal is taken back only after a good end
                failure = error
        # The signals that came meanwhile are told of first.
        asyncio.get_running_loop().call_later(0.1, self._take_terminal_back)
        if failure is not None:
            raise failure

    def _take_terminal_back(self) -> None:
        self._is_lent = False

    def let_go(self) -> None:
        """Let go of the queue, once what was to be changed is; reading that takes long is not waited for."""
        self._is_over = True
        self._wake()
        self.changes.close(None)
        self.outputs.close(PATIENCE)
        if self._watching.is_alive():
            self._watching.join(PATIENCE)
        if not self._watching.is_alive():
            os.close(self._waker)

    def _look_on(self) -> None:
        """Look at the queue, in a thread of its own, until the application ends."""
        watch = self._watch
        try:
            while not self._is_over:
                watch.look()
                self._main.post_message(Looked(watch.seen, watch.trouble))
                if watch.wait(self._waker):
                    os.eventfd_read(self._waker)
        except Exception as error:  # noqa: BLE001 - it ends the application, in its own thread
            self.post_message(WatchFailed(error))
        finally:
            watch.close()

    def on_watch_failed(self, failed: "WatchFailed") -> None:
        """End with the error of the thread that watches."""
        raise failed.error

    def _wake(self) -> None:
        os.eventfd_write(self._waker, 1)

    def show_only(self, where: str) -> None:
        """Show the jobs that a filter finds. Raises Invalid."""
        self._watch.terms = filters.parse(where)
        self._wake()

    def action_exit(self, code: int) -> None:
        """End it, with this exit code."""
        self.exit(code)

    def _handle_exception(self, error: Exception) -> None:
        self.error = error.error if isinstance(error, WorkerFailed) and isinstance(error.error, Exception) else error
        super()._handle_exception(error)

    def _fatal_error(self) -> None:
        """End it; the error is shown by what has started it, in a line, and not as a traceback."""
        self._close_messages_no_wait()


def run(connect: "Callable[[], Queue]", where: str, *, read_only: bool) -> int:
    """Show a queue on the terminal until its user ends that; returns the exit code."""
    app = TopApp(connect, where, read_only=read_only)
    try:
        code = app.run()
    finally:
        app.let_go()
    if app.error is not None:
        raise app.error
    return code or 0
