"""The unit for a queue: which program, user, folder and variables the service is to have, from those of the caller."""

import os
import pwd
import shlex
import sys
from collections.abc import Sequence

from queuectl import dotenv, engines
from queuectl.errors import Absent, Invalid, QueueError, shown
from queuectl.host import user as host_user
from queuectl.service.unit import ServiceUnit
from queuectl.settings import SETTINGS
from queuectl.workers.start_options import WORKER_SETTINGS

_SETTINGS = [name for key in WORKER_SETTINGS if (name := SETTINGS[key.replace("_", "-")].variable) is not None]
"""Variables that workers read: where the caller has them, so has the service."""
_SECRET = frozenset({"PGPASSWORD"})
_OF_HOME = "XDG_STATE_HOME"
"""Decides where the files of a queue in PostgreSQL are."""


def plan(
    database: str, options: Sequence[str], *, name: str, system: bool, user: str | None, stop_timeout: float | None
) -> ServiceUnit:
    """The unit for the queue in `database`, a path or URL; `options` are those of `worker start`, and `--logs`.

    `user`: as whom a unit of the system runs; None: the owner of the database file, or who called sudo. Nothing is
    opened. Raises Invalid for a URL with a password in it, and for a user who does not exist.
    """
    if engines.has_password(database):
        raise Invalid(
            "every user can read the unit: give the URL without its password, and put that into the ~/.pgpass of"
            " the user who runs the workers"
        )
    if user is not None and not system:
        raise Invalid("--user is for a unit of the system: give --system as well")
    url = engines.resolve(database)
    files = engines.files(url)
    who = _user(files, user) if system else None
    mine = who in (None, host_user.name())
    return ServiceUnit(
        name=name,
        database=url,
        is_file=bool(files),
        program=program(),
        options=options,
        user=who,
        folder=_folder() if mine else None,
        environment=_environment(not files) if mine else {},
        stop_timeout=stop_timeout,
    )


def program() -> list[str]:
    """The words that run this installation of `queuectl` in whatever folder: the script that was called, or Python."""
    called = os.path.abspath(sys.argv[0])
    if os.path.basename(called) == "queuectl" and os.access(called, os.X_OK):
        return [called]
    return [sys.executable, "-P", "-m", "queuectl"]


def crontab_line(wanted: ServiceUnit) -> str:
    """The line of a crontab that starts the same workers at boot. There `%` would end the line."""
    words = [*wanted.program, "--db", wanted.database, "worker", "start", *wanted.options, "--detach"]
    return "@reboot " + shlex.join(words).replace("%", "\\%")


def require_database(wanted: ServiceUnit) -> None:
    """Raise Absent where a unit of the system would serve a file that is not there: its owner is to make it."""
    if wanted.is_file and not os.path.exists(wanted.database):
        raise Absent(
            f"{shown(wanted.database)}: there is no database: make it first as the user who is to run the jobs, as in"
            f" sudo -u {wanted.user} queuectl --db {shlex.quote(wanted.database)} config set timeout none"
        )


def _user(files: Sequence[str], name: str | None) -> str:
    if name is not None:
        try:
            return pwd.getpwnam(name).pw_name
        except KeyError:
            raise Invalid(f"--user: there is no user {name!r} here") from None
    if files and os.path.exists(files[0]):
        uid = os.stat(files[0]).st_uid
        try:
            return pwd.getpwuid(uid).pw_name
        except KeyError:
            raise Invalid(f"{shown(files[0])} belongs to user {uid}, who has no name: give --user") from None
    return os.environ.get("SUDO_USER") or host_user.name()


def _folder() -> str | None:
    """The working directory, where its `.env` has settings that workers read."""
    env_file = dotenv.read()
    for name in _SETTINGS:
        try:
            if env_file.get(name) is not None:
                return os.getcwd()
        except QueueError:  # workers pass it over, or refuse it, where they read it
            return os.getcwd()
    return None


def _environment(server: bool) -> dict[str, str]:
    """The caller's variables that the workers need; `server`: those of libpq too."""
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if name in _SETTINGS or (server and (name == _OF_HOME or (name.startswith("PG") and name not in _SECRET)))
    }
