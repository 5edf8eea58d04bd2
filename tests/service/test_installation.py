"""`service install`, `status` and `uninstall` up to the border of the process: what systemd is asked, and answers.

The manager here is a stand-in that keeps a record, so that each of its failures can be had on every machine.
"""

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from tests.support.other_user import as_root
from tests.support.shell import Shell

STAND_IN = r"""#!/bin/sh
# Answers as systemctl, loginctl and journalctl do, from files beside it, and writes down what it is asked.
here=$(dirname "$0")
[ "$1" = --user ] && shift
echo "${0##*/} $*" >> "$here/asked"
if [ -e "$here/fails-$1" ]; then cat "$here/fails-$1" >&2; exit 1; fi
case "${0##*/} $1" in
"systemctl is-system-running") cat "$here/running"; [ "$(cat "$here/running")" = running ] ;;
"systemctl show") echo "ActiveState=$(cat "$here/active")"; echo SubState=running; echo UnitFileState=enabled
    [ "$(cat "$here/active")" != failed ] || echo Result=exit-code
    [ "$(cat "$here/active")" = failed ] || echo Result=success ;;
"systemctl start") echo active > "$here/active" ;;
"systemctl stop" | "systemctl disable") echo inactive > "$here/active" ;;
"loginctl show-user") cat "$here/lingers" ;;
"journalctl "*) cat "$here/journal" ;;
esac
"""


class Manager:
    """The stand-in, and what it answers."""

    def __init__(self, queuectl: Shell) -> None:
        self.queuectl = queuectl
        self.folder = queuectl.folder / "manager"
        self.folder.mkdir()
        for name in ("systemctl", "loginctl", "journalctl"):
            (self.folder / name).write_text(STAND_IN)
            (self.folder / name).chmod(0o755)
        self.answers(running="running", active="inactive", lingers="yes", journal="")
        queuectl.env["PATH"] = f"{self.folder}:{os.environ['PATH']}"
        queuectl.env["XDG_CONFIG_HOME"] = str(queuectl.folder / "config")

    def answers(self, **texts: str) -> None:
        for name, text in texts.items():
            (self.folder / name.replace("_", "-")).write_text(f"{text}\n")

    def asked(self) -> list[str]:
        """What it was asked to change."""
        path = self.folder / "asked"
        lines = path.read_text().splitlines() if path.exists() else []
        path.unlink(missing_ok=True)
        reading = ("systemctl is-system-running", "systemctl show", "loginctl", "journalctl")
        return [line.removeprefix("systemctl ") for line in lines if not line.startswith(reading)]

    def unit(self, name: str = "queuectl") -> Path:
        return self.queuectl.folder / "config" / "systemd" / "user" / f"{name}.service"


@pytest.fixture
def manager(queuectl: Shell) -> Manager:
    return Manager(queuectl)


def nothing_done(manager: Manager) -> bool:
    folder = manager.queuectl.folder
    return {path.name for path in folder.iterdir()} == {"manager"} and manager.asked() == []


def test_an_installation_starts_the_service(queuectl: Shell, manager: Manager):
    done = queuectl("service", "install", "--slots", "4").ok()
    assert done.lines == [str(manager.unit())]
    assert "queuectl.service is up, and starts at each boot" in done.err
    assert manager.asked() == ["daemon-reload", "enable queuectl.service", "start queuectl.service"]
    assert f"--db {queuectl.folder}/q.db worker start --slots 4\n" in manager.unit().read_text()
    assert stat.S_IMODE(manager.unit().stat().st_mode) == 0o644
    assert (queuectl.folder / "q.db").exists()


def test_the_printed_unit_is_the_installed_one(queuectl: Shell, manager: Manager):
    words = (
        "service", "install", "--slots", "2", "--queue", "a", "--queue", "b", "--resource", "gpu=0-1", "--count", "3",
        "--max-load", "4", "--min-free-memory", "1M", "--stop-timeout", "2h", "--logs", "logs",
    )  # fmt: skip
    printed = queuectl(*words, "--print").ok()
    assert nothing_done(manager)
    queuectl(*words).ok()
    assert manager.unit().read_text() == printed.out
    assert printed.err == ""
    assert (
        "worker start --count 3 --slots 2 --queue a --queue b --resource gpu=0-1 --max-load 4"
        f" --min-free-memory 1048576 --logs {queuectl.folder}/logs --stop-timeout 7200\n"
    ) in printed.out


