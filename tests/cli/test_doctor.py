"""`queuectl doctor`: what a person and a script see, and the exit codes."""

import os
import re
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from queuectl import cli, doctor, versions
from tests.support.shell import Shell

DAMAGE = 'import apsw, sys; list(apsw.Connection(sys.argv[1]).execute("update counts set jobs = 77"))'


def damage(queuectl: Shell) -> None:
    """Change a table behind the queue's back."""
    subprocess.run([sys.executable, "-c", DAMAGE, str(queuectl.folder / "q.db")], check=True, timeout=30)


def test_a_healthy_queue(queuectl: Shell):
    queuectl("enqueue", "true").ok()
    queuectl.drain()
    answer = queuectl("doctor").ok()
    *checks, empty, verdict = answer.lines
    assert answer.err == ""
    assert [line[:2] for line in checks] == ["✓ "] * len(checks)
    assert checks[1].split(maxsplit=2)[1:] == ["log", "5 events in 2 streams, none missing"]
    assert (empty, verdict) == ("", "The queue is healthy.")


def test_the_document_names_every_check_with_its_figures(queuectl: Shell):
    queuectl("enqueue", "true").ok()
    document = queuectl("doctor", "--json").ok().json
    assert document["healthy"] is True
    checks = {check["check"]: check for check in document["checks"]}
    assert all(check["ok"] for check in checks.values())
    [disk] = checks["disk"]["findings"]
    assert disk["severity"] == "ok"
    assert disk["free"] > disk["floor"] > 0
    assert checks["file"]["findings"][0]["bytes"] == (queuectl.folder / "q.db").stat().st_size
    [tables] = checks["projections"]["findings"]
    assert (tables["schema"], tables["versions"]) == (versions.SQLITE, versions.tables())
    assert tables["what"].endswith(f"schema {versions.SQLITE}; read by queuectl {versions.OLDEST_READER} and newer")
    assert tables["oldest_reader"] == versions.OLDEST_READER
    assert set(checks["log"]["findings"][0]) == {"severity", "what", "do", "events", "streams", "archived"}


def test_a_problem_exits_with_1_and_an_advice(queuectl: Shell):
    queuectl("enqueue", "true").ok()
    damage(queuectl)
    answer = queuectl("doctor")
    assert answer.code == 1
    place = next(n for n, line in enumerate(answer.lines) if line.startswith("✗ replay"))
    assert answer.lines[place + 1] == f"{'':15}→ run `queuectl replay`, which makes them anew from the log"
    assert answer.lines[-1] == "1 problem."
    document = queuectl("doctor", "--json")
    assert document.code == 1
    assert document.json["healthy"] is False
    assert [check["check"] for check in document.json["checks"] if not check["ok"]] == ["replay"]
    queuectl("replay").ok()
    queuectl("doctor").ok()


def test_a_warning_exits_with_0(queuectl: Shell):
    queuectl("enqueue", "true").ok()
    os.mkdir(queuectl.folder / "q.db.d" / "output" / "no-such-job.2.cafe", 0o700)
    answer = queuectl("doctor").ok()
    assert any(line.startswith("! leftovers    1 output of jobs that are not in the log") for line in answer.lines)
    assert answer.lines[-1] == "The queue is healthy; 1 warning."
    assert queuectl("doctor", "--json").ok().json["healthy"] is True


def test_an_unusable_setting_is_a_problem(queuectl: Shell):
    queuectl.make()
    (queuectl.folder / ".env").write_text("QUEUECTL_MAX_RETRIES=many\n")
    assert queuectl("enqueue", "true").code == 2
    answer = queuectl("doctor")
    assert answer.code == 1
    assert any(line.startswith("✗ settings     max-retries: 'many'") for line in answer.lines)


def test_an_unusable_database_exits_with_4(queuectl: Shell):
    stranger = sqlite3.connect(queuectl.folder / "q.db")
    stranger.execute("create table theirs (x)")
    stranger.close()
    assert "is another program's SQLite database" in queuectl("doctor").refused(4)
    assert "is another program's" in queuectl("doctor", "--json").refused(4)


def test_doctor_output_fits_the_terminal(queuectl: Shell, terminal: Callable[..., str]):
    queuectl("enqueue", "true").ok()
    damage(queuectl)
    seen = terminal("doctor", columns=60)
    assert "\x1b[32m✓\x1b[0m \x1b[1mfile" in seen
    assert "\x1b[31m✗\x1b[0m \x1b[1mreplay" in seen
    plain = terminal("doctor", columns=60, NO_COLOR="1").splitlines()
    assert max(map(len, plain)) <= 60
    assert "\x1b" not in "".join(plain)


def test_doctor_advises_only_existing_commands(capsys: pytest.CaptureFixture[str]):
    source = "".join(path.read_text() for path in Path(doctor.__file__).parent.rglob("*.py"))
    advised = set(re.findall(r"(?:`|: )queuectl ([a-z]+)(?: (--[a-z]+))?", source))
    assert advised > {("replay", ""), ("recover", "--hung"), ("config", ""), ("export", "")}
    for word, option in advised:
        assert cli.main([word, "--help"]) == 0
        assert option in capsys.readouterr().out
