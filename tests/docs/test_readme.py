"""README.md tells the truth: its transcripts are run and compared, its Python is run, its tables match the program.

What changes from run to run (moments, durations, sizes, ids of workers) is compared by its shape. After a change of
what commands print, `python -m tests.support.transcripts` writes the transcripts anew.
"""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.transcripts import (
    ASKING,
    PROJECTION,
    README,
    TOURS,
    environment,
    perform_section,
    section,
    shape,
    transcripts,
)


@pytest.mark.parametrize("title", [*TOURS, ASKING, PROJECTION])
def test_a_transcript_is_what_really_happens(title: str, tmp_path: Path) -> None:
    steps = transcripts(section(title))
    assert len(steps) >= 5
    for (command, told), answer in zip(steps, perform_section(title, tmp_path), strict=True):
        assert (command, shape(answer)) == (command, shape(told))


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return environment(tmp_path)


def test_the_library_example_runs(tmp_path: Path, env: dict[str, str]) -> None:
    code = re.findall(r"```python\n(.*?)```", section("The library"), re.DOTALL)[0]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout.splitlines()[:4] == ["pending 1", "3", "enqueued pending", "cancelled cancelled"]


def test_there_are_two_set_up_commands_and_the_checks_use_them() -> None:
    text = README.read_text(encoding="utf-8")
    commands = [line for line in text.splitlines() if line.startswith("python3 -m venv")]
    assert len(commands) == 2
    assert commands[0].endswith("queuectl selftest")
    assert commands[1].endswith("-m pytest")
    assert "pip install queuectl`" not in text
    assert not re.search(r"pip install queuectl(?![\w-])", text)


def test_the_table_of_commands_is_the_program_s(env: dict[str, str], tmp_path: Path) -> None:
    told = set(re.findall(r"^\| `([a-z-]+)", section("Commands"), re.MULTILINE))
    help_text = subprocess.run(
        ["queuectl", "--help"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=30, check=True
    ).stdout
    real = set(re.findall(r"^ {2}([a-z][a-z-]+)\b", help_text.partition("Jobs:")[2], re.MULTILINE))
    assert told == real


def test_the_table_of_settings_is_the_program_s(env: dict[str, str], tmp_path: Path) -> None:
    rows = re.findall(r"^\| `([a-z-]+)` \| `([^`]+)` \|", section("Configuration"), re.MULTILINE)
    answer = subprocess.run(
        ["queuectl", "config", "get", "--json"],
        cwd=tmp_path,
        env=env | {"XDG_STATE_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    ).stdout
    assert [*(key for key, _ in rows), "database"] == list(json.loads(answer))
