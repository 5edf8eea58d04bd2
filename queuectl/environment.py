"""What a job is given of its enqueuer's environment (`keep-env`), and which names look as if their values were secret.

It stands in the log, once for each environment however many jobs have it, so nothing secret may be in it.
"""

import os
import re
from collections.abc import Iterable, Mapping

from queuectl.errors import Invalid
from queuectl.events import EnvironmentKept, encode
from queuectl.host import procfs

ALL = "all"

DEFAULT = (
    "PATH", "VIRTUAL_ENV", "PYTHONPATH", "LD_LIBRARY_PATH", "CONDA_PREFIX", "CONDA_DEFAULT_ENV", "CUDA_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES", "OMP_NUM_THREADS", "LANG", "LC_*", "TZ",
)  # fmt: skip
"""What `keep-env` keeps unless told otherwise: what decides which programs run, and how."""

SESSION = (
    "SSH_*", "GPG_*", "DISPLAY", "WAYLAND_*", "XAUTHORITY", "XDG_SESSION_*", "XDG_RUNTIME_DIR", "XDG_SEAT*", "XDG_VTNR",
    "DBUS_*", "DESKTOP_*", "SESSION_MANAGER", "WINDOWID", "TERM", "TERM_*", "TERMCAP", "COLORTERM", "COLUMNS", "LINES",
    "TMUX*", "STY", "WINDOW", "ZELLIJ*", "KITTY_*", "ALACRITTY_*", "WEZTERM_*", "ITERM_*", "KONSOLE_*", "VTE_*",
    "GNOME_TERMINAL_*", "VSCODE_*", "SUDO_*", "INVOCATION_ID", "JOURNAL_STREAM", "NOTIFY_SOCKET", "LISTEN_*", "MAINPID",
    "WATCHDOG_*", "MANAGERPID", "SYSTEMD_EXEC_PID", "QUEUECTL_*", "PS1", "PROMPT_COMMAND", "SHLVL", "PWD", "OLDPWD",
    "_",
)  # fmt: skip
"""What `keep-env all` leaves out: it belongs to a login, a terminal or a folder that is gone when the job runs."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*|[A-Za-z0-9_]*\*[A-Za-z0-9_]*", re.ASCII)
_SECRET = ("TOKEN", "SECRET", "PASSW", "PASSPHRASE", "CREDENTIAL")
_SECRET_ENDS = ("KEY", "_PASS", "_PWD")


def parse(text: str) -> tuple[str, ...]:
    """The value of `keep-env`: names, patterns with one `*`, or `all`, which stands alone. Raises Invalid."""
    words = tuple(dict.fromkeys(word for word in re.split(r"[,\s]+", text) if word and word.lower() != "none"))
    for word in words:
        if word.lower() == ALL:
            if len(words) > 1:
                raise Invalid(f"{ALL!r} is every variable: it stands alone, without {', '.join(set(words) - {word})}")
            return (ALL,)
        if word == "*":
            raise Invalid(f"'*' is no name: write {ALL!r} to keep every variable")
        if not _NAME.fullmatch(word):
            raise Invalid(f"{word!r} is not the name of a variable (letters, digits and _), nor a pattern (one *)")
    return words


def looks_secret(name: str) -> bool:
    """Whether a variable of this name likely holds a secret value."""
    upper = name.upper().replace("TOKENIZ", "")
    return upper.endswith(_SECRET_ENDS) or any(word in upper for word in _SECRET)


def select(
    chosen: Iterable[str], environ: Mapping[str, str] | None = None, umask: int | None = None
) -> EnvironmentKept | None:
    """What a job is given of this process's environment, by the names and patterns of `keep-env`, and the umask.

    None where nothing was chosen: the job has the worker's environment, and its umask. A name that looks secret is kept
    only where it is named itself. Raises Invalid for a variable that is named and can't stand in the log; by a pattern
    or `all` it is left out.
    """
    environ = _callers() if environ is None else environ
    chosen = tuple(chosen)
    if not chosen:
        return None
    umask = procfs.umask() if umask is None else umask
    whole = chosen == (ALL,)
    found: dict[str, str] = {}
    for pattern in ("*",) if whole else chosen:
        if "*" not in pattern:
            if (value := environ.get(pattern)) is not None:
                if not _storable(value):
                    raise Invalid(f"the variable {pattern} is not valid UTF-8: unset it, or take it out of keep-env")
                found[pattern] = value
            continue
        for name in environ:
            if _matches(name, pattern) and not looks_secret(name) and _storable(name) and _storable(environ[name]):
                found[name] = environ[name]
    if whole:
        found = {name: value for name, value in found.items() if not any(_matches(name, each) for each in SESSION)}
    return EnvironmentKept(variables=dict(sorted(found.items())), whole=whole, umask=f"{umask:04o}")


class EnvironmentReader:
    """`select` and `digest` for repeated use: an unchanged environment costs a comparison, not a look at each name."""

    def __init__(self) -> None:
        self._asked: tuple[tuple[str, ...], Mapping[bytes, bytes], int] | None = None
        self._answer: tuple[str, EnvironmentKept] | None = None

    def read(self, chosen: tuple[str, ...]) -> tuple[str, EnvironmentKept] | None:
        """What is kept, with the hash that names it; None where nothing was chosen. Raises as `select` does."""
        if not chosen:
            return None
        umask = procfs.umask()
        asked = (chosen, snapshot(), umask)
        if asked != self._asked:
            kept = select(chosen, umask=umask)
            self._answer = (digest(kept), kept) if kept is not None else None
            self._asked = asked
        return self._answer


_latest: Mapping[bytes, bytes] = {}


def snapshot() -> Mapping[bytes, bytes]:
    """The environment as it is now, to be compared with a later one: the same object as long as it does not change."""
    global _latest
    # Each name that is asked of os.environ is encoded and decoded, together a tenth of an enqueue. What is behind it is
    # a plain dictionary.
    behind: Mapping[bytes, bytes] | None = getattr(os.environ, "_data", None)
    if (now := os.environb if behind is None else behind) != _latest:
        _latest = dict(now)
    return _latest


def digest(kept: EnvironmentKept) -> str:
    """The name of an environment: a hash of all that is in it, so that the same one is in the log once."""
    try:
        from _blake2 import blake2b  # hashlib loads OpenSSL, which costs an enqueue more than all else here
    except ImportError:
        from hashlib import blake2b
    return blake2b(encode(kept), digest_size=16).hexdigest()


def _matches(name: str, pattern: str) -> bool:
    before, star, after = pattern.partition("*")
    if not star:
        return name == pattern
    return name.startswith(before) and name.endswith(after) and len(name) >= len(before) + len(after)


def _callers() -> Mapping[str, str]:
    """The environment as it was given to this process: in a C locale, Python itself adds an LC_CTYPE (PEP 538)."""
    if os.environ.get("LC_CTYPE") not in ("C.UTF-8", "C.utf8", "UTF-8"):
        return os.environ
    original = procfs.environment(os.getpid())
    if not original or b"\0LC_CTYPE=" in original:
        return os.environ
    return {name: value for name, value in os.environ.items() if name != "LC_CTYPE"}


def _storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
