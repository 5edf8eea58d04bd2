"""The commands of docs/guides/moving-house.md, as a user types them, and what they refuse."""

import re
import shlex

from tests.support.paths import ROOT
from tests.support.shell import Shell

GUIDE = ROOT / "docs" / "guides" / "moving-house.md"
THERE = "postgresql://queue@db.example/jobs"
"""The queue in PostgreSQL, as the guide calls it."""


def commands(url: str) -> list[list[str]]:
    """What the guide says, in order, of a queue at this URL."""
    blocks = re.findall(r"^```sh\n(.*?)^```", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    lines = "".join(blocks).replace(THERE, url).splitlines()
    return [shlex.split(line)[1:] for line in lines if " worker start " not in line]


def test_the_guides_commands_move_a_queue(queuectl: Shell, postgres_url: str) -> None:
    queuectl("enqueue", "echo $TOKEN", "--id", "hidden", "--secret", "TOKEN=x").ok()
    queuectl("enqueue", "true").ok()
    queuectl("audit", "seal").ok()
    log, sealed = queuectl("export").ok().out, queuectl("audit", "verify", "--json").ok().json
    said = {" ".join(words[:2]): queuectl(*words).ok() for words in commands(postgres_url)}
    assert said["replay --check"].out == "the tables say what the log says\n"
    for name in (postgres_url, "back.db", "copy.db", "other.db"):
        assert queuectl("export", "--db", name).ok().out == log
        assert queuectl("audit", "verify", "--json", "--db", name).ok().json == sealed
    for name in ("back.db", "copy.db"):
        queuectl("worker", "start", "--drain", "--db", name).ok()
        assert queuectl("logs", "hidden", "--db", name).ok().out == "x\n"


def test_secrets_stay_behind_unless_asked_for(queuectl: Shell, postgres_url: str) -> None:
    queuectl("enqueue", "echo $TOKEN", "--id", "hidden", "--secret", "TOKEN=x").ok()
    queuectl("import", "--db", postgres_url, "q.db").ok()
    queuectl("import", "--db", "back.db", "--with-secrets", postgres_url).ok()
    queuectl("worker", "start", "--drain", "--db", "back.db").ok()
    assert queuectl("inspect", "hidden", "--db", "back.db", "--json").ok().json["state"] == "dead"


def test_what_can_not_move_is_refused(queuectl: Shell, postgres_url: str) -> None:
    queuectl("enqueue", "true").ok()
    queuectl("export", "-o", "log.ndjson").ok()
    assert "is the queue itself" in queuectl("import", "q.db").refused(2)
    assert "is for a queue" in queuectl("import", "--db", "new.db", "--with-secrets", "log.ndjson").refused(2)
    assert "there is no queue" in queuectl("import", "--db", "new.db", postgres_url).refused(4)
    queuectl("import", "--db", postgres_url, "q.db").ok()
    assert "is the queue itself" in queuectl("import", "--db", postgres_url, postgres_url).refused(2)
    assert "there is a log here already" in queuectl("import", "--db", postgres_url, "q.db").refused(3)
    assert sorted(path.name for path in queuectl.folder.glob("new.db*")) == []


def test_a_log_that_is_refused_leaves_no_queue(queuectl: Shell, postgres_url: str) -> None:
    (queuectl.folder / "bad").write_text("nothing\n")
    for name in (postgres_url, "new.db"):
        assert "nothing was taken in" in queuectl("import", "--db", name, "bad").refused(2)
        assert "there is no" in queuectl("status", "--db", name).refused(4)
