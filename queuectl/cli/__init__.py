"""The command line. `main` is the console script: it reads the words, calls one command and returns its exit code.

Each command stands in a module of its own, which is imported when the command is called (the table is in `app.py`);
what every command shares is here: where `--` and `--db` are looked for, and how an error ends.
"""

import gc
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from contextlib import nullcontext

from queuectl.errors import Invalid, Notice, QueueError

_EVERYWHERE = ("--db", "--logs")
"""Options that may stand before the command too."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command (`argv` without the program's name) and return the exit code. Never raises, never a traceback.

    With QUEUECTL_DEBUG=1 an error of the program itself is raised as it is.
    """
    try:
        return _main(list(sys.argv[1:] if argv is None else argv))
    except KeyboardInterrupt:
        return 130


def _main(words: list[str]) -> int:
    gc.disable()  # what is imported lives until the exit: looking for garbage in it costs more than the command itself
    from cyclopts.exceptions import CycloptsError

    from queuectl.cli.ui import output, stdout

    output.set_up_streams()
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
    except CycloptsError as error:
        from queuectl.cli.usage_errors import explain

        return _end(explain(error), Invalid.exit_code)
    except KeyboardInterrupt as stop:
        return _end("", 128 + getattr(stop, "number", signal.SIGINT))
    except BrokenPipeError:  # `queuectl events | head -1`: whoever read has seen enough
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
    from queuectl.cli.app import RUNS_ARGV, app, changes, load_all, page
    from queuectl.cli.ui import stdout

    for word in words:
        if not word.isascii():
            try:
                word.encode()
            except UnicodeEncodeError:
                raise Invalid(f"{os.fsencode(word)!r} is not valid UTF-8") from None
    words = _behind(words)
    if words[:1] == ["help"]:
        words = page([word for word in words[1:] if word != "help"])
    argv: tuple[str, ...] | None = None
    if words and words[0] in RUNS_ARGV and "--" in words:
        # cyclopts swallows the first `--` wherever it stands, also one that is an argument of the program
        cut = words.index("--")
        words, argv = words[:cut], tuple(words[cut + 1 :])
    if not words or words[0] in ("-h", "--help"):
        load_all()
    command, bound, unparsed = app.parse_args(words, exit_on_error=False, print_error=False)
    if "argv" in unparsed:
        bound.arguments["argv"] = argv
    gc.freeze()
    gc.enable()
    with stdout.deferred() if changes(command) else nullcontext():
        code = command(*bound.args, **bound.kwargs)
    return code if isinstance(code, int) else 0


def _behind(words: list[str]) -> list[str]:
    """The same words with the options that may stand before the command put behind it, where cyclopts wants them."""
    early: list[str] = []
    while words and words[0].partition("=")[0] in _EVERYWHERE:
        width = 1 if "=" in words[0] else 2
        if len(words) < width:
            raise Invalid(f"{words[0]} needs a value")
        early += words[:width]
        words = words[width:]
    if not early or not words:
        return words
    end = words.index("--") if "--" in words else len(words)
    return words[:end] + early + words[end:]


def _end(message: str, code: int) -> int:
    """Say why, in one line, behind whatever the command has already answered."""
    from queuectl.cli.ui import stdout

    stdout.flush_failure()  # a full disk, or nobody there to read: the message and the exit code still tell
    if message:
        stdout.tell(message)
    return code


def _warn(message: Warning | str, *_: object) -> None:
    """One line beside the answer for what is passed over."""
    from queuectl.cli.ui import stdout

    stdout.tell(str(message))
