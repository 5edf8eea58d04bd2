"""The commands, a module each: under which name, and under which heading of `--help`, each function is called."""

from collections.abc import Callable
from importlib import import_module

HEADINGS = {
    "Jobs": {
        "enqueue": "enqueue:enqueue", "run": "run:run", "list": "list:list_jobs", "status": "status:status",
        "top": "top:top", "inspect": "inspect:inspect", "logs": "logs:logs", "wait": "wait:wait",
        "cancel": "cancel:cancel", "retry": "retry:retry", "edit": "edit:edit", "hold": "hold:hold",
        "release": "hold:release", "start": "hold:start", "suspend": "suspend:suspend",
        "continue": "suspend:continue_", "explain": "explain:explain", "graph": "graph:graph", "note": "note:note",
        "progress": "progress:progress",
    },
    "Queues": {
        "queue list": "queue:list_queues", "queue set": "queue:set_limits", "pause": "pause:pause",
        "resume": "pause:resume", "resource list": "resource:list_resources",
        "resource set": "resource:set_resource", "resource unset": "resource:unset_resource",
        "batch list": "batch:list_batches",
    },
    "Schedules": {
        "schedule add": "schedule:add", "schedule list": "schedule:list_schedules", "schedule next": "schedule:next_",
        "schedule run": "schedule:run", "schedule backfill": "schedule:backfill", "schedule edit": "schedule:edit",
        "schedule pause": "schedule:pause", "schedule resume": "schedule:resume",
        "schedule remove": "schedule:remove",
    },
    "Workers": {
        "worker start": "worker:start", "worker list": "worker:list_workers", "worker stop": "worker:stop",
        "stop-workers": "stop_workers:stop_workers", "recover": "recover:recover", "recover-fail": "recover:recover",
        "monitor": "monitor:monitor", "service install": "service:install", "service status": "service:status",
        "service uninstall": "service:uninstall", "outbox schema": "outbox:print_schema",
    },
    "Dead letter queue": {"dlq list": "dlq:list_dead", "dlq retry": "dlq:retry", "dlq purge": "dlq:purge"},
    "History": {
        "events": "events:events", "stats": "stats:stats", "simulate": "simulate:simulate", "export": "export:export",
        "replay": "replay:replay", "audit seal": "audit:seal", "audit verify": "audit:verify",
    },
    "Settings and upkeep": {
        "config get": "config:get", "config set": "config:set_", "config unset": "config:unset",
        "archive": "archive:archive", "backup": "backup:backup", "import": "import_log:import_log",
        "doctor": "doctor:doctor", "selftest": "selftest:selftest",
        "completion": "completion:print_completion",
    },
}  # fmt: skip
"""Module and function of each command by its name, in the order of `--help`."""

COMMANDS = {name: path for commands in HEADINGS.values() for name, path in commands.items()}

ALIAS = "recover-fail"
"""Another name of `recover`, which works and is not shown."""

EVERYWHERE = ("--db", "--logs")
"""Options that may also precede the command."""

RUNS_ARGV = frozenset({"enqueue", "run", "schedule add", "schedule edit"})
"""Commands that run the words after the first `--` as a program and its arguments."""

CHANGES = frozenset({
    "enqueue:enqueue", "cancel:cancel", "retry:retry", "worker:stop", "stop_workers:stop_workers", "recover:recover",
    "dlq:retry", "dlq:purge", "replay:replay", "audit:seal", "config:set_", "config:unset", "archive:archive",
    "backup:backup", "import_log:import_log", "hold:hold", "hold:release", "hold:start", "pause:pause", "pause:resume",
    "queue:set_limits", "suspend:suspend", "suspend:continue_", "resource:set_resource", "resource:unset_resource",
    "edit:edit", "note:note",
    "schedule:add", "schedule:run", "schedule:backfill", "schedule:edit", "schedule:pause",
    "schedule:resume", "schedule:remove", "service:install", "service:uninstall",
})  # fmt: skip
"""Commands that change something: an answer that can't be written goes to stderr (`stdout.deferred`)."""


def load(name: str) -> Callable[..., object]:
    """Import the function of a command."""
    module, _, function = COMMANDS[name].partition(":")
    return getattr(import_module(f"{__name__}.{module}"), function)


def changes(command: Callable[..., object]) -> bool:
    """Whether a command is one of `CHANGES`."""
    return f"{command.__module__.rpartition('.')[2]}:{command.__name__}" in CHANGES
