"""The command line. `main` is the console script: it parses the words, runs one command and returns its exit code.

Each command is a module in `commands/`, whose table names them all; it is imported when the command is called. This
module has what all commands share: the handling of `--` and `--db`, and of errors.
"""

import gc
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

from queuectl.cli.commands import EVERYWHERE, RUNS_ARGV, changes
from queuectl.errors import Invalid, Notice, QueueError
from queuectl.host.leaving import leave


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command (`argv` without the program's name) and return its exit code. Never raises.

    Without `argv` it is the command of the process, which may end here. With QUEUECTL_DEBUG=1 an internal error is
    raised.
    """
    try:
        code = _main(list(sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:
        code = 130
    if argv is None:
        leave(code)
    return code


def _main(words: list[str]) -> int:
    gc.disable()  # imported objects live until the exit: collecting among them costs more than the command itself
    from queuectl.cli.ui import stdout

    stdout.set_up_streams()
    if signal.getsignal(signal.SIGCHLD) == signal.SIG_IGN:  # that would take away the exit codes of what we start
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    warnings.filterwarnings("default", category=Notice)
    warnings.showwarning = _warn
    try:
        code = _run(words)
        sys.stdout.flush()
        gc.freeze()
        return code
    except QueueError as error:
        return _end(str(error), error.exit_code)
    except KeyboardInterrupt as stop:
        return _end("", 128 + getattr(stop, "number", signal.SIGINT))
    except BrokenPipeError:  # `queuectl events | head -1`
        stdout.discard()
        return 0
    except OSError as error:
        what = f"{error.filename}: " if error.filename is not None else ""
        return _end(stdout.flush_failure() or f"{what}{error.strerror or error}", QueueError.exit_code)
    except Exception as error:
        if os.environ.get("QUEUECTL_DEBUG"):
            raise
        from queuectl.errors import Unusable
        from queuectl.events import Newer, Unreadable

        if isinstance(error, Unreadable):
            more = "" if isinstance(error, Newer) else "; queuectl doctor names what is damaged"
            return _end(f"the log can't be read: {error}{more}", Unusable.exit_code)
        return _end(f"internal error: {error!r} (QUEUECTL_DEBUG=1 shows where)", QueueError.exit_code)


def _run(words: list[str]) -> int:
    if words[:1] == ["__complete"]:  # at each press of TAB
        from queuectl.cli.completion import answer

        return answer.answer(words[1:])
    for word in words:
        if not word.isascii():
            try:
                word.encode()
            except UnicodeEncodeError:
                raise Invalid(f"{os.fsencode(word)!r} is not valid UTF-8") from None
    words = _options_last(words)
    words, argv = _split(words)
    with _worker_ahead(words) if words[:2] == ["worker", "start"] and "--detach" not in words else nullcontext():
        return _call(words, argv)


def _split(words: list[str]) -> tuple[list[str], tuple[str, ...] | None]:
    """Return the words that are parsed, and those that are not: behind `--`; of `--each` also from `:::` on."""
    if RUNS_ARGV.isdisjoint((" ".join(words[:1]), " ".join(words[:2]))):
        return words, None
    cut = _end_of_options(words)
    if "--each" in words[:cut]:
        from queuectl.cli import each_arguments

        words = each_arguments.with_stdin(words[:cut]) + words[cut:]
    if cut == len(words):
        return words, None
    # cyclopts drops the first `--`, even one that is an argument of the program
    return words[:cut], tuple(words[cut + (words[cut] == "--") :])


def _end_of_options(words: list[str]) -> int:
    """Return the place of the word from which on none is an option: `--`, or of `--each` also `:::`."""
    end = words.index("--") if "--" in words else len(words)
    if "--each" not in words[:end]:
        return end
    from queuectl.cli import each_arguments

    return next((place for place, word in enumerate(words[:end]) if word in each_arguments.SEPARATORS), end)


def _worker_ahead(words: list[str]) -> AbstractContextManager[None]:
    """A context for the call of this line: one that starts workers has the first one spawned before it is parsed.

    Not within a job, where workers are spawned only without its traces (R17).
    """
    from queuectl.workers import worker_process
    from queuectl.workers.execution.traces import TAG

    return nullcontext() if TAG in os.environ else worker_process.one_ahead(*words)


def _call(words: list[str], argv: tuple[str, ...] | None) -> int:
    """Parse the words, and run the command that they call; returns its exit code. Raises Invalid."""
    from queuectl.cli import plain_parser
    from queuectl.cli.ui import stdout

    parsed = plain_parser.parse(words)
    if parsed is None:
        from queuectl.cli import app

        parsed = app.parse(words)
    if "argv" in parsed.func.__annotations__:
        parsed = partial(parsed, argv=argv)
    gc.freeze()
    gc.enable()
    with stdout.deferred() if changes(parsed.func) else nullcontext():
        code = parsed()
    return code if isinstance(code, int) else 0


def _options_last(words: list[str]) -> list[str]:
    """Return the words with leading options moved behind the command, where cyclopts expects them."""
    leading: list[str] = []
    while words and words[0].partition("=")[0] in EVERYWHERE:
        width = 1 if "=" in words[0] else 2
        if len(words) < width:
            raise Invalid(f"{words[0]} needs a value")
        leading += words[:width]
        words = words[width:]
    if not leading or not words:
        return words
    end = _end_of_options(words)
    return words[:end] + leading + words[end:]


def _end(message: str, code: int) -> int:
    """Print an error message after the output so far, and return the exit code."""
    from queuectl.cli.ui import stdout

    stdout.flush_failure()  # a full disk or a closed pipe: the message and the exit code remain
    if message:
        stdout.message(message)
    return code


def _warn(message: Warning | str, *_: object) -> None:
    """Print a warning as one line on stderr."""
    from queuectl.cli.ui import stdout

    stdout.message(str(message))
