"""Notes: what a command, or a person, leaves in the history of a job."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from queuectl import Queue
from queuectl.decisions import Lease
from queuectl.decisions.job import MOST_NOTES
from queuectl.errors import Invalid, NotFound, Refused
from queuectl.units import Then
from tests.support.engine_actions import claim, report
from tests.support.shell import Answer, Shell

NOTE = f"{sys.executable} -m queuectl note"


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    """One job that runs."""
    with Queue(tmp_path / "q.db", actor="cli:ann@lab") as queue:
        queue.enqueue("train", id="a", backoff_max=0.0)
        yield queue


@pytest.fixture
def attempt(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> Lease:
    """The first attempt of the job: this process is inside of it."""
    [(_, lease)] = claim(queue.engine, "w", 1)
    for name, value in {"DB": queue.url, "JOB_ID": "a", "ATTEMPT": "1"}.items():
        monkeypatch.setenv(f"QUEUECTL_{name}", value)
    return lease


def texts(queue: Queue, id: str = "a") -> list[tuple[int | None, str, str]]:
    return [(note.attempt, note.noted_by, note.text) for note in queue.notes(id)]


def test_a_command_notes_something_of_its_job(queuectl: Shell):
    queuectl("enqueue", "--id", "a", "--", "sh", "-c", f"{NOTE} epoch 4; {NOTE} 'two\nlines'").ok()
    queuectl.drain()
    document = queuectl("inspect", "a", "--json").ok().json
    assert [(note["attempt"], note["text"]) for note in document["notes"]] == [(1, "epoch 4"), (1, "two\nlines")]
    assert document["attempts"][0]["outcome"] == "completed"
    assert "attempt 1: two\\nlines\n" in queuectl("inspect", "a").ok().out
    assert "note: epoch 4 · cli:" in queuectl("inspect", "a", "--events").ok().out
    assert queuectl("replay", "--check").ok()


def test_a_person_names_the_job(queuectl: Shell):
    queuectl("enqueue", "--id", "a", "true").ok()
    answer = queuectl("note", "--job", "a", "look", "at", "this").ok()
    assert (answer.out, answer.err) == ("", "")
    [event] = queuectl("events", "--type", "noted", "--json").ok().ndjson
    assert event["data"] == {"text": "look at this"}
    queuectl.drain()
    assert queuectl("inspect", "a", "--json").ok().json["state"] == "completed"


@pytest.mark.parametrize(
    "words, code, told",
    [
        (["x"], 2, "note: this is not inside a job of this queue: name the job that it is about (--job ID)"),
        ([], 2, "note: say what is to be noted"),
        (["--job", "a", " "], 2, "note: is empty"),
        (["--job", "a", "x" * 1001], 2, "note: is 1,001 characters long; at most 1,000"),
        (["--job", "b", "x"], 1, "no job 'b'"),
    ],
)
def test_what_can_not_be_noted(queue: Queue, inside: Callable[..., Answer], words: list[str], code: int, told: str):
    assert inside("note", *words).refused(code).startswith(told)
    assert texts(queue) == []


def test_a_job_of_another_queue_is_not_meant(queue: Queue, attempt: Lease, tmp_path: Path):
    with Queue(tmp_path / "other.db") as other:
        other.enqueue("true", id="a")
        with pytest.raises(Invalid, match="not inside a job of this queue"):
            other.note("x")


def test_an_attempt_that_is_over_notes_nothing(queue: Queue, attempt: Lease):
    queue.note("in time")
    report(queue.engine, attempt, "exit", exit_code=1)
    with pytest.raises(Refused, match="attempt 1 of job a is over"):
        queue.note("between two attempts")
    claim(queue.engine, "w2", 1)
    with pytest.raises(Refused, match="attempt 1 of job a is over"):
        queue.note("beside the second")
    assert texts(queue) == [(1, "cli:ann@lab", "in time")]


def test_there_are_a_hundred_of_an_attempt(
    queue: Queue, attempt: Lease, inside: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
):
    for number in range(MOST_NOTES):
        queue.note(f"note {number}")
    assert inside("note", "x").refused(3).startswith("job a has 100 notes of attempt 1, the most there can be")
    queue.note("from outside", "a")
    report(queue.engine, attempt, "exit", exit_code=1)
    claim(queue.engine, "w", 1)
    monkeypatch.setenv("QUEUECTL_ATTEMPT", "2")
    queue.note("the second has its own")
    assert len(queue.notes("a")) == MOST_NOTES + 2
    assert queue.check() == []


def test_words_of_a_filter_find_notes(queue: Queue, attempt: Lease):
    queue.enqueue("true", id="b")
    queue.note("Loss 0.31")
    then = Then(seq=queue.status().seq)
    queue.note("loss of b", "b")
    assert [job.id for job in queue.jobs(where="loss")] == ["a", "b"]
    assert [job.id for job in queue.jobs(where='"loss 0.31"')] == ["a"]
    assert [job.id for job in queue.jobs(where="-loss")] == []
    assert [job.id for job in queue.jobs(where="loss", then=then)] == ["a"]


def test_notes_stay_as_they_were_then(queue: Queue, attempt: Lease, inside: Callable[..., Answer]):
    queue.note("first")
    queue.note("second")
    then = inside("inspect", "a", "--json", "--version", "3").ok().json
    assert [note["text"] for note in then["notes"]] == ["first"]


def test_the_last_notes_are_shown(queue: Queue, attempt: Lease, inside: Callable[..., Answer]):
    for number in range(12):
        queue.note(f"note {number}")
    shown = inside("inspect", "a").ok().out
    assert "its notes, the last 10 of 12\n" in shown
    assert "note 1\n" not in shown
    assert "note 2\n" in shown


def test_notes_go_with_their_job(queue: Queue, attempt: Lease):
    queue.note("x")
    report(queue.engine, attempt, exit_code=0)
    queue.note("afterwards", "a")
    queue.purge("a")
    assert texts(queue) == []
    with pytest.raises(NotFound, match="purged"):
        queue.note("gone", "a")
    assert queue.check() == []


def test_a_note_does_not_make_a_report_fail(queuectl: Shell):
    """It moves the stream on, between the claim and the report of the same worker."""
    queuectl("enqueue", "--max-retries", "0", f"{NOTE} a && {NOTE} b && exit 7").ok()
    queuectl.drain()
    types = [event["type"] for event in queuectl("events", "--job", "1", "--json").ok().ndjson]
    assert types == ["enqueued", "claimed", "noted", "noted", "failed", "dead"]


@pytest.mark.parametrize("data", ['{"text":""}', '{"text":"x","attempt":0}'])
def test_a_log_with_a_wrong_note_is_refused(queuectl: Shell, data: str):
    queuectl("enqueue", "--id", "a", "true").ok()
    queuectl("note", "--job", "a", "right").ok()
    log = queuectl("export").ok().out
    (queuectl.folder / "log.ndjson").write_text(log.replace('{"text":"right"}', data))
    assert "(noted of 'job:a')" in queuectl("import", "log.ndjson", "--db", "copy.db").refused(2)
