"""Messages of workers: one that can't be written is dropped."""

import subprocess
import sys

import pytest

SAY = "from queuectl.workers.stderr import say; say('hello'); print(7)"


@pytest.mark.parametrize("into", ["2>/dev/full", "2>&-", "2> >(true)"])
def test_what_cannot_be_said_is_dropped(into: str) -> None:
    line = f'"$0" -c "{SAY}" {into}'
    done = subprocess.run(["/bin/bash", "-c", line, sys.executable], capture_output=True, timeout=30, check=False)
    assert (done.returncode, done.stdout) == (0, b"7\n")
