"""The application of cyclopts: parses command lines, explains their errors, and prints help and version."""

import textwrap
from collections.abc import Sequence
from functools import partial

from cyclopts import App, Group, Parameter
from cyclopts.exceptions import CycloptsError

from queuectl import __version__, versions
from queuectl.cli.commands import ALIAS, HEADINGS, RUNS_ARGV
from queuectl.cli.ui.help import HelpFormatter
from queuectl.errors import Invalid

NUL = "\0"
"""In the place of a space at which no line is to end."""


def _version() -> str:
    """What `--version` prints: the program's own version, then those of what it writes."""
    tables = ", ".join(f"{name}{NUL}{version}" for name, version in versions.tables().items())
    return (
        f"queuectl {__version__} (schema {versions.SQLITE}, in PostgreSQL {versions.POSTGRES})\n"
        f"{textwrap.fill(f'tables: {tables}', 78, subsequent_indent='  ').replace(NUL, ' ')}\n"
        f"databases are read by queuectl {versions.OLDEST_READER} and newer"
    )


app = App(
    name="queuectl",
    help="""A background job queue in one SQLite file, whose truth is an append-only log of events.

$ queuectl enqueue 'gzip -k big.log'      add a job; prints its id
$ queuectl worker start --count 2         run jobs until Ctrl-C
$ queuectl status                         how many jobs are in which state
$ queuectl inspect 1 --events             what happened to job 1, event by event

`queuectl help COMMAND` (or COMMAND --help) explains a command. The database is --db, or QUEUECTL_DB, or
DB_PATH (also in .env), or queue.db in the folder for your state files; enqueue, run, worker start, import,
config set, pause, queue set, resource set, schedule add and service install make it.""",
    version=_version,
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

_GROUPS = {
    "worker": """Start, list and stop the processes that run jobs.

$ queuectl worker start --count 2
$ queuectl worker list
$ queuectl worker stop""",
    "service": """Have systemd start workers at boot, and keep them up.

$ queuectl service install --slots 4
$ queuectl service status
$ queuectl service uninstall""",
    "outbox": """Enqueue jobs within the transactions of an application that has a database of its own.

$ queuectl outbox schema | sqlite3 app.db
$ queuectl worker start --outbox app.db""",
    "dlq": """Look after jobs that have failed too often.

$ queuectl dlq list
$ queuectl dlq retry job1
$ queuectl dlq retry --all --queue mail""",
    "queue": """Look at the queues, and limit what runs in each.

$ queuectl queue list
$ queuectl queue set encode --concurrency 2""",
    "resource": """Say how much there is of what jobs need, and look at who has it.

$ queuectl resource set gpu --indices 0-3
$ queuectl enqueue --resource gpu=2 ./train.sh
$ queuectl resource list""",
    "batch": """Look at what was enqueued together.

$ queuectl enqueue --file encodes.txt --batch night --halt soon,fail=3
$ queuectl batch list
$ queuectl wait --batch night
$ queuectl retry --batch night""",
    "schedule": """Enqueue jobs again and again, by a cron expression or at intervals.

$ queuectl schedule add nightly '30 2 * * *' ./backup.sh
$ queuectl schedule list
$ queuectl schedule next nightly""",
    "audit": """Prove that the log was not tampered with.

$ queuectl audit seal
$ queuectl audit verify""",
    "config": """Look at the settings and change them; a change touches later jobs only.

$ queuectl config get
$ queuectl config set max-retries 5""",
}
"""The help of the commands that have commands."""


def _add(name: str, group: Group, place: int) -> None:
    """Add a command, to be imported when it is called."""
    path, (first, _, inner) = f"queuectl.cli.for_cyclopts:{name}", name.partition(" ")
    if not inner:
        usage = {"usage": f"queuectl {name} [OPTIONS] COMMAND | -- PROGRAM [ARG]..."} if name in RUNS_ARGV else {}
        app.command(path, name=name, group=group, sort_key=place, show=name != ALIAS, **usage)
        return
    if first not in app:
        app.command(App(name=first, help=_GROUPS[first], group=group, sort_key=place))
    app[first].command(path, name=inner)


for _sort_key, (_heading, _commands) in enumerate(HEADINGS.items(), 1):
    _group = Group(_heading, sort_key=_sort_key)
    for _place, _name in enumerate(_commands):
        _add(_name, _group, _place)


def parse(words: Sequence[str]) -> partial[object]:
    """Return the call that the words of a command line make. Raises Invalid."""
    try:
        if words[:1] == ["help"]:
            words = _help_words([word for word in words[1:] if word != "help"])
        if not words or words[0] in ("-h", "--help"):
            load_all()
        command, bound, _ = app.parse_args(words, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        from queuectl.cli.usage_errors import explain

        raise Invalid(explain(error)) from None
    return partial(command, *bound.args, **bound.kwargs)


def load_all() -> None:
    """Import every command: the list of commands shows the first line of each docstring."""
    for name in app:
        app[name]


def _help_words(words: list[str]) -> list[str]:
    """Return the words for the help page that `help` names; words that name no command are returned unchanged."""
    names, apps, rest = app.parse_commands(words)
    group = any(not name.startswith("-") for name in apps[-1])
    return list(words) if group and rest and not rest[0].startswith("-") else [*names, "--help"]
