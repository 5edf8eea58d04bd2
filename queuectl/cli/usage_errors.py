"""Errors of cyclopts as one line that names the flag, the value and what is accepted."""

from collections.abc import Sequence

from cyclopts.exceptions import (
    CoercionError,
    CycloptsError,
    MissingArgumentError,
    RepeatArgumentError,
    UnknownCommandError,
    UnknownOptionError,
    UnusedCliTokensError,
)

from queuectl import units

_HINT = "put -- before a command of several words (queuectl {command} -- ls -l), or quote it ('ls -l')"

_COMMANDS = {
    "": {
        **dict.fromkeys(("ls", "ps", "jobs", "find", "search"), "list"),
        **dict.fromkeys(("show", "info", "describe", "details", "get", "job"), "inspect"),
        **dict.fromkeys(("kill", "rm", "remove", "delete", "del", "stop", "abort", "terminate"), "cancel"),
        **dict.fromkeys(("add", "submit", "push", "put", "create", "new", "queue", "dispatch"), "enqueue"),
        **dict.fromkeys(("log", "tail", "output", "out", "cat"), "logs"),
        **dict.fromkeys(("start", "daemon", "serve", "work", "up", "start-worker", "start-workers"),
                        "worker start"),
        **dict.fromkeys(("down", "shutdown", "stop-worker"), "stop-workers"),
        "workers": "worker list",
        **dict.fromkeys(("restart", "rerun", "requeue", "redo"), "retry"),
        **dict.fromkeys(("exec", "execute"), "run"),
        **dict.fromkeys(("history", "timeline"), "events"),
        **dict.fromkeys(("dead", "failed", "deadletter", "dead-letter"), "dlq list"),
        **dict.fromkeys(("settings", "configure", "get-config"), "config get"),
        **dict.fromkeys(("set", "set-config"), "config set"),
        **dict.fromkeys(("purge",), "dlq purge"),
        **dict.fromkeys(("restore", "load"), "import"),
        **dict.fromkeys(("dump",), "export"),
        **dict.fromkeys(("check", "health", "fsck"), "doctor"),
        **dict.fromkeys(("seal",), "audit seal"),
        **dict.fromkeys(("verify",), "audit verify"),
        **dict.fromkeys(("clean", "cleanup", "prune", "gc"), "archive"),
        **dict.fromkeys(("counts", "summary"), "status"),
        **dict.fromkeys(("metrics", "statistics"), "stats"),
        **dict.fromkeys(("change", "modify", "update", "alter"), "edit"),
        "version": "--version",
    },
    "worker": {
        **dict.fromkeys(("ls", "ps", "status"), "worker list"),
        **dict.fromkeys(("run", "add", "up", "work"), "worker start"),
        **dict.fromkeys(("kill", "rm", "remove", "down", "shutdown"), "worker stop"),
    },
    "dlq": {
        **dict.fromkeys(("ls", "show"), "dlq list"),
        **dict.fromkeys(("rm", "remove", "delete", "clear", "clean"), "dlq purge"),
        **dict.fromkeys(("requeue", "rerun", "restart"), "dlq retry"),
    },
    "config": {
        **dict.fromkeys(("ls", "list", "show"), "config get"),
        **dict.fromkeys(("rm", "remove", "delete", "reset"), "config unset"),
    },
    "audit": {"check": "audit verify"},
}  # fmt: skip
"""Command names of other queues and their equivalents here, by the command group."""

