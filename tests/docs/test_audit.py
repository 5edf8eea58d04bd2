"""docs/guides/audit.md tells the truth: its program, which knows nothing of ours, finds what `audit verify` finds."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from queuectl import Queue
from queuectl.audit.archive import archive
from queuectl.audit.backup import backup
from queuectl.audit.seal import seal
from queuectl.clock import SECOND, now
from tests.support.paths import ROOT
from tests.support.tampering import findings, tamper, twice_sealed

DOC = (ROOT / "docs" / "guides" / "audit.md").read_text(encoding="utf-8")
[PROGRAM] = re.findall(r"```python\n(.*?)```", DOC, re.DOTALL)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A backup of a queue with seals and an archive."""
    twice_sealed(tmp_path / "q.db")
    with Queue(tmp_path / "q.db") as queue:
        queue.enqueue("echo 'Grüße, 世界'", id="wörld", reason="\\ \u2028 \x01")
        queue.cancel("1", "2")
        archive(queue, str(tmp_path / "old.gz"), now() + SECOND)
        seal(queue)
        backup(queue, str(tmp_path / "copy.db"))
    return tmp_path / "copy.db"


def check(copy: Path, *anchors: str) -> tuple[int, list[str]]:
    """What the program says, and its exit code."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(copy), *anchors], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.stderr == ""
    return done.returncode, done.stdout.splitlines()


def test_the_program_finds_nothing_wrong_where_nothing_is(copy: Path) -> None:
    assert check(copy) == (0, ["4 seals, nothing is wrong"])
    with Queue(copy) as queue:
        anchor = seal(queue).anchor
    assert check(copy, anchor) == (0, ["4 seals, nothing is wrong"])
    upto = anchor.partition(":")[0]
    assert check(copy, f"{upto}:{'0' * 64}") == (1, [f"the log up to event {upto} is not what was sealed"])


@pytest.mark.parametrize(
    "statement, said, found",
    [
        ("update events set at = at + 1 where seq = 3", "event 3 is not what was sealed", "event 3 (enqueued"),
        ("update leaves set hash = zeroblob(32) where seq = 3", "event 3 is not what was sealed",
         "the leaf of event 3"),
        ("delete from leaves where seq = 3", "event 3 was put in", "the leaf of event 3"),
        ("update events set data = replace(data, 'hash\":\"', 'hash\":\"0') where seq = 12",
         "event 12 is not what was sealed", "the seal in event 12"),
    ],
)  # fmt: skip
def test_it_finds_what_verify_finds(copy: Path, statement: str, said: str, found: str) -> None:
    tamper(copy, statement)
    code, lines = check(copy)
    assert (code, said in lines) == (1, True)
    assert any(what.startswith(found) for _, what in findings(copy))
