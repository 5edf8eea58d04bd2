"""docs/man/queuectl.1: as the commands are, and well-formed."""

import re
import shutil
import subprocess
import tomllib

from queuectl.cli import commands
from tests.support.man_page import COMMAND, PAGE, page
from tests.support.paths import ROOT


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), f"out of date; run: {COMMAND}"


def test_the_page_has_each_command_and_section() -> None:
    text = page().replace("\\-", "-")
    for name in commands.COMMANDS:
        assert f"\\fBqueuectl {name}\\fR" in text or name == commands.ALIAS
    sections = ["NAME", "SYNOPSIS", "DESCRIPTION", "COMMANDS", "EXIT STATUS", "ENVIRONMENT", "FILES", "SEE ALSO"]
    assert re.findall(r"(?m)^\.SH (.*)", text) == sections


def test_a_wheel_puts_it_where_man_looks() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    shared = project["tool"]["hatch"]["build"]["targets"]["wheel"]["shared-data"]
    assert shared == {"docs/man/queuectl.1": "share/man/man1/queuectl.1"}
    assert "/docs" in project["tool"]["hatch"]["build"]["targets"]["sdist"]["include"]


def test_programs_that_read_it_find_nothing_wrong() -> None:
    """Each of them that is on the machine: `.ci/run` installs mandoc."""
    for reader in (["mandoc", "-Tlint", "-Wwarning"], ["groff", "-man", "-Tutf8", "-ww", "-z"]):
        if shutil.which(reader[0]) is not None:
            done = subprocess.run([*reader, str(PAGE)], capture_output=True, text=True, timeout=50, check=False)
            said = [line for line in (done.stdout + done.stderr).splitlines() if "missing date" not in line]
            assert said == []
