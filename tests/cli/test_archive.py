"""`archive` as a user types it, and what is said of a job that has gone."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.shell import Answer, Shell


@pytest.fixture
def lived(queuectl: Shell) -> Shell:
    """Two jobs ran, one waits."""
    (queuectl.folder / "jobs").write_text("echo one\n" + '{"id": "named", "command": "exit 3", "max_retries": 0}\n')
    queuectl("enqueue", "--file", "jobs").ok()
    queuectl.drain()
    queuectl("enqueue", "true").ok()
    return queuectl


def test_an_archived_job_is_inspected_in_its_file(lived: Shell, inside: Callable[..., Answer]):
    shown, history = (inside("inspect", "named", "--json", *words).ok() for words in ([], ["--events"]))
    status = inside("status", "--json").ok().json
    assert inside("archive", "--older-than", "1h", "-o", "a.gz").ok().out == "nothing is old enough\n"
    assert not (lived.folder / "a.gz").exists()
    dry = inside("archive", "--older-than", "0", "--dry-run").ok().out
    assert dry == "there are 2 jobs and 1 worker, 9 events, to archive\n"
    assert inside("status", "--json").ok().json["total"] == 3

    done = inside("archive", "--older-than", "0", "-o", "a.gz", "--json").ok().json

    file = str(lived.folder / "a.gz")
    size = Path(file).stat().st_size
    assert done == {"file": file, "bytes": size, "jobs": 2, "workers": 1, "events": 9, "stayed": 0, "more": 0}
    words = f"archived 0 jobs and 0 workers, 0 events, in {file}"
    assert inside("archive", "--older-than", "0", "-o", "a.gz").ok().out.startswith(words)
    assert inside("status").ok().json["total"] == 1
    then = inside("status", "--json", "--at", f"seq:{status['as_of']['seq']}").ok().json
    assert then == {key: value for key, value in status.items() if not key.startswith("disk")}

    told = f"job 'named' was archived in {file}; its history: `queuectl inspect named --events --archive {file}`"
    for command in (["inspect"], ["inspect", "--at", "-1m"], ["logs"], ["retry"], ["cancel"], ["events", "--job"]):
        assert inside(*command, "named").refused(1) == told
    assert "of these jobs were archived since, in " + file in inside("list", "--at", "seq:2").refused(1)
    assert inside("inspect", "named", "--json", "--archive", "a.gz").ok().json == shown.json
    assert inside("inspect", "named", "--events", "--json", "--archive", "a.gz").ok().out == history.out
    assert inside("inspect", "named", "--version", "1", "--json", "--archive", "a.gz").ok().json["state"] == "pending"
    assert "exit 3" in inside("inspect", "named", "--archive", "a.gz").ok().out
    assert inside("inspect", "3", "--archive", "a.gz").refused(1) == "no job '3' in a.gz"
    assert inside("doctor", "--json").ok().json["healthy"]


def test_an_archive_is_imported_from_a_pipe(lived: Shell):
    lived("archive", "--older-than", "0", "-o", "a.gz", "--state", "dead").ok()
    packed = (lived.folder / "a.gz").read_bytes()
    assert lived("import", "--db", "old.db", "-", stdin=packed).ok().out == "took in 4 events\n"
    assert [job["id"] for job in lived("list", "--db", "old.db", "--json").ok().ndjson] == ["named"]
    cut = lived("import", "--db", "new.db", "-", stdin=packed[:-9])
    assert ": what follows is cut off or damaged" in cut.refused(2)
    assert list(lived.folder.glob("new.db*")) == []


def test_a_refusal_is_one_line(lived: Shell, inside: Callable[..., Answer]):
    mistakes = [
        ("-o a.gz", 2, "--older-than needs a value"),
        ("--older-than 30d", 2, "archive needs -o FILE; see queuectl archive --help"),
        ("--older-than soon -o a.gz", 2, "--older-than: 'soon' is not a duration"),
        ("--older-than 0 -o a.gz --state pending", 2, "is not a state in which a job is over"),
        ("--older-than 0 -o q.db", 2, "is the queue itself: name another file"),
        ("--older-than 0 -o jobs", 1, "jobs exists, and is no archive of this queue"),
        ("--older-than 0 -o no/a.gz", 1, "no/a.gz: No such file or directory; nothing was written"),
    ]
    for words, code, told in mistakes:
        assert told in inside("archive", *words.split()).refused(code)
    assert inside("status").ok().json["total"] == 3
