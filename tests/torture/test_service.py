"""`queuectl service` with systemd itself: through logout, crash, hang, power cut and reboot.

It runs in a machine of its own (tests/support/systemd_machine.py), so that no service of this one is touched.
"""

import json
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.systemd_machine import SystemdMachine, booted, until

SHORT = "[Service]\nRestartSec=100ms\nWatchdogSec=2\n"
"""A drop-in for tests: what takes minutes takes a second."""


@pytest.fixture(scope="module")
def machine() -> Iterator[SystemdMachine]:
    with booted() as machine:
        yield machine


class Account:
    """A user of the machine, with a queue at the default place and a service that serves it."""

    def __init__(self, machine: SystemdMachine, name: str) -> None:
        self.machine = machine
        self.name = name
        machine.add_user(name)
        machine.run("root", "loginctl", "enable-linger", name)
        until(lambda: self.run("systemctl", "--user", "is-system-running").stdout.strip() == "running", 60)

    def run(self, *words: str) -> Any:
        uid = self.machine.run("root", "id", "-u", self.name).stdout.strip()
        return self.machine.run(self.name, *words, XDG_RUNTIME_DIR=f"/run/user/{uid}")

    def queuectl(self, *words: str, code: int = 0, **env: str) -> str:
        """What it answers."""
        done = self.machine.queuectl(self.name, *words, **env)
        assert done.returncode == code, f"exit code {done.returncode}: {done.stderr or done.stdout}"
        return done.stdout or done.stderr

    def install(self, *words: str) -> None:
        self.queuectl("service", "install", *words)
        drop_in = ".config/systemd/user/queuectl.service.d"
        self.run("/bin/sh", "-c", f"mkdir -p {drop_in}; printf '{SHORT}' > {drop_in}/short.conf".replace("\n", "\\n"))
        self.run("systemctl", "--user", "daemon-reload")
        self.run("systemctl", "--user", "restart", "queuectl")

    def status(self) -> dict[str, Any]:
        return json.loads(self.machine.queuectl(self.name, "service", "status", "--json").stdout)

    def job(self, id: str) -> dict[str, Any]:
        return json.loads(self.queuectl("inspect", id, "--json"))

    def history(self, id: str) -> list[str]:
        return [json.loads(line)["type"] for line in self.queuectl("events", "--job", id, "--json").splitlines()]

    def runs(self, id: str, command: str) -> None:
        """Enqueue a job, and wait until it runs."""
        self.queuectl("enqueue", "--id", id, "--timeout", "none", f"touch began-{id}; {command}")
        until(lambda: self.run("test", "-e", f"began-{id}").returncode == 0, 60)


@pytest.fixture(scope="module")
def new_account(machine: SystemdMachine) -> Callable[[], Account]:
    numbers = iter(range(1000))
    return lambda: Account(machine, f"user{next(numbers)}")


@pytest.fixture
def account(new_account: Callable[[], Account]) -> Account:
    account = new_account()
    account.install("--slots", "2")
    return account


def test_who_does_not_linger_gets_no_service(machine: SystemdMachine):
    machine.add_user("fleeting")
    refused = machine.queuectl("fleeting", "service", "install")
    assert refused.returncode == 2
    assert "loginctl enable-linger fleeting" in refused.stderr or "systemd can't be reached" in refused.stderr
    assert machine.run("fleeting", "ls", "-A", ".config").returncode != 0


def test_a_service_begins_and_ends_in_order(account: Account):
    assert (account.status()["active"], account.status()["enabled"]) == ("active", True)
    account.runs("long", "sleep 3")
    began = time.monotonic()
    account.run("systemctl", "--user", "stop", "queuectl")
    assert time.monotonic() - began > 1, "it waited for the job"
    assert account.history("long") == ["enqueued", "claimed", "completed"]
    assert account.status()["result"] == "success"
    account.queuectl("service", "uninstall")
    assert "queuectl" not in account.run("systemctl", "--user", "list-unit-files").stdout
    assert "no service is installed" in account.queuectl("service", "status", code=1)
    account.queuectl("service", "uninstall")


