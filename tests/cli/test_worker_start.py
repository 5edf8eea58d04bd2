"""`worker start` spawns its first worker before it knows what it is to do."""

import shlex
import subprocess
import sys

import pytest

from tests.support.shell import Answer, Shell

MAIN = "from queuectl.cli import main; sys.exit(main(sys.argv[1:]))"


def _python(queuectl: Shell, code: str, *words: str, shell: str = "") -> Answer:
    line = f"exec {shlex.join([sys.executable, '-c', code, *words])} {shell}"
    done = subprocess.run(
        ["/bin/sh", "-c", line], cwd=queuectl.folder, env=queuectl.env, capture_output=True, check=False, timeout=60
    )
    return Answer(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    "words, code, told",
    [
        (("--bla",), 2, "worker start has no option --bla"),
        (("--slots", "0"), 2, "--slots: '0'"),
        (("--max-load", "0"), 2, "--max-load: '0' is not a load: a number above 0"),
        (("--max-load", "-1"), 2, "--max-load: '-1' is not a load"),
        (("--min-free-memory", "0"), 2, "--min-free-memory: '0' is not a size above 0 up to the "),
        (("--min-free-memory", "900T"), 2, "that this machine has"),
        (("--min-free-memory", "much"), 2, "--min-free-memory: 'much' is not a size"),
        (("--db", "text"), 4, "text: is not a SQLite database"),
    ],
)
def test_a_refused_start_leaves_nothing(queuectl: Shell, words: tuple[str, ...], code: int, told: str):
    (queuectl.folder / "text").write_text("no database")
    orphans = (  # adopted, they would be children of this process
        "import os, sys; from queuectl.host.subreaper import become_subreaper; become_subreaper()\n"
        "from queuectl.cli import main; code = main(sys.argv[1:])\n"
        "try: os.waitpid(-1, 0); print('a child is left')\n"
        "except ChildProcessError: sys.exit(code)"
    )
    assert told in _python(queuectl, orphans, "worker", "start", *words).refused(code)
    assert [path.name for path in queuectl.folder.iterdir()] == ["text"]


def test_the_first_worker_is_spawned_before_imports(queuectl: Shell):
    code = (
        "import os, sys; spawn = os.posix_spawn\n"
        "def watched(*words, **options):\n"
        "    print('msgspec' in sys.modules, file=sys.stderr)\n"
        "    return spawn(*words, **options)\n"
        f"os.posix_spawn = watched; {MAIN}"
    )
    queuectl.make()
    done = _python(queuectl, code, "worker", "start", "--drain", "--count", "2").ok()
    assert done.err.splitlines() == ["False", "True"]
    assert len(queuectl("worker", "list", "--all", "--json").ndjson) == 2


def test_no_worker_is_ahead_when_detached(queuectl: Shell):
    code = (
        "import os, sys; spawn = os.posix_spawn\n"
        "def watched(path, words, *more, **options):\n"
        "    print(words[4].partition(':')[0], file=sys.stderr)\n"
        "    return spawn(path, words, *more, **options)\n"
        f"os.posix_spawn = watched; {MAIN}"
    )
    queuectl.make()
    done = _python(queuectl, code, "worker", "start", "--drain", "--detach").ok()
    assert done.err.splitlines()[0] == "supervisor"
    assert len(done.err.splitlines()) == 2


@pytest.mark.parametrize("closed", ["<&-", "<&- >&-", "<&- >&- 2>&-"])
def test_workers_start_with_closed_streams(queuectl: Shell, closed: str):
    queuectl("enqueue", "--id", "one", "true").ok()
    assert _python(queuectl, f"import sys; {MAIN}", "worker", "start", "--drain", shell=closed).ok()
    assert queuectl("inspect", "one", "--json").json["state"] == "completed"
