"""Leaving a process at once, unless something is registered for its ordinary end."""

import subprocess
import sys

import pytest

LEAVE = "import sys; from queuectl.host.leaving import leave; print('said'); {}; leave(3); print('and ended')"


def run(before: str, shell: str = "") -> tuple[int, str, str]:
    words = [sys.executable, "-c", LEAVE.format(before)]
    done = subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {shell}', "sh", *words], capture_output=True, text=True,
        check=False, timeout=30,
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


def test_what_was_written_is_flushed() -> None:
    assert run("None") == (3, "said\n", "")


@pytest.mark.parametrize(
    "before, told",
    [
        ("import atexit; atexit.register(print, 'at exit')", "said\nand ended\nat exit\n"),
        ("import threading", "said\nand ended\n"),
        ("sys.settrace(lambda *_: None)", "said\nand ended\n"),
    ],
)
def test_what_runs_at_the_end_is_kept(before: str, told: str) -> None:
    assert run(before) == (0, told, "")


def test_what_cannot_be_flushed_is_told() -> None:
    code, _, told = run("None", shell="> /dev/full")
    assert code == 1
    assert "No space left" in told
    assert run("None", shell="2>&-") == (3, "said\n", "")
