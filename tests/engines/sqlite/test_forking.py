"""What happens to an open database at a fork (R7); `test_engine.py` has what its child may do."""

import os
import sys
from pathlib import Path

import pytest

from queuectl import Queue


def test_a_second_fork_finds_it_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: told.append(str(what.exc_value)))
    with Queue(tmp_path / "q.db") as queue:
        queue.enqueue("true")
        for _ in range(2):
            if (pid := os.fork()) == 0:
                os._exit(0)
            os.waitpid(pid, 0)
        assert queue.enqueue("true") == "2"
    assert told == []