def test_without_systemd_the_crontab_line_is_told(queuectl: Shell, manager: Manager):
    manager.answers(running="offline")
    told = queuectl("service", "install", "--slots", "4", "--db", "50%/q.db").refused(2)
    assert "systemd does not run here; this line in the crontab" in told
    assert told.endswith(f"--db {queuectl.folder}/50\\%/q.db worker start --slots 4 --detach")
    assert "@reboot " in told
    assert nothing_done(manager)
    queuectl.env["PATH"] = str(queuectl.folder)
    assert "systemd does not run here" in queuectl("service", "install").refused(2)


def test_who_does_not_linger_is_told_how(queuectl: Shell, manager: Manager):
    for answer in ("no", ""):
        manager.answers(lingers=answer)
        told = queuectl("service", "install").refused(2)
        assert "would end at your logout, and not start at boot: first call `loginctl enable-linger " in told
        assert nothing_done(manager)


def test_a_manager_out_of_reach_is_told(queuectl: Shell, manager: Manager):
    manager.answers(fails_is_system_running="Failed to connect to bus: No medium found")
    told = queuectl("service", "install").refused(2)
    assert told.startswith("your own systemd can't be reached (Failed to connect to bus: No medium found): log in as ")
    assert nothing_done(manager)


def test_a_password_never_gets_into_a_unit(queuectl: Shell, manager: Manager):
    for url in ("postgresql://ann:hush@h/d", "postgresql://ann@h/d?password=hush", "postgresql://h/d?sslpassword=hush"):
        for words in ((), ("--print",)):
            told = queuectl("service", "install", *words, "--db", url).refused(2)
            assert "every user can read the unit: give the URL without its password" in told
            assert "hush" not in told
    assert nothing_done(manager)


def test_variables_that_the_server_needs_are_passed_on(queuectl: Shell, manager: Manager):
    words = ("service", "install", "--print", "--db")
    env: dict[str, Any] = {"PGHOST": "a b", "PGPASSWORD": "hush", "QUEUECTL_LEASE": "30", "QUEUECTL_TIMEOUT": "5"}
    text = queuectl(*words, "postgresql:///d", **env).ok().out
    assert 'Environment="PGHOST=a b"\nEnvironment=QUEUECTL_LEASE=30\n' in text
    assert "hush" not in text
    assert "TIMEOUT=5" not in text
    assert "PGHOST" not in queuectl(*words, "q.db", **env).ok().out
    assert "WorkingDirectory=~\n" in text
    (queuectl.folder / ".env").write_text("QUEUECTL_LEASE=30\n")
    assert f"WorkingDirectory=-{queuectl.folder}\n" in queuectl(*words, "q.db").ok().out


def test_a_second_installation_interrupts_nothing(queuectl: Shell, manager: Manager):
    queuectl("service", "install").ok()
    manager.asked()
    assert "was up with these options already" in queuectl("service", "install").ok().err
    assert manager.asked() == ["daemon-reload", "enable queuectl.service"]
    done = queuectl("service", "install", "--slots", "8").ok()
    assert "`systemctl --user restart queuectl` lets them finish what they run" in done.err
    assert "--slots 8" in manager.unit().read_text()
    assert manager.asked() == ["daemon-reload", "enable queuectl.service"]


def test_the_service_of_another_queue_stays(queuectl: Shell, manager: Manager):
    queuectl("service", "install").ok()
    before = manager.unit().read_text()
    told = queuectl("service", "install", "--db", "other.db").refused(3)
    assert told.endswith(
        f"serves {queuectl.folder}/q.db: give this one another name (--name), or remove that one first"
    )
    assert manager.unit().read_text() == before
    assert not (queuectl.folder / "other.db").exists()
    queuectl("service", "install", "--db", "other.db", "--name", "other").ok()
    queuectl("service", "uninstall", "--db", "other.db").ok()
    assert manager.unit().read_text() == before
    assert not manager.unit("other").exists()


