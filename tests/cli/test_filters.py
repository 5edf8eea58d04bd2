"""Filters on the command line: what is listed, changed, shown and exported, and what a wrong one is told."""

from collections.abc import Callable, Iterator

import pytest

from queuectl import Queue, listing
from tests.support.shell import Answer, Shell

Inside = Callable[..., Answer]


@pytest.fixture
def queue(queuectl: Shell) -> Iterator[Queue]:
    with Queue(queuectl.folder / "q.db") as queue:
        for id, exp in (("a", "3"), ("b", "3"), ("c", "4")):
            queue.enqueue(f"echo from {id}", id=id, queue="mail" if id == "b" else "default", tags={"exp": exp})
        yield queue


def states(queue: Queue) -> dict[str, str]:
    return {job.id: job.state for job in queue.jobs()}


def listed(inside: Inside, *words: str) -> list[str]:
    return [job["id"] for job in inside("list", *words, "--json").ok().ndjson]


def test_words_of_a_list_are_one_filter(queue: Queue, inside: Inside):
    assert listed(inside, "tag:exp=3") == ["a", "b"]
    assert listed(inside, "tag:exp=3", "-queue:mail") == ["a"]
    assert listed(inside, "-queue:mail tag:exp") == ["a", "c"]
    assert listed(inside, "tag:exp=3", "--queue", "mail") == ["b"]
    assert listed(inside, "-exp=4", "--limit", "1") == ["a"]
    assert listed(inside, "--tag", "exp=3", "-queue:mail") == ["a"]
    assert listed(inside, "--tag", "exp") == ["a", "b", "c"]
    assert inside("list", "--tag", "=3").refused(2) == "--tag: '=3' has no key; write KEY or KEY=VALUE"
    queue.cancel("a")
    assert listed(inside, "tag:exp=3", "state:pending", "--at", f"seq:{queue.status().seq - 1}") == ["a", "b"]
    answer = inside("list", "tag:none").ok()
    assert (answer.out, answer.err) == ("", "queuectl: no job matches\n")


@pytest.mark.parametrize(
    "words, told",
    [
        (["list", "stat:dead"], "filter: unknown key 'stat' at 1 (did you mean 'state'?)"),
        (["list", "a", "exit:x"], "filter: exit at 8: 'x' is not a whole number from 0 to 255"),
        (["cancel", "--where", "stat:dead"], "filter: unknown key 'stat' at 1 (did you mean 'state'?)"),
        (["dlq", "list", "--where", 'a "b'], "filter: a quote is not closed at 3"),
        (["export", "--where", "until:soon", "-o", "x"], "filter: until at 7: 'soon' is not a past moment"),
        (["export", "--what", "jobs", "--format", "csv", "--where", "stat:dead"], "filter: unknown key 'stat' at 1"),
        (["logs", "--where", "-"], "filter: nothing stands behind '-' at 1"),
        (["logs", "a", "--where", "b"], "give IDs or --where, not both"),
        (["cancel", "a", "--where", "b"], "give IDs or --all, --where, --state or --queue, not both"),
        (["retry", "--where", "state:dead,pending"], "--where: retry is for jobs that are dead, cancelled, completed"),
        (["list", "--jsn"], "list has no option --jsn (did you mean '--json'?)"),
        (["list", "-q", "mail"], "list has no option -q (did you mean '--queue'?)"),
    ],
)
def test_a_wrong_filter_is_one_line(queue: Queue, inside: Inside, words: list[str], told: str):
    answer = inside(*words)
    assert answer.refused(2).startswith(told)
    assert answer.out == ""
    assert set(states(queue).values()) == {"pending"}


def test_a_short_list_says_that_more_is_found(queue: Queue, inside: Inside, monkeypatch: pytest.MonkeyPatch):
    queue.cancel(*states(queue))
    monkeypatch.setattr(listing, "MOST_ENDED", 1)
    assert inside("list", "tag:exp=3").ok().lines[-1] == "… more (--all)"
    assert inside("list", "tag:exp=4").ok().lines[-1].startswith("c ")
    assert inside("list", "-queue:mail", "state:cancelled").ok().lines[-1] == "… more (--all)"


def test_changes_are_of_what_is_found(queue: Queue, inside: Inside):
    assert inside("hold", "--where", "tag:exp=3").ok().out == "a  held\nb  held\n"
    assert inside("release", "--where", "tag:exp=3 -queue:mail").ok().out == "a  pending\n"
    assert inside("cancel", "--where", "tag:exp=3", "--queue", "mail").ok().out == "b  cancelled\n"
    assert inside("cancel", "--where", "-tag:exp=3").ok().out == "c  cancelled\n"
    assert inside("retry", "--where", "tag:exp=4", "--tag", "again").ok().out == "c  pending\n"
    assert listed(inside, "again") == ["c"]
    assert inside("suspend", "--where", "exp").ok().err == "queuectl: no job matches\n"
    assert states(queue) == {"a": "pending", "b": "cancelled", "c": "pending"}


def test_a_filter_may_name_other_states(queue: Queue, queuectl: Shell, inside: Inside):
    queuectl.drain()
    assert inside("retry", "--where", "exp=3").ok().err == "queuectl: no job matches\n", "these have completed"
    assert inside("retry", "--where", "exp=3 state:completed").ok().out == "a  pending\nb  pending\n"


def test_dead_jobs_are_found(queue: Queue, queuectl: Shell, inside: Inside):
    for id in ("x", "y"):
        queuectl("enqueue", "--id", id, "--tag", id, "--max-retries", "0", "exit 137").ok()
    queuectl.drain()
    found = [job["id"] for job in inside("dlq", "list", "--where", "tag:x exit:137", "--json").ok().ndjson]
    assert found == ["x"]
    assert inside("dlq", "purge", "--where", "-tag:x").ok().out == "y  purged\n"
    assert inside("dlq", "retry", "--where", "exit:137").ok().out == "x  pending\n"


def test_outputs_and_exports_are_of_what_is_found(queue: Queue, queuectl: Shell, inside: Inside):
    queuectl.drain()
    assert sorted(inside("logs", "--where", "tag:exp=3").ok().out.splitlines()) == ["a | from a", "b | from b"]
    assert inside("logs", "--where", "none").ok().err == "queuectl: no job matches\n"

    def exported(*words: str) -> list[str]:
        return [each.get("stream") or each.get("job") or each["id"] for each in inside("export", *words).ok().ndjson]

    assert exported("--what", "jobs", "--where", "tag:exp=3 -queue:mail") == ["a"]
    assert exported("--what", "attempts", "--where", "tag:exp=3") == ["a", "b"]
    assert exported("--where", "tag:exp=4", "--type", "completed") == ["job:c"]
    assert exported("--what", "jobs", "--where", "tag:exp=4", "--job", "a") == []
