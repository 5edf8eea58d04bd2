"""`--help`: every command says in a line what it is for, shows an example, and names its defaults."""

import subprocess
import sys

import pytest

from queuectl import __version__, versions
from queuectl.cli.app import app
from tests.support.shell import Shell


def _commands() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name in app:
        if name.startswith("-"):
            continue
        inner = [each for each in app[name] if not each.startswith("-")]
        found += [(name, each) for each in inner] or [(name,)]
    return found


def test_every_command_of_the_contract_is_there():
    assert {" ".join(words) for words in _commands()} >= {
        "enqueue", "run", "worker start", "worker list", "worker stop", "stop-workers", "status", "list", "inspect",
        "logs", "events", "dlq list", "dlq retry", "dlq purge", "retry", "cancel", "wait", "config get", "config set",
        "config unset", "recover", "recover-fail", "monitor", "replay", "export", "stats", "simulate", "backup",
        "import", "doctor", "selftest", "completion",
    }  # fmt: skip


@pytest.mark.parametrize("words", _commands(), ids=" ".join)
def test_a_page_is_worth_reading(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]):
    from queuectl.cli import main

    assert main([*words, "--help"]) == 0
    page = capsys.readouterr().out
    lines = page.splitlines()
    assert lines[0].startswith(f"Usage: queuectl {' '.join(words)}")
    purpose = lines[2]
    assert purpose[0].isupper()
    assert 10 < len(purpose) < 120
    name = " ".join(words).replace("recover-fail", "recover")
    assert f"  $ queuectl {name}" in page, "an example"
    assert "[default: False]" not in page
    assert max(map(len, lines)) <= 120
    for label in (line.split("  ")[1].split()[0] for line in lines if line.startswith("  --")):
        assert label.startswith("--"), label


@pytest.mark.parametrize("words", [(), ("--help",), ("-h",), ("--db", "x.db")], ids=str)
def test_the_first_page_lists_every_command(queuectl: Shell, words: tuple[str, ...]):
    page = queuectl(*words).ok().out
    for command, *_ in _commands():
        assert f"\n  {command}" in page or command == "recover-fail"
    assert "Add a job; when it is durable, print its id." in page
    assert list(queuectl.folder.iterdir()) == []


def test_the_defaults_are_shown(queuectl: Shell):
    page = queuectl("enqueue", "--help").ok().out
    for default in ("3, a setting", "2, a setting", "1d, a setting", "60s, a setting", "default: here"):
        assert default in " ".join(page.split())
    assert "[default: 1]" in queuectl("worker", "start", "--help").out


def test_the_version_tells_that_of_the_schema(queuectl: Shell):
    first, tables, *_, reader = queuectl("--version").ok().lines
    assert first.split()[:2] == ["queuectl", __version__]
    assert first.endswith(f"(schema {versions.SQLITE}, in PostgreSQL {versions.POSTGRES})")
    assert tables.startswith("tables: jobs ")
    assert reader == f"databases are read by queuectl {versions.OLDEST_READER} and newer"
    assert list(queuectl.folder.iterdir()) == []


def test_enqueue_loads_nothing_heavy(queuectl: Shell):
    heavy = ("asyncio", "csv", "cyclopts", "dotenv", "json", "logging", "rich", "shutil", "subprocess", "tempfile")
    code = (
        "import sys; from queuectl.cli import main; code = main(['enqueue', '--priority', '3', 'true']);"
        f"print([name for name in {heavy!r} if name in sys.modules], code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=queuectl.folder, env=queuectl.env, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == ["1", "[] 0"]


@pytest.mark.parametrize("words", [(), ("help",), ("enqueue",), ("worker",), ("worker", "start")], ids=" ".join)
def test_help_is_a_command_too(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]):
    from queuectl.cli import main

    assert main(["help", *words]) == 0
    page = capsys.readouterr().out
    assert main([*(word for word in words if word != "help"), "--help"]) == 0
    assert page == capsys.readouterr().out


def test_the_version_has_a_letter(queuectl: Shell):
    assert queuectl("-V").ok().out == queuectl("--version").ok().out
