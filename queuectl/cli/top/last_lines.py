"""The last line that jobs have written: of what runs it is looked for again and again, so that files stay open."""

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from queuectl.cli.ui.output_reader import OutputReader
from queuectl.cli.ui.stream import read_last_lines
from queuectl.cli.ui.terminal import without_colours
from queuectl.errors import NotFound, OutputGone

if TYPE_CHECKING:
    from projections.jobs import Job
    from queuectl.outputs import Output
    from queuectl.queue import Queue

_Attempt = tuple[str, int, bool]
"""A job, the number of its attempt, and whether that runs."""


class _Written(msgspec.Struct):
    output: "Output | None"
    """None: nothing more is looked for."""
    size: int = -1
    text: str = ""


class LastLines:
    """Reads the last lines of the outputs of jobs. What can't be read is an empty line."""

    def __init__(self) -> None:
        self._known: dict[_Attempt, _Written] = {}

    def read(self, q: "Queue", jobs: Iterable["Job"]) -> dict[str, str]:
        """Return the last line of each of these jobs by id, as a terminal shows it, without colours.

        Those that were read before and are not among these are forgotten.
        """
        attempts: dict[_Attempt, None] = {(job.id, job.attempt, job.state == "processing"): None for job in jobs}
        for attempt in self._known.keys() - attempts.keys():
            self._close(self._known.pop(attempt))
        return {attempt[0]: text for attempt in attempts if (text := self._line(q, attempt))}

    def close(self) -> None:
        """Let go of the outputs."""
        while self._known:
            self._close(self._known.popitem()[1])

    def _line(self, q: "Queue", attempt: _Attempt) -> str:
        id, number, runs = attempt
        if (written := self._known.get(attempt)) is None:
            output = None
            try:
                output = q.open_output(id, number or None)
            except OutputGone:
                runs = False
            except NotFound:  # not started yet, or ended without output
                if runs:
                    return ""
            written = self._known[attempt] = _Written(output)
        if written.output is not None:
            with suppress(OutputGone):  # its host does not answer: what was there is shown on
                self._look(written, written.output)
            if not runs:
                self._close(written)
        return written.text

    @staticmethod
    def _look(written: _Written, output: "Output") -> None:
        size = output.size
        if size != written.size:
            lines, _ = read_last_lines(OutputReader(output), 1)
            written.size, written.text = size, without_colours(lines[0]).strip() if lines else ""

    @staticmethod
    def _close(written: _Written) -> None:
        if written.output is not None:
            written.output.close()
            written.output = None
