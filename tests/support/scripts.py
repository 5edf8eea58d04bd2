"""Python scripts in processes of their own, which are spoken to by lines and end with the test."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.paths import ROOT

Start = Callable[..., "subprocess.Popen[str]"]

GATE = """
import os, signal, sys, time
from queuectl.engines.sqlite.gate import Gate
gate = Gate(sys.argv[1] + "/gate", stuck=1.0)
def say(word):
    print(word, flush=True)
def wait_for_line():
    sys.stdin.readline()
"""
"""The beginning of a script that works with the gate in its folder."""

INSIDE = """
with gate.hold(10):
    say("inside")
    wait_for_line()
"""


@contextmanager
def starter(prelude: str, folder: Path) -> Iterator[Start]:
    """Gives `start(script, *args)`: runs `prelude` and the script with the folder as first argument."""
    started: list[subprocess.Popen[str]] = []

    def start(script: str, *args: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-c", prelude + script, str(folder), *args]
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def read_line(process: "subprocess.Popen[str]") -> str:
    """The next line that the script prints."""
    assert process.stdout is not None
    return process.stdout.readline().rstrip("\n")


def expect_line(process: "subprocess.Popen[str]", word: str) -> None:
    """Fails unless this is the next line that the script prints."""
    assert read_line(process) == word


def send_line(process: "subprocess.Popen[str]", word: str = "") -> None:
    """A line for the script."""
    print(word, file=process.stdin, flush=True)