_OPTIONS = {
    **dict.fromkeys(("--daemon", "--daemonize", "--background", "--bg", "-d"), "--detach"),
    **dict.fromkeys(("--workers", "--processes", "-w"), "--count"),
    **dict.fromkeys(("--jobs", "--concurrency", "--parallel", "--threads", "-j", "-c"), "--slots"),
    **dict.fromkeys(("--retries", "--tries", "--attempts"), "--max-retries"),
    **dict.fromkeys(("--force", "--kill"), "--now"),
    **dict.fromkeys(("--burst", "--once", "--exit"), "--drain"),
    **dict.fromkeys(("--lines",), "--tail"),
    **dict.fromkeys(("--status",), "--state"),
    **dict.fromkeys(("--in", "--wait"), "--delay"),
    **dict.fromkeys(("--dir", "--workdir", "--chdir", "--directory"), "--cwd"),
    **dict.fromkeys(("--environment", "-e"), "--env"),
    **dict.fromkeys(("--name",), "--id"),
    **dict.fromkeys(("--out", "-o"), "--output"),
    **dict.fromkeys(("--watch",), "--follow"),
    **dict.fromkeys(("--last", "--max", "--head"), "--limit"),
    "-q": "--queue",
    "-p": "--priority",
}
"""Option names of other queues and their equivalents here, for commands that have those."""


def _equivalent(word: str, names: dict[str, str]) -> str:
    name = names.get(word.lower())
    return f" (did you mean {name!r}?)" if name else ""


def like_option(word: str, known: Sequence[str]) -> str:
    """Return ` (did you mean '--x'?)` for the known option that is meant by an unknown one, or nothing."""
    options = {foreign: ours for foreign, ours in _OPTIONS.items() if ours in known}
    return _equivalent(word, options) or units.nearest(word, [name for name in known if name.startswith("--")])


def explain(error: CycloptsError) -> str:
    """Return the message for an error of cyclopts."""
    chain = " ".join(error.command_chain or ())
    more = f"see queuectl {chain} --help" if chain else "see queuectl --help"
    if isinstance(error, UnknownCommandError):
        word = (error.unused_tokens or [""])[0]
        known = [name for name in (error.app or ()) if not name.startswith("-")]
        prefix = f"{chain} " if chain else ""
        close = _equivalent(word, _COMMANDS.get(chain, {})) or units.nearest(word, known)
        return f"there is no command {prefix + word!r}{close}; {more}"
    if isinstance(error, UnknownOptionError):
        word = error.token.keyword or error.token.value
        if not chain:
            return f"{word!r} is no command; options stand behind one; {more}"
        if chain in ("enqueue", "run") and not word.startswith("--"):
            return f"{chain} has no option {word}; {_HINT.format(command=chain)}"
        known = [name for argument in error.argument_collection if argument.parse for name in argument.names]
        close = like_option(word, known)
        hint = f"; {_HINT.format(command=chain)}" if chain in ("enqueue", "run") and not close else ""
        return f"{chain} has no option {word}{close}{hint or '; ' + more}"
    if isinstance(error, UnusedCliTokensError):
        word = (error.unused_tokens or [""])[0]
        return f"{chain}: {word!r} is one word too many; {more}" if chain else f"there is no command {word!r}; {more}"
    if isinstance(error, RepeatArgumentError):
        return f"{error.token.keyword or _name(error)} is given twice"
    if isinstance(error, MissingArgumentError):
        name = error.keyword or _name(error)
        return f"{name} needs a value" if name.startswith("-") else f"{chain} needs {_article(name)}; {more}"
    if isinstance(error, CoercionError):
        name = (error.token.keyword if error.token else None) or _name(error)
        if error.msg is not None:
            return f"{name}: {str(error.msg).removeprefix(name.lstrip('-').replace('-', '_') + ': ')}"
        choices = error.argument.get_choices(force=True) if error.argument else None
        if error.token and choices:
            value = error.token.value
            return f"{name}: {value!r} is not one of {', '.join(choices)}{units.nearest(value, choices)}"
        if error.token and name.startswith("-"):
            return f"{name}: takes no value {error.token.value!r}"
    return " ".join(str(error).split())


def _name(error: CycloptsError) -> str:
    return error.argument.name if error.argument else ""


def _article(name: str) -> str:
    return f"{'an' if name[:1] in 'AEIO' else 'a'} {name}"
