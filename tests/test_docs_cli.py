"""docs/reference/cli.md equals the reference generated from the commands."""

import subprocess
import sys

from tests.support.cli_reference import COMMAND, PAGE
from tests.support.paths import ROOT


def test_the_cli_reference_is_up_to_date() -> None:
    generated = subprocess.run(
        [sys.executable, *COMMAND.split()[1:], "--print"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    assert PAGE.read_text(encoding="utf-8") == generated, f"out of date; run: {COMMAND}"


def test_the_reference_names_each_command_once() -> None:
    from queuectl.cli.commands import COMMANDS

    titles = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("## ")]
    names = dict.fromkeys(name.partition(" ")[0] for name in COMMANDS if name != "recover-fail")
    assert titles == [f"## queuectl {name}" for name in names]


def test_the_lines_of_completion_are_up_to_date() -> None:
    from tests.support.cli_reference import MODULE, summaries

    assert MODULE.read_text(encoding="utf-8") == summaries(), f"out of date; run: {COMMAND}"
