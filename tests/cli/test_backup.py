"""`backup`, `import` and `replay --into` as a user types them."""

import os
import subprocess
import sys

import pytest

from tests.support.shell import Shell

TOLD_TO_END = """
import os, signal, sys
from queuectl.audit import import_log
from queuectl.cli import main
def told(*_, **__):
    signal.raise_signal(int(sys.argv[1]))
import_log.contents = told
synced = os.fsync
def fsync(fd):
    if ".part" in os.readlink(f"/proc/self/fd/{fd}"):
        told()
    synced(fd)
os.fsync = fsync
sys.exit(main(sys.argv[2:]))
"""


def test_an_exported_log_is_imported_unchanged(queuectl: Shell):
    queuectl("enqueue", "--id", "one", "true").ok()
    queuectl("export", "-o", "log.ndjson").ok()
    answer = queuectl("import", "--db", "other.db", "log.ndjson").ok()
    assert answer.out == "took in 1 event\n"
    assert queuectl("inspect", "one", "--db", "other.db", "--json").ok().json["state"] == "pending"
    assert queuectl("backup", "copy.db", "--json").ok().json["file"] == "copy.db"
    assert queuectl("status", "--db", "copy.db").ok().json["total"] == 1
    assert queuectl("replay", "--into", "anew.db", "--json").ok().json == {"events": 1}
    assert queuectl("export", "--db", "anew.db").ok().out == queuectl("export").ok().out


def test_a_refusal_is_one_line(queuectl: Shell):
    queuectl("enqueue", "true").ok()
    assert queuectl("import", "missing").code == 2
    for words in (["backup"], ["import"]):
        said = queuectl(*words)
        assert (said.code, said.err) == (2, f"queuectl: {words[0]} needs a FILE; see queuectl {words[0]} --help\n")
    queuectl("export", "-o", "log.ndjson").ok()
    refused = queuectl("import", "log.ndjson")
    assert (refused.code, refused.err) == (3, "queuectl: there is a log here already: name a new database with --db\n")
    assert queuectl("replay", "--into", "new.db", "counts").code == 2
    assert queuectl("replay", "--into", "new.db", "--check").code == 2


@pytest.mark.parametrize("words", [["backup", "new"], ["export", "-o", "new"], ["replay", "--into", "new"],
                                   ["import", "--db", "new", "q.db"]])  # fmt: skip
@pytest.mark.parametrize("signal", [15, 1])
def test_a_terminated_command_leaves_no_partial_file(queuectl: Shell, words: list[str], signal: int):
    queuectl("enqueue", "true").ok()
    there = sorted(os.listdir(queuectl.folder))
    done = subprocess.run(
        [sys.executable, "-c", TOLD_TO_END, str(signal), *words], cwd=queuectl.folder, env=queuectl.env, check=False,
        timeout=30,
    )  # fmt: skip
    assert done.returncode == 128 + signal
    assert sorted(os.listdir(queuectl.folder)) == there
