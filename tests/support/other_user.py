"""Another user, as whom scripts of a test run: root's rights would hide what is refused."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

NOBODY = 65534
"""The uid and gid of the user nobody."""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")

PRELUDE = f"""
import grp, hashlib, os, pwd, sys  # before this is a user that can't read them
from queuectl.engines.sqlite.location import locate, prepare
from queuectl.errors import QueueError

os.chdir(sys.argv[1])

def become_nobody():
    if os.geteuid() == 0:
        for name in (".", *os.listdir(".")):
            os.chown(name, {NOBODY}, {NOBODY})
        os.setgroups([])
        os.setgid({NOBODY})
        os.setuid({NOBODY})

def refused(path):
    try:
        prepare(locate(path))
    except QueueError as error:
        print(error.exit_code, error)
"""


def run(script: str, folder: Path) -> str:
    """What a script printed that ran in the folder, in a process of its own; it may call `become_nobody()`."""
    command = [sys.executable, "-c", PRELUDE + script, str(folder)]
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, timeout=30, check=True).stdout