def test_a_unit_of_somebody_else_stays(queuectl: Shell, manager: Manager):
    manager.unit().parent.mkdir(parents=True)
    manager.unit().write_text("[Service]\nExecStart=/bin/true\n")
    assert "was not written by `queuectl service install`" in queuectl("service", "install").refused(3)
    assert "no service is installed for" in queuectl("service", "uninstall").ok().err
    assert manager.unit().read_text() == "[Service]\nExecStart=/bin/true\n"


@pytest.mark.parametrize("step", ["daemon-reload", "enable", "start"])
def test_what_does_not_start_is_not_installed(queuectl: Shell, manager: Manager, step: str):
    manager.answers(**{f"fails_{step}".replace("daemon-reload", "daemon_reload"): "Job failed."})
    told = queuectl("service", "install").refused(1)
    assert told.startswith("queuectl.service did not start, and is not installed: systemctl --user ")
    assert told.endswith("Job failed.")
    assert not manager.unit().exists()
    manager.answers(journal="queuectl: /q.db: is read-only\nStopped.")
    assert queuectl("service", "install").refused(1).endswith("not installed: /q.db: is read-only")


def test_a_failed_change_leaves_the_old_unit(queuectl: Shell, manager: Manager):
    queuectl("service", "install").ok()
    before = manager.unit().read_text()
    manager.answers(fails_enable="no")
    queuectl("service", "install", "--slots", "9").refused(1)
    assert manager.unit().read_text() == before


def test_an_uninstallation_leaves_no_unit(queuectl: Shell, manager: Manager):
    assert "no service is installed for " in queuectl("service", "uninstall").ok().err
    queuectl("service", "install").ok()
    manager.asked()
    done = queuectl("service", "uninstall").ok()
    assert "what runs may finish" in done.err
    assert done.lines == [str(manager.unit())]
    assert manager.asked() == [
        "disable queuectl.service", "stop queuectl.service", "daemon-reload", "reset-failed queuectl.service",
    ]  # fmt: skip
    assert not manager.unit().exists()
    assert (queuectl.folder / "q.db").exists()


def test_the_status_is_that_of_the_unit(queuectl: Shell, manager: Manager):
    assert "no service is installed for " in queuectl("service", "status").refused(1)
    queuectl("service", "install").ok()
    assert queuectl("service", "status").ok().lines[0].startswith("queuectl.service  active (running)")
    [found] = queuectl("service", "status", "--json").ok().ndjson
    assert (found["active"], found["enabled"], found["lingers"]) == ("active", True, True)
    assert found["database"] == f"{queuectl.folder}/q.db"
    manager.answers(active="failed", journal="queuectl: the disk is full", lingers="no")
    shown = queuectl("service", "status")
    assert shown.code == 1
    assert "failed (it failed)" in shown.lines[0]
    assert "enable-linger" in shown.out
    assert shown.lines[-1] == "  queuectl: the disk is full"


def test_a_status_needs_no_database(queuectl: Shell, manager: Manager):
    queuectl("service", "install").ok()
    for path in queuectl.folder.glob("q.db*"):
        os.rename(path, f"{path}.away")
    shown = queuectl("service", "status").ok()
    assert "there is no database" in shown.err
    assert shown.lines[0].startswith("queuectl.service  active")


@as_root
def test_only_root_installs_for_the_system(queuectl: Shell, manager: Manager):
    queuectl.bind_root()
    told = queuectl("service", "install", "--user", "nobody").refused(2)
    assert told == "--user is for a unit of the system: give --system as well"
    told = queuectl("service", "install", "--print", "--system", "--user", "no-such-user").refused(2)
    assert told == "--user: there is no user 'no-such-user' here"
    told = queuectl("service", "install", "--system", "--user", "nobody").refused(4)
    assert "there is no database: make it first as the user who is to run the jobs" in told
    assert nothing_done(manager)


def test_a_unit_runs_as_the_owner(queuectl: Shell, manager: Manager):
    queuectl.make()
    words = ("service", "install", "--print", "--system")
    if os.geteuid() == 0:
        os.chown(queuectl.folder / "q.db", 65534, 65534)
        assert "User=nobody\n" in queuectl(*words).ok().out
        assert "User=root\n" in queuectl(*words, "--user", "root").ok().out
    else:
        assert f"User={os.environ['USER']}\n" in queuectl(*words).ok().out
