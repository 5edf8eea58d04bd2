"""The service manager: systemd for the whole machine, or that of one user, asked by `systemctl` and `loginctl`."""

import os
import shutil
import subprocess
from collections.abc import Iterator

from queuectl.errors import Invalid, QueueError
from queuectl.host import user
from queuectl.service import unit

_SYSTEM_FOLDER = "/etc/systemd/system"
_UP = frozenset({"initializing", "starting", "running", "degraded", "maintenance", "stopping"})
"""What `systemctl is-system-running` says where it could ask."""


class NoManager(Invalid):
    """No systemd runs here."""


class ServiceManager:
    """One of the two managers, and the folder of its units."""

    def __init__(self, *, system: bool) -> None:
        self.is_system = system
        config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
        self.folder = _SYSTEM_FOLDER if system else f"{os.path.abspath(config)}/systemd/user"
        self.command = "systemctl" if system else "systemctl --user"

    def path(self, name: str) -> str:
        """The file of a unit of ours."""
        return f"{self.folder}/{name}.service"

    def installed(self) -> Iterator[tuple[str, str]]:
        """The name of each of our units, and the queue that it serves. Raises OSError."""
        try:
            files = sorted(os.listdir(self.folder))
        except FileNotFoundError:
            return
        for file in files:
            if file.endswith(".service") and (text := self.read(file.removesuffix(".service"))) is not None:
                database = unit.database_of(text)
                if database is not None:
                    yield file.removesuffix(".service"), database

    def read(self, name: str) -> str | None:
        """The text of a unit; None where there is none. Raises OSError."""
        try:
            with open(self.path(name), encoding="utf-8", errors="replace") as file:
                return file.read()
        except FileNotFoundError:
            return None

    def require(self, *, change: bool = True) -> None:
        """Raise Invalid unless the manager answers, and with `change` the caller may change its units.

        Raises NoManager, which is Invalid too, where no systemd runs.
        """
        if shutil.which("systemctl") is None:
            raise NoManager("systemd does not run here")
        if change and self.is_system and os.geteuid() != 0:
            raise Invalid("--system writes to /etc/systemd/system, which only root may: call it by sudo")
        asked = self._systemctl("is-system-running")
        state = asked.stdout.strip()
        if state in _UP:
            return
        if state == "offline" or self.is_system:
            raise NoManager("systemd does not run here")
        why = asked.stderr.strip().partition("\n")[0] or state
        raise Invalid(
            f"your own systemd can't be reached ({why}): log in as {user.name()} by ssh or at a console, not by su or"
            " sudo, or take --system"
        )

    def lingers(self) -> bool:
        """Whether the user's services run without a login. Raises Invalid where that can't be asked."""
        try:
            asked = self._run("loginctl", "show-user", user.name(), "--property=Linger", "--value")
        except FileNotFoundError:
            raise Invalid(
                "loginctl, which knows whether services outlive a logout, is not here: take --system"
            ) from None
        return asked.stdout.strip() == "yes"  # of a user who neither lingers nor is logged in, it knows nothing

    def call(self, *words: str) -> str:
        """What `systemctl` answers. Raises QueueError with what it says where it fails."""
        done = self._systemctl(*words)
        if done.returncode:
            told = done.stderr.strip().partition("\n")[0] or f"exit code {done.returncode}"
            raise QueueError(f"{self.command} {' '.join(words)}: {told}")
        return done.stdout

    def properties(self, name: str, *wanted: str) -> dict[str, str]:
        """Properties of a unit, by their names."""
        answer = self.call("show", f"{name}.service", f"--property={','.join(wanted)}")
        return dict(line.split("=", 1) for line in answer.splitlines() if "=" in line)

    def journal(self, name: str, lines: int) -> list[str]:
        """The last lines that the service wrote; none where its journal can't be read."""
        own = () if self.is_system else ("--user",)
        try:
            done = self._run(
                "journalctl",
                *own,
                f"--unit={name}.service",
                f"--lines={lines}",
                "--output=cat",
                "--no-pager",
                "--quiet",
            )
        except FileNotFoundError:
            return []
        return done.stdout.splitlines() if done.returncode == 0 else []

    def _systemctl(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return self._run(*self.command.split(), *words)

    def _run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        # LC_ALL: what is asked for is read by us. Without XDG_RUNTIME_DIR (su, cron) the user's manager is not found.
        runtime = {"XDG_RUNTIME_DIR": f"/run/user/{os.getuid()}"} if "XDG_RUNTIME_DIR" not in os.environ else {}
        return subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False,
            env={**os.environ, **runtime, "LC_ALL": "C", "SYSTEMD_COLORS": "0"},
        )  # fmt: skip
