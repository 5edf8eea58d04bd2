"""The unit of systemd that runs the workers of one queue (R49)."""

import math
import re
from collections.abc import Mapping, Sequence

import msgspec

from queuectl import units
from queuectl.errors import Invalid
from queuectl.service import unit_syntax

DEFAULT_NAME = "queuectl"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
_MARK = "X-QueueCTL-Database"
"""The field that names the queue; systemd leaves alone what begins with X-."""
_NOT_IN_A_PROGRAM = frozenset("\"'\\")
"""Characters that systemd takes in no path of a program, however they are quoted."""
_SLACK = 300
"""Seconds beyond the stop timeout until KILL: for the grace of jobs, and the reports of how they ended."""

_SYSTEM_STOP = 600.0
"""The stop timeout of a unit of the system where none was asked for: a reboot waits for it."""


def check_name(text: str) -> str:
    """The name of a unit, without `.service`. Raises Invalid."""
    name = text.removesuffix(".service")
    if not _NAME.fullmatch(name):
        raise Invalid(f"{text!r} is not the name of a service: letters, digits, - and _, at most 100")
    return name


class ServiceUnit(msgspec.Struct, frozen=True, kw_only=True):
    """What the unit says."""

    name: str = DEFAULT_NAME
    """Its name, without `.service`."""
    database: str
    """The queue: the absolute path of its file, or its URL without a password."""
    is_file: bool
    """Whether it is a file."""
    program: Sequence[str]
    """The words that run `queuectl` in whatever folder."""
    options: Sequence[str] = ()
    """Those of `worker start`, and `--logs`."""
    user: str | None = None
    """The user as whom a unit of the system runs; None: a unit of the caller's own manager."""
    folder: str | None = None
    """The working directory, whose `.env` is read; None: the user's home."""
    environment: Mapping[str, str] = {}
    """Variables of the workers."""
    stop_timeout: float | None = None
    """Seconds that what runs may take to finish, or infinity; None: the default of its kind."""

    def text(self) -> str:
        """The whole file. Raises Invalid for what can't stand in one."""
        stop = self.stop_timeout
        if stop is None:
            stop = math.inf if self.user is None else _SYSTEM_STOP
        sections = {
            "Unit": [f"Description=QueueCTL workers of {unit_syntax.value(self.database)}", *self._conditions()],
            "Service": [*self._process(stop), *_ending(stop), *_LIFE],
            "Install": [f"WantedBy={'default' if self.user is None else 'multi-user'}.target"],
        }
        edit = f"systemctl{' --user' if self.user is None else ''} edit {self.name}"
        head = f"# Written by `queuectl service install`, which overwrites it. Your own changes: {edit}\n"
        return head + "".join(
            f"\n[{name}]\n" + "".join(f"{line}\n" for line in lines) for name, lines in sections.items()
        )

    def _conditions(self) -> list[str]:
        database = unit_syntax.value(self.database)
        if self.is_file:
            where = [f"RequiresMountsFor={unit_syntax.program(self.database)}"] if self.user is not None else []
            return [
                *where,
                "# Without it, no new queue is made in its place.",
                f"AssertPathExists={database}",
                f"{_MARK}={database}",
            ]
        network = ["Wants=network-online.target", "After=network-online.target"] if self.user is not None else []
        return [*network, f"{_MARK}={database}"]

    def _process(self, stop: float) -> list[str]:
        first, *others = self.program
        if _NOT_IN_A_PROGRAM & {*first}:
            first, *others = "/bin/sh", "-c", 'exec "$0" "$@"', first, *others
        limit = ("--stop-timeout", units.plain(stop)) if stop < math.inf else ()
        words = [*others, "--db", self.database, "worker", "start", *self.options, *limit]
        user = [f"User={self.user}"] if self.user is not None else []
        folder = f"-{unit_syntax.value(self.folder)}" if self.folder is not None else "~"
        return [
            "Type=notify",
            "ExecStart=" + " ".join([unit_syntax.program(first), *map(unit_syntax.word, words)]),
            *user,
            f"WorkingDirectory={folder}",
            *(f"Environment={unit_syntax.program(f'{name}={value}')}" for name, value in self.environment.items()),
            "SyslogIdentifier=queuectl",
            "# The tables may have to be rebuilt after an upgrade.",
            "TimeoutStartSec=infinity",
        ]


def _ending(stop: float) -> list[str]:
    if stop == math.inf:
        how = ["# To stop is to let what runs finish, however long it takes; `queuectl worker stop --now` ends it.",
               "TimeoutStopSec=infinity"]  # fmt: skip
    else:
        how = ["# What runs may finish for as long as --stop-timeout says, and is then ended in order.",
               f"TimeoutStopSec={units.plain(stop + _SLACK)}"]  # fmt: skip
    return [
        *how,
        "# Only the parent is told, and only the parent is killed: workers without one finish what they run, and stop.",
        "KillMode=process",
    ]


_LIFE = (
    "",
    "# 2: the command line is wrong, and would be again.",
    "Restart=on-failure",
    "RestartSec=10",
    "RestartPreventExitStatus=2",
    "WatchdogSec=180",
    "WatchdogSignal=SIGKILL",
    "",
    "# Control groups for jobs with --memory-limit; a job that the kernel kills for memory takes no other with it.",
    "Delegate=yes",
    "OOMPolicy=continue",
    "TasksMax=infinity",
)


def database_of(text: str) -> str | None:
    """The queue whose unit this is; None for a unit that was written in another way."""
    found = re.search(rf"^{_MARK}=(.*)$", text, re.MULTILINE)
    return found[1].replace("%%", "%") if found else None
