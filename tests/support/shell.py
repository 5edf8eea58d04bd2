"""The real command in another process, with a folder of its own and an environment without our settings."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from tests.support import fork_server
from tests.support.paths import ROOT


class Answer:
    """The output of a command and its exit code."""

    def __init__(self, code: int, out: bytes, err: bytes) -> None:
        self.code = code
        self.raw = out
        self.out = out.decode("utf-8", "replace")
        self.err = err.decode("utf-8", "replace")

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.raw)

    @property
    def ndjson(self) -> list[Any]:
        return [msgspec.json.decode(line) for line in self.raw.splitlines()]

    def ok(self) -> "Answer":
        assert self.code == 0, f"exit code {self.code}: {self.err or self.out}"
        return self

    def refused(self, code: int) -> str:
        """Check for this exit code and an empty stdout; return the one line on stderr."""
        assert self.code == code, f"exit code {self.code}, not {code}: {self.err or self.out}"
        assert self.out == ""
        told = re.sub(r"^queuectl: made a new queue at .*\n", "", self.err)
        assert told.startswith("queuectl: ")
        assert told.endswith("\n")
        assert told.count("\n") == 1, told
        assert "Traceback" not in self.err
        assert "internal error" not in self.err
        return told.removeprefix("queuectl: ").rstrip("\n")


class Shell:
    """Runs `queuectl` in a folder of its own, with `q.db` in it as the database."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.before: list[str] = []
        self.env = {
            "PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", "TZ": "UTC",
            "PYTHONPATH": str(ROOT), "QUEUECTL_DB": "q.db", "QUEUECTL_KEEP_ENV": "none",
        }  # fmt: skip

    def __call__(self, *words: str | bytes, stdin: bytes = b"", **env: str) -> Answer:
        if self.before:
            return self.in_new_process(*words, stdin=stdin, **env)
        done = fork_server.run(words, self.env | env, self.folder, stdin)
        return Answer(done.returncode, done.stdout, done.stderr)

    def in_new_process(self, *words: str | bytes, stdin: bytes = b"", **env: str) -> Answer:
        """Run it in a new interpreter, for tests of its start; ten times as slow."""
        done = subprocess.run(
            self.command(*words), cwd=self.folder, env=self.env | env, input=stdin, capture_output=True, timeout=50,
            check=False,
        )  # fmt: skip
        return Answer(done.returncode, done.stdout, done.stderr)

    def command(self, *words: str | bytes) -> list[str | bytes]:
        return [*self.before, sys.executable, "-m", "queuectl", *words]

    def bind_root(self) -> None:
        """Make the modes of files count for later commands, also where the tests are run by root."""
        if os.geteuid() == 0:
            self.before = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]

    def start(self, *words: str, stdout: int = subprocess.PIPE) -> "subprocess.Popen[bytes]":
        """The command in the background."""
        return subprocess.Popen(
            self.command(*words), cwd=self.folder, env=self.env, stdin=subprocess.DEVNULL, stdout=stdout,
            stderr=subprocess.PIPE,
        )  # fmt: skip

    def drain(self) -> None:
        """Run everything that is ready, with two slots."""
        self("worker", "start", "--slots", "2", "--drain").ok()

    def make(self) -> None:
        """Make an empty queue, for commands that only read."""
        from queuectl import Queue

        Queue(self.folder / "q.db").close()

    def total(self) -> int:
        """The number of jobs; 0 without a queue."""
        if not (self.folder / "q.db").exists():
            return 0
        return self("status").ok().json["total"]
