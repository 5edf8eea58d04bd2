"""An interactive shell on a terminal of its own, in which a line is typed and TAB is pressed.

`queuectl` in it is a script that asks the real one for completions, and otherwise notes the arguments that it was
called with: what the shell makes of a completed line is what counts.
"""

import json
import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.support.paths import ROOT

START = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "zsh": ["zsh", "-f", "-i"],
    "fish": ["fish", "--no-config", "-i"],
}
SETUP = {
    "bash": "source completion.bash",
    "zsh": "autoload -Uz compinit; compinit -u -D; source completion.zsh",
    "fish": "source completion.fish",
}
PATIENCE = 30.0
"""Seconds within which a shell has done what was typed."""


class InteractiveShell:
    """One shell, in a folder with the completion script of its kind."""

    def __init__(self, name: str, folder: Path, env: dict[str, str]) -> None:
        if shutil.which(name) is None:
            raise FileNotFoundError(f"there is no {name}: install the package of that name of the distribution")
        self._calls = folder / "calls"
        (folder / "bin").mkdir()
        program = folder / "bin" / "queuectl"
        program.write_text(f"#!{sys.executable}\n{_PROGRAM.format(calls=str(self._calls))}")
        program.chmod(0o755)
        real = [sys.executable, "-m", "queuectl", "completion", name]
        script = subprocess.run(real, cwd=ROOT, capture_output=True, check=True, timeout=50).stdout
        (folder / f"completion.{name}").write_bytes(script)
        path = f"{folder / 'bin'}:{env['PATH']}"
        self._pid, self._terminal = pty.fork()
        if self._pid == 0:
            os.chdir(folder)
            os.execvpe(START[name][0], START[name], env | {"PATH": path, "TERM": "xterm", "COLUMNS": "100"})
        self.seen = ""
        self.type(f"{SETUP[name]}\n")
        self.call("ready")

    def type(self, keys: str) -> None:
        """Type these keys."""
        os.write(self._terminal, keys.encode())

    def call(self, keys: str) -> list[str]:
        """Type `queuectl`, these keys and Enter; return the arguments with which it was called."""
        before = len(self._read_calls())
        self.type(f"queuectl {keys}\n")
        self._wait_until(lambda: len(self._read_calls()) > before)
        return self._read_calls()[-1]

    def shows(self, keys: str, text: str) -> bool:
        """Type `queuectl` and these keys; return whether the terminal shows a text then. The line is given up."""
        self.seen = ""
        self.type(f"queuectl {keys}")
        self._wait_until(lambda: text in self.seen)
        self.type("\x15")  # Ctrl-U
        return True

    def close(self) -> None:
        """End the shell."""
        os.close(self._terminal)
        os.waitpid(self._pid, 0)

    def _read_calls(self) -> list[list[str]]:
        return [json.loads(line) for line in self._calls.read_text().splitlines()] if self._calls.exists() else []

    def _wait_until(self, is_done: Any) -> None:
        end = time.monotonic() + PATIENCE
        while not is_done():
            assert time.monotonic() < end, f"it shows: {self.seen[-2000:]!r}"
            if select.select([self._terminal], [], [], 0.05)[0]:
                self.seen += os.read(self._terminal, 65536).decode(errors="replace")


_PROGRAM = """
import json, os, sys
if sys.argv[1:2] == ["__complete"]:
    os.execv(sys.executable, [sys.executable, "-m", "queuectl", *sys.argv[1:]])
with open({calls!r}, "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
"""
