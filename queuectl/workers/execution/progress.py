"""How far the command of an attempt says that it is: looked at for a heartbeat, and when it has ended."""

from msgspec.structs import replace

from queuectl import progress
from queuectl.decisions import Outcome
from queuectl.home import progress_of
from queuectl.progress import JobProgress


def progress_by(output: str) -> JobProgress | None:
    """What the command with this output file says; None: nothing."""
    return progress.read(progress_of(output))


def with_progress(outcome: Outcome, output: str) -> Outcome:
    """The outcome of the attempt with this output file, with what its command has said last."""
    said = progress_by(output)
    return outcome if said is None else replace(outcome, progress=said.percent, progress_text=said.text)
