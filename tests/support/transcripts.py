"""The transcripts in README.md and docs/: found, run at a terminal, compared by their shape, and written anew.

A page is one shell session in an empty folder. Its ```console blocks are what a reader types and sees; a comment
`<!-- run ... -->` holds commands that prepare the session and print nothing. Both are run in the order of the page.

`python -m tests.support.transcripts [PAGE ...]` runs the pages, or all of them, and pastes what the commands print.
Read the difference before you keep it.
"""

import fcntl
import os
import pty
import re
import shutil
import struct
import subprocess
import sys
import termios
from dataclasses import dataclass
from pathlib import Path

from tests.support.paths import ROOT

README = ROOT / "README.md"
DOCS = ROOT / "docs"
GENERATED = DOCS / "reference" / "cli.md"
"""The help texts: their examples are commands without answers, each of them for another situation."""
PAGES = [README, *sorted(page for page in DOCS.rglob("*.md") if page != GENERATED)]

SHAPES = [
    (r"^ *⋮.*", ""),  # whether there was a pause is the machine's affair
    (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?(Z| [+-]\d{4})?", "<moment>"),
    (r"\b\d\d:\d\d:\d\d(\.\d+)?\b", "<moment>"),
    (r"\b(worker|recovery):[0-9a-z-]+", r"\1:<id>"),
    (r"\b[0-9a-f]{8,}\b", "<hex>"),
    (r'^ +\d+ |^ *\d+-\d+ |"seq":\d+|event \d+|replayed \d+ events|--after \d+', "<seq>"),
    (r"\bprocess \d+\b", "<process>"),
    (r"\brunning +\d+ +\S+", "running <where>"),
    (r"\bnow\b|\b[\ddhms]+ ago\b", "<ago>"),
    (r"\b(cli|library):\S+@[\w.-]+", r"\1:<who>"),
    (r" · \d+ heartbeats? over \S+", ""),  # where the machine was slow
    (r"\b\d+(\.\d+)? ?(s|ms)\b", "<time>"),
    (r"(memory )?\b\d+(\.\d+)? ?MiB( ·)? *", ""),  # of a process that is smaller than its worker nothing can be told
    (r"\b\d+(\.\d+)? ?([KGT]i)?B\b", "<size>"),
    (r"\b\d+ files\b", "<files>"),
    (r"/tmp/\S+", "<path>"),
    (r"[ \t]+", " "),
]
"""What is replaced before a line is compared, in order."""


@dataclass(frozen=True)
class Step:
    """A command of a page and the lines that the page shows after it; a hidden one prepares the session."""

    command: str
    shown: list[str]
    hidden: bool = False


def steps(text: str) -> list[Step]:
    """The commands of a page in order: those of `console` blocks, and those of comments `<!-- run ... -->`."""
    found: list[Step] = []
    for block in re.finditer(r"^```console\n(.*?)^```|^<!-- run\n(.*?)^-->", text, re.DOTALL | re.MULTILINE):
        found += [Step(block[2], [], hidden=True)] if block[1] is None else transcript(block[1])
    return found


def transcript(block: str) -> list[Step]:
    """The commands of one `console` block: `$ ` begins one, `> ` continues it."""
    found: list[Step] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append(Step(line[2:], []))
        elif line.startswith("> ") and not found[-1].shown:
            found[-1] = Step(f"{found[-1].command}\n{line[2:]}", [])
        else:
            found[-1].shown.append(line)
    return found


def shape(lines: list[str]) -> list[str]:
    """The lines without what differs from run to run."""
    shaped: list[str] = []
    for line in lines:
        for pattern, replacement in SHAPES:
            line = re.sub(pattern, replacement, line)
        shaped.append(line.rstrip())
    return [line for line in shaped if line]


def perform(page: list[Step], folder: Path) -> list[list[str]]:
    """Run the steps one after another in one shell at a terminal 120 wide; the lines that each printed.

    A hidden step prints a line only where it failed. Workers that start in the background are given a second, as they
    are by a person. Workers that a page left running are stopped.
    """
    mark = "=-=-=-=-="
    commands = [
        f"{{ {step.command}\n}} >/dev/null 2>&1 || echo failed" if step.hidden else step.command for step in page
    ]
    pauses = ["\nsleep 1" if "--detach" in command else "" for command in commands]
    lines = [f"{command}\necho {mark}{pause}" for command, pause in zip(commands, pauses, strict=True)]
    script = "\n".join(lines) + "\nqueuectl stop-workers --now\n"
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 120, 0, 0))
    shell = subprocess.Popen(
        ["timeout", "90", "bash", "-c", script],
        cwd=folder,
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    printed = b""
    while True:
        try:
            piece = os.read(ours, 65536)
        except OSError:  # the terminal's other end is closed
            break
        if not piece:
            break
        printed += piece
    os.close(ours)
    shell.wait(timeout=10)
    answers = printed.decode().replace("\r\n", "\n").split(f"{mark}\n")
    return [visible(answer) for answer in answers[: len(page)]]


def visible(answer: str) -> list[str]:
    """The lines as they remain on the terminal: what was erased (a progress bar) is gone."""
    return [re.sub(r"^.*\x1b\[K", "", line).rstrip() for line in answer.rstrip().split("\n")] if answer.strip() else []


def environment(home: Path) -> dict[str, str]:
    """The environment of a person who has followed the set-up, with a home that is empty.

    CHECKOUT is for hidden steps: the folder of the project.
    """
    return {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "TERM": "xterm",
        "NO_COLOR": "1",
        "CHECKOUT": str(ROOT),
    }


def rewritten(text: str, answers: list[list[str]]) -> str:
    """The text with what its commands print replaced by these answers."""
    left = [(step, answer) for step, answer in zip(steps(text), answers, strict=True) if not step.hidden]

    def block(old: re.Match[str]) -> str:
        lines: list[str] = []
        for _ in transcript(old[1]):
            step, answer = left.pop(0)
            first, *more = step.command.splitlines()
            lines += [f"$ {first}", *(f"> {line}" for line in more), *answer]
        return "```console\n" + "\n".join(lines) + "\n```"

    return re.sub(r"^```console\n(.*?)^```", block, text, flags=re.DOTALL | re.MULTILINE)


def main() -> None:
    """Run the pages named, or all, and write them anew."""
    for page in [Path(name).resolve() for name in sys.argv[1:]] or PAGES:
        text = page.read_text(encoding="utf-8")
        if not steps(text):
            continue
        folder = Path("/tmp/tour")
        folder.mkdir()
        try:
            answers = perform(steps(text), folder)
        finally:
            shutil.rmtree(folder)
        failed = [step.command for step, answer in zip(steps(text), answers, strict=True) if step.hidden and answer]
        if failed:
            sys.exit(f"{page}: failed:\n{failed[0]}")
        page.write_text(rewritten(text, answers), encoding="utf-8")


if __name__ == "__main__":
    main()
