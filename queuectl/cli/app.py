"""The table of all commands: name, module and function (imported when called), and group in `--help`."""

from collections.abc import Callable

from cyclopts import App, Group, Parameter

from queuectl import __version__
from queuectl.cli.ui.help import HelpFormatter

JOBS = Group("Jobs", sort_key=1)
WORKERS = Group("Workers", sort_key=2)
DEAD = Group("Dead letter queue", sort_key=3)
HISTORY = Group("History", sort_key=4)
UPKEEP = Group("Settings and upkeep", sort_key=5)

RUNS_ARGV = ("enqueue", "run")
"""Commands that run the words after the first `--` as a program and its arguments."""

_COMMANDS = (
    ("enqueue", "enqueue:enqueue", JOBS),
    ("run", "run:run", JOBS),
    ("list", "list:list_jobs", JOBS),
    ("status", "status:status", JOBS),
    ("inspect", "inspect:inspect", JOBS),
    ("logs", "logs:logs", JOBS),
    ("wait", "wait:wait", JOBS),
    ("cancel", "cancel:cancel", JOBS),
    ("retry", "retry:retry", JOBS),
    ("worker", "worker:app", WORKERS),
    ("stop-workers", "stop_workers:stop_workers", WORKERS),
    ("recover", "recover:recover", WORKERS),
    ("recover-fail", "recover:recover", WORKERS),
    ("monitor", "monitor:monitor", WORKERS),
    ("dlq", "dlq:app", DEAD),
    ("events", "events:events", HISTORY),
    ("stats", "stats:stats", HISTORY),
    ("simulate", "simulate:simulate", HISTORY),
    ("export", "export:export", HISTORY),
    ("replay", "replay:replay", HISTORY),
    ("audit", "audit:app", HISTORY),
    ("config", "config:app", UPKEEP),
    ("archive", "archive:archive", UPKEEP),
    ("backup", "backup:backup", UPKEEP),
    ("import", "import_log:import_log", UPKEEP),
    ("doctor", "doctor:doctor", UPKEEP),
    ("selftest", "selftest:selftest", UPKEEP),
)

CHANGES = frozenset({
    "enqueue:enqueue", "cancel:cancel", "retry:retry", "worker:stop", "stop_workers:stop_workers", "recover:recover",
    "dlq:retry", "dlq:purge", "replay:replay", "audit:seal", "config:set_", "config:unset", "archive:archive",
    "backup:backup", "import_log:import_log",
})  # fmt: skip
"""Commands that change something: an answer that can't be written goes to stderr (`stdout.deferred`)."""


app = App(
    name="queuectl",
    help="""A background job queue in one SQLite file, whose truth is an append-only log of events.

$ queuectl enqueue 'gzip -k big.log'      add a job; prints its id
$ queuectl worker start --count 2         run jobs until Ctrl-C
$ queuectl status                         how many jobs are in which state
$ queuectl inspect 1 --events             what happened to job 1, event by event

`queuectl help COMMAND` (or COMMAND --help) explains a command. The database is --db, or QUEUECTL_DB, or
DB_PATH (also in .env), or queue.db in the folder for your state files; enqueue, run, worker start, import and
config set make it.""",
    version=__version__,
    version_flags=["--version", "-V"],
    help_format="plaintext",
    help_formatter=HelpFormatter(),
    default_parameter=Parameter(negative=(), show_env_var=False),
    group_parameters=Group("Options", sort_key=10),
    group_arguments=Group("Arguments", sort_key=5),
)
"""The cyclopts application."""

app["--help"].show = False
app["--version"].show = app["-V"].show = False
for _place, (_name, _path, _group) in enumerate(_COMMANDS):
    _usage = {"usage": f"queuectl {_name} [OPTIONS] COMMAND | -- PROGRAM [ARG]..."} if _name in RUNS_ARGV else {}
    _module = f"queuectl.cli.commands.{_path}"
    app.command(_module, name=_name, group=_group, sort_key=_place, show=_name != "recover-fail", **_usage)


def load_all() -> None:
    """Import every command: the list of commands shows the first line of each docstring."""
    for name, _, _ in _COMMANDS:
        app[name]


def help_words(words: list[str]) -> list[str]:
    """Return the words for the help page that `help` names; words that name no command are returned unchanged."""
    names, apps, rest = app.parse_commands(words)
    group = any(not name.startswith("-") for name in apps[-1])
    return list(words) if group and rest and not rest[0].startswith("-") else [*names, "--help"]


def changes(command: Callable[..., object]) -> bool:
    """Whether a command is one of `CHANGES`."""
    return f"{command.__module__.rpartition('.')[2]}:{command.__name__}" in CHANGES
