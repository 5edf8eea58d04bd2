"""The transcripts in README.md: found, run at a terminal, compared by their shape, and written anew.

`python -m tests.support.transcripts` runs them all and pastes what they print. Read the difference before you keep it.
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
import tomllib
from pathlib import Path

from tests.support.paths import ROOT

README = ROOT / "README.md"

TOURS = ("A tour in five minutes", "A real job file")
ASKING = "Asking the log"
PROJECTION = "A projection of your own"

SHAPES = [
    (r"^\x1b\[K(.*[█░].*)?", ""),  # progress is shown where the machine is slow
    (r"^ *⋮.*", ""),  # whether there was a pause is the machine's affair
    (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?Z?", "<moment>"),
    (r"\b\d\d:\d\d:\d\d(\.\d+)?\b", "<moment>"),
    (r"\b(worker|recovery):[0-9a-z-]+", r"\1:<id>"),
    (r"\b[0-9a-f]{8,}\b", "<hex>"),
    (r'^ +\d+ |^ *\d+-\d+ |"seq":\d+|event \d+|replayed \d+ events|--after \d+', "<seq>"),
    (r"\bnow\b|\b[\ddhms]+ ago\b", "<ago>"),
    (r"\b(cli|library):\S+@[\w.-]+", r"\1:<who>"),
    (r"\b\d+(\.\d+)? ?(s|ms)\b", "<time>"),
    (r"(memory )?\b\d+(\.\d+)? ?MiB( ·)? *", ""),  # of a process that is smaller than its worker nothing can be told
    (r"\b\d+(\.\d+)? ?([KGT]i)?B\b", "<size>"),
    (r"\b\d+ files\b", "<files>"),
    (r"/tmp/\S+", "<path>"),
    (r"[ \t]+", " "),
]
"""What is replaced before a line is compared, in order."""


def section(title: str) -> str:
    """The text under a heading of the second rank."""
    return README.read_text(encoding="utf-8").partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def transcripts(text: str) -> list[tuple[str, list[str]]]:
    """(command, lines printed) of every `console` block of a text, in order."""
    steps: list[tuple[str, list[str]]] = []
    for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL):
        for line in block.splitlines():
            if line.startswith("$ "):
                steps.append((line[2:], []))
            elif line.startswith("> ") and not steps[-1][1]:
                steps[-1] = (f"{steps[-1][0]}\n{line[2:]}", [])
            else:
                steps[-1][1].append(line)
    return steps


def shape(lines: list[str]) -> list[str]:
    """The lines without what differs from run to run."""
    shaped: list[str] = []
    for line in lines:
        for pattern, replacement in SHAPES:
            line = re.sub(pattern, replacement, line)
        shaped.append(line.rstrip())
    return [line for line in shaped if line]


def perform(commands: list[str], folder: Path, env: dict[str, str]) -> list[list[str]]:
    """Run the commands one after another in one shell at a terminal 120 wide; the lines that each printed."""
    mark = "=-=-=-=-="
    script = "\n".join(f"{command}\necho {mark}" for command in commands)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 120, 0, 0))
    shell = subprocess.Popen(
        ["bash", "-c", script], cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs
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
    return [answer.splitlines() for answer in answers[: len(commands)]]


def environment(home: Path) -> dict[str, str]:
    """The environment of a person who has followed the set-up, with a home that is empty."""
    return {
        "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "TERM": "xterm",
        "NO_COLOR": "1",
    }


def perform_section(title: str, folder: Path) -> list[list[str]]:
    """Run the commands of a section in an empty folder; the lines that each printed."""
    env = environment(folder)
    prepare: list[str] = []
    if title == ASKING:
        (folder / "tests").symlink_to(README.parent / "tests")
    if title == PROJECTION:
        install(folder / "site")
        env |= {"PYTHONPATH": str(folder / "site"), "QUEUECTL_DB": str(folder / "jobs.db")}
        prepare = [
            "queuectl enqueue --max-retries 1 --backoff-base 1 --backoff-max 0.01 'exit 3' > /dev/null",
            "queuectl worker start --drain > /dev/null 2>&1",
        ]
    commands = [command for command, _ in transcripts(section(title))]
    return perform(prepare + commands, folder, env)[len(prepare) :]


def install(site: Path) -> None:
    """What pip would do with the example of a projection, without asking an index for its build backend."""
    text = section(PROJECTION)
    module = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0]
    project = tomllib.loads(re.findall(r"```toml\n(.*?)```", text, re.DOTALL)[0])
    about = project["project"]
    info = site / f"{about['name'].replace('-', '_')}-{about['version']}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {about['name']}\nVersion: {about['version']}\n")
    lines: list[str] = []
    for group, entries in about["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    (site / f"{project['tool']['setuptools']['py-modules'][0]}.py").write_text(module)


def rewritten(text: str, answers: list[list[str]]) -> str:
    """The text with what its commands print replaced by these answers."""
    steps = list(zip(transcripts(text), answers, strict=True))

    def block(old: re.Match[str]) -> str:
        lines: list[str] = []
        for _ in range(old[1].count("\n$ ") + old[1].startswith("$ ")):
            (command, _), answer = steps.pop(0)
            first, *more = command.splitlines()
            lines += [f"$ {first}", *(f"> {line}" for line in more), *(line.rstrip() for line in answer)]
        return "```console\n" + "\n".join(lines) + "\n```"

    return re.sub(r"```console\n(.*?)```", block, text, flags=re.DOTALL)


def main() -> None:
    """Run every transcript anew and write README.md."""
    folder = Path("/tmp/tour")
    for title in (*TOURS, ASKING, PROJECTION):
        folder.mkdir()
        try:
            old = section(title)
            new = rewritten(old, perform_section(title, folder))
        finally:
            shutil.rmtree(folder)
        README.write_text(README.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


if __name__ == "__main__":
    main()
