"""The text of the unit: systemd itself reads it, where it is installed, and finds nothing to say."""

import math
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from queuectl.errors import Invalid
from queuectl.service import unit_syntax
from queuectl.service.unit import ServiceUnit, check_name, database_of

ODD = ["plain", "a b", "100%", "%h", "$HOME", "${HOME}", 'say "hi"', "it's", "back\\slash", ";", "ümlaut", "a=b", "-x"]


def made(**fields: Any) -> ServiceUnit:
    return ServiceUnit(**{"database": "/srv/q.db", "is_file": True, "program": ["/usr/bin/queuectl"]} | fields)


def values(text: str, key: str) -> list[str]:
    return re.findall(rf"^{key}=(.*)$", text, re.MULTILINE)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze, of systemd, is not installed")
def test_systemd_accepts_the_unit(tmp_path: Path):
    files: list[str] = []
    for number, folder in enumerate(ODD):
        program = tmp_path / folder / "queuectl"
        program.parent.mkdir()
        shutil.copy("/bin/true", program)
        text = made(
            program=[str(program)], database=f"{program.parent}/q.db", options=["--slots", "4", "--queue", *ODD],
            user="root" if number % 2 else None, environment={"PGHOST": f"{folder} $x"}, folder=str(program.parent),
        ).text()  # fmt: skip
        files.append(str(tmp_path / f"queuectl-{number}.service"))
        Path(files[-1]).write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *files], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "text, written",
    [
        ("q.db", "q.db"),
        ("a b", '"a b"'),
        ("50%", "50%%"),
        ("$HOME", '"$$HOME"'),
        ('a"b\\c', '"a\\"b\\\\c"'),
        (";", '";"'),
        ("", '""'),
    ],
)
def test_each_word_means_itself(text: str, written: str):
    assert unit_syntax.word(text) == written


def test_a_program_keeps_its_dollar():
    assert unit_syntax.program("/a b/$x/%h") == '"/a b/$x/%%h"'


@pytest.mark.parametrize("path", ["/a\nb/q.db", "/a\x1b/q.db", "/q.db ", "/q.db\\", "/\udcff/q.db"])
def test_what_no_unit_can_hold_is_refused(path: str):
    with pytest.raises(Invalid, match="can't stand in a unit"):
        made(database=path).text()


def test_a_unit_tells_which_queue_it_serves():
    for database in ("/srv/q.db", "/srv/100%/q b.db", "postgresql://ann@host/db?schema=x"):
        assert database_of(made(database=database).text()) == database
    assert database_of("[Service]\nExecStart=/bin/true\n") is None


def test_a_missing_database_is_not_made_anew():
    assert values(made().text(), "AssertPathExists") == ["/srv/q.db"]
    assert values(made(is_file=False, database="postgresql://h/d").text(), "AssertPathExists") == []


@pytest.mark.parametrize(
    "user, asked, own, systemd",
    [
        (None, None, None, "infinity"),
        (None, 90.0, "90", "390"),
        ("ann", None, "600", "900"),
        ("ann", math.inf, None, "infinity"),
        ("ann", 1_000_000.0, "1000000", "1000300"),
    ],
)
def test_jobs_are_ended_before_systemd_kills(user: str | None, asked: float | None, own: str | None, systemd: str):
    text = made(user=user, stop_timeout=asked).text()
    assert values(text, "TimeoutStopSec") == [systemd]
    assert re.findall(r"--stop-timeout (\S+)", values(text, "ExecStart")[0]) == ([own] if own is not None else [])
    assert values(text, "KillMode") == ["process"]


def test_a_unit_of_the_system_waits_for_disks():
    assert values(made(user="ann").text(), "RequiresMountsFor") == ["/srv/q.db"]
    assert values(made(user="ann").text(), "WantedBy") == ["multi-user.target"]
    assert values(made().text(), "WantedBy") == ["default.target"]
    server = made(user="ann", is_file=False, database="postgresql://h/d").text()
    assert values(server, "After") == ["network-online.target"]
    assert values(made(is_file=False, database="postgresql://h/d").text(), "After") == []


@pytest.mark.parametrize("text", ["", "a/b", "..", "a b", "a@b", "-x", "x" * 101])
def test_a_name_that_is_none_is_refused(text: str):
    with pytest.raises(Invalid, match="is not the name of a service"):
        check_name(text)


def test_a_name_may_have_its_suffix():
    assert check_name("queuectl-gpu.service") == "queuectl-gpu"