@pytest.mark.parametrize("number", ["KILL", "STOP"])
def test_a_lost_parent_costs_no_job(account: Account, number: str):
    account.runs("long", "while ! test -e go; do sleep 0.1; done")
    before = account.status()
    account.run("kill", f"-{number}", str(before["pid"]))
    until(lambda: account.status()["restarts"] == 1 and account.status()["active"] == "active", 60)
    account.runs("next", "true")
    assert account.job("long")["state"] == "processing"
    account.run("touch", "go")
    until(lambda: account.job("long")["state"] == "completed", 60)
    assert account.history("long") == ["enqueued", "claimed", "completed"]
    assert account.job("long")["attempts"][0]["worker"] in before["workers"]
    assert not {*before["workers"]} & {*account.status()["workers"]}


@pytest.mark.parametrize("orderly", [True, False])
def test_a_service_survives_a_reboot(account: Account, orderly: bool):
    account.queuectl("config", "set", "backoff-base", "1")
    account.runs("long", "if test -e again; then exit 0; fi; touch again; sleep 600")
    account.machine.reboot(orderly=orderly)
    until(lambda: account.job("long")["state"] == "completed", 60)
    events = account.history("long")
    assert ("interrupted" if orderly else "failed") in events
    assert ("failed" if orderly else "interrupted") not in events
    assert account.status()["active"] == "active"


def test_an_installation_that_fails_leaves_nothing(new_account: Callable[[], Account]):
    account = new_account()
    told = account.queuectl("service", "install", code=1, QUEUECTL_LEASE="never")
    assert "queuectl.service did not start, and is not installed" in told
    assert account.run("find", ".config/systemd", "-type", "f").stdout == ""
    assert "queuectl" not in account.run("systemctl", "--user", "list-units", "--all").stdout


def test_a_missing_database_is_not_made_anew(account: Account):
    folder = ".local/state/queuectl"
    account.run("mv", f"{folder}/queue.db", f"{folder}/away")
    until(lambda: account.status()["active"] in ("failed", "inactive"), 90)
    assert account.run("ls", f"{folder}/queue.db").returncode != 0
    assert account.run("systemctl", "--user", "restart", "queuectl").returncode != 0
    assert account.status()["result"] == "assert"
    account.run("mv", f"{folder}/away", f"{folder}/queue.db")
    account.run("systemctl", "--user", "start", "queuectl")
    assert account.status()["active"] == "active"


@pytest.mark.parametrize("folder", ["100% $HOME ${HOME} %h", 'it\'s "so" \\ so', "ümlaut;"])
def test_any_path_is_served(new_account: Callable[[], Account], folder: str):
    account = new_account()
    database = f"{folder}/q.db"
    account.queuectl("--db", database, "enqueue", "--queue", "a%h", "true")
    account.queuectl("--db", database, "service", "install", "--queue", "a%h", "--name", "odd")
    account.queuectl("--db", database, "wait", "1")
    [found] = account.queuectl("--db", database, "service", "status", "--json").splitlines()
    assert json.loads(found)["database"] == f"/home/{account.name}/{database}"
    account.queuectl("--db", database, "service", "uninstall")


def test_a_service_of_the_system_ends_in_time(machine: SystemdMachine, new_account: Callable[[], Account]):
    account = new_account()
    database = f"/home/{account.name}/q.db"
    account.queuectl("--db", database, "config", "set", "timeout", "none")
    root = ("service", "install", "--system", "--stop-timeout", "1s", "--db", database)
    done = machine.queuectl("root", *root)
    assert done.returncode == 0, done.stderr
    assert f"is up as {account.name}" in done.stderr
    account.queuectl("--db", database, "enqueue", "--id", "long", "touch began; sleep 600")
    until(lambda: account.run("test", "-e", "began").returncode == 0, 60)
    assert account.run("stat", "--format=%U", "began").stdout.strip() == account.name
    began = time.monotonic()
    removed = machine.queuectl("root", "service", "uninstall", "--system", "--db", database)
    assert removed.returncode == 0, removed.stderr
    assert 1 <= time.monotonic() - began < 20
    events = account.queuectl("--db", database, "events", "--job", "long")
    assert "interrupted" in events
    assert machine.run("root", "ls", "/etc/systemd/system/queuectl.service").returncode != 0
