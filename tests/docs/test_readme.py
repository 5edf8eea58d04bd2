"""README.md is short and has the set-up commands that the checks run; the pages name all that the program has."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from queuectl.spec import FIELDS
from tests.support.transcripts import DOCS, README, environment


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return environment(tmp_path) | {"XDG_STATE_HOME": str(tmp_path)}


def section(text: str, title: str) -> str:
    """The text under a heading of the second rank."""
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def answer(env: dict[str, str], folder: Path, *words: str) -> str:
    return subprocess.run(words, cwd=folder, env=env, capture_output=True, text=True, timeout=30, check=True).stdout


def test_the_readme_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 250


def test_the_readme_has_two_tested_set_up_commands() -> None:
    text = README.read_text(encoding="utf-8")
    commands = [line for line in text.splitlines() if line.startswith("python3 -m venv")]
    assert len(commands) == 2
    assert commands[0].endswith("queuectl selftest")
    assert commands[1].endswith("-m pytest")
    assert not re.search(r"pip install queuectl(?![\w-])", text)


def test_the_readme_names_every_command(env: dict[str, str], tmp_path: Path) -> None:
    text = section(README.read_text(encoding="utf-8"), "Commands and exit codes")
    told = {
        name.split()[0]
        for row in re.findall(r"^\| [A-Z].*", text, re.MULTILINE)
        for name in re.findall(r"`(.*?)`", row)
    }
    listed = answer(env, tmp_path, "queuectl", "--help").partition("Jobs:")[2]
    assert told == set(re.findall(r"^ {2}([a-z][a-z-]+)\b", listed, re.MULTILINE))


def test_every_setting_is_described(env: dict[str, str], tmp_path: Path) -> None:
    text = (DOCS / "reference" / "configuration.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `([a-z-]+)` \| `([^`]+)` \|", section(text, "Settings"), re.MULTILINE)
    real = json.loads(answer(env, tmp_path, "queuectl", "config", "get", "--json"))
    del real["database"]
    assert [key for key, _ in rows] == list(real)
    for key, default in rows:
        if isinstance(real[key]["default"], str):
            assert (key, real[key]["default"]) == (key, default)


def test_every_field_of_a_spec_is_described() -> None:
    text = (DOCS / "reference" / "job-spec.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == list(FIELDS)


def test_the_library_example_runs(tmp_path: Path, env: dict[str, str]) -> None:
    [code] = re.findall(r"```python\n(.*?)```", (DOCS / "guides" / "library.md").read_text(encoding="utf-8"), re.DOTALL)
    lines = answer(env, tmp_path, sys.executable, "-c", code).splitlines()
    assert lines[:4] == ["pending 1", "3", "enqueued pending", "cancelled cancelled"]
