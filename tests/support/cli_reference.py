"""What is generated from the commands: docs/reference/cli.md, docs/man/queuectl.1, the line on what each is for.

`python -m tests.support.cli_reference` writes all anew, with `--print` the first to stdout. cyclopts' `generate_docs`
does most of the page; what it doesn't know of a nested command or gets wrong in Markdown is mended here.
"""

import re
import sys
from pathlib import Path

from cyclopts import App

from queuectl.cli.app import app, load_all
from queuectl.cli.commands import COMMANDS, load
from tests.support import man_page
from tests.support.paths import ROOT

PAGE = ROOT / "docs" / "reference" / "cli.md"
MODULE = ROOT / "queuectl" / "cli" / "commands" / "summaries.py"
COMMAND = "python -m tests.support.cli_reference"
"""What writes the page."""

INTRODUCTION = f"""\
# The command line

Generated from the commands by `{COMMAND}`: the same text as `queuectl help COMMAND`.
"""


def reference() -> str:
    """Return the text of the page."""
    load_all()
    for command in app:
        _inherit(app[command])
    text = app.generate_docs()
    text = re.sub(r"\n## Table of Contents\n.*?(?=\n\*\*)", "", text, flags=re.DOTALL)  # the grouped list follows
    text = re.sub(r" \*\[default: False\]\*", "", text)  # of a flag
    text = re.sub(r"\*?\\?\[default: (.*?)\]\*?", r"[default: \1]", text)
    sections = re.split(r"(?m)^(?=#+ queuectl )", text)
    body = "".join([_examples(sections[0]), *(_examples(_usage(section)) for section in sections[1:])])
    return INTRODUCTION + body.partition("\n")[2].rstrip() + "\n"


def _inherit(command: App) -> None:
    """Give a command what it inherits when it is run; cyclopts documents those of a group with its own defaults."""
    command.default_parameter = app.default_parameter
    command.group_parameters = app.group_parameters
    command.group_arguments = app.group_arguments
    command.help_format = app.help_format
    for name in command:
        if not name.startswith("-"):
            _inherit(command[name])


def _usage(section: str) -> str:
    """Let the usage line begin with the command, whatever program generates it, and name its arguments."""
    title = section.partition("\n")[0].lstrip("# ")
    section = re.sub(rf"(?m)^{title}\b.*?(?= \[OPTIONS\])", title, section, count=1)
    named = re.search(r"(?m)^\* `([A-Z]+)`", section)
    return re.sub(r"\[ARGS(\.*)\]", rf"[{named[1]}\1]", section) if named else section


def _examples(section: str) -> str:
    """Put consecutive lines that begin with `$ ` into a console block."""
    return re.sub(r"(?m)(?:^\$ .*\n)+", lambda lines: f"```console\n{lines[0]}```\n", section)


def generated() -> dict[Path, str]:
    """Return what is generated, by the file in which it stands."""
    return {PAGE: reference(), MODULE: summaries(), man_page.PAGE: man_page.page()}


def summaries() -> str:
    """Return the module with the first line of the help of each command, and of each group of commands."""
    load_all()
    texts = {name: load(name).__doc__ for name in COMMANDS}
    texts |= {name.partition(" ")[0]: app[name.partition(" ")[0]].help for name in COMMANDS if " " in name}
    lines = (f"{name}: {(text or '').strip().partition(chr(10))[0]}\n" for name, text in sorted(texts.items()))
    return _SUMMARIES.format(command=COMMAND, lines="".join(lines))


_SUMMARIES = '''"""What each command is for, in a line, without the command being imported.

Generated from their help by `{command}`.
"""

_LINES = """\\
{lines}"""

SUMMARIES = {{name: text for name, _, text in (line.partition(": ") for line in _LINES.splitlines())}}
"""The line by the name of the command, or of the group of commands."""
'''


if __name__ == "__main__":
    if sys.argv[1:] == ["--print"]:
        sys.stdout.write(reference())
    else:
        for path, text in generated().items():
            path.write_text(text, encoding="utf-8")
