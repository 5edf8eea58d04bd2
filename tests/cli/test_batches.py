"""`--batch` and `--halt`: what the commands say of batches, with real jobs."""

import pytest

from tests.support.shell import Shell

FILE = b"echo one\nexit 3\necho three\n"


@pytest.fixture
def shell(queuectl: Shell) -> Shell:
    queuectl("enqueue", "--batch", "b", "--max-retries", "0", "--file", "-", stdin=FILE).ok()
    return queuectl


def test_a_batch_is_run_waited_for_and_repaired(shell: Shell) -> None:
    assert shell("worker", "start", "--drain").ok().out == ""
    answer = shell("wait", "--batch", "b")
    assert (answer.code, answer.err) == (1, "queuectl: batch b: 2 completed, 1 dead (2)\n")
    assert [job["id"] for job in shell("wait", "--batch", "b", "--json").ndjson] == ["1", "2", "3"]
    assert sorted(shell("logs", "--batch", "b").out.splitlines()) == ["1 | one", "3 | three"]
    assert shell("retry", "--batch", "b", "--command", "echo two").ok().out == "2  pending\n"
    assert shell("worker", "start", "--drain").ok().out == ""
    answer = shell("wait", "--batch", "b").ok()
    assert answer.err == "queuectl: batch b: 3 completed\n"
    answer = shell("retry", "--batch", "b").ok()
    assert (answer.out, answer.err) == (
        "",
        "queuectl: batch b: nothing that is dead or was cancelled by its halt can run again\n",
    )


def test_lists_and_counts_are_of_the_batch(shell: Shell) -> None:
    shell("enqueue", "true").ok()
    assert [job["id"] for job in shell("list", "--batch", "b", "--json").ndjson] == ["1", "2", "3"]
    found = shell("status", "--batch", "b").json
    assert (found["pending"], found["total"], found["batch"]["batch"]) == (3, 3, "b")
    [batch] = shell("batch", "list", "--json").ndjson
    assert batch == found["batch"]
    assert shell("inspect", "1", "--json").json["batch"] == "b"


def test_a_halt_is_told(shell: Shell) -> None:
    shell("enqueue", "--batch", "h", "--halt", "soon,fail=1", "--max-retries", "0", "--file", "-", stdin=FILE).ok()
    assert shell("worker", "start", "--drain").ok().out == ""
    answer = shell("wait", "--batch", "h")
    assert (answer.code, answer.err) == (
        1, "queuectl: batch h: 1 completed, 1 dead (5), 1 cancelled (6), halted by soon,fail=1\n",
    )  # fmt: skip
    assert "its batch h was halted" in shell("list", "--batch", "h", "--state", "cancelled").out
    assert "batch h halted by soon,fail=1: of 3 jobs 1 completed, 1 dead, 0 cancelled" in shell("events").out
    assert shell("enqueue", "--batch", "h", "true").refused(3).startswith("batch h is halted (soon,fail=1)")
    shell("archive", "--older-than", "0s", "-o", "old.gz").ok()
    told = "queuectl: batch h: 1 completed, 1 dead, 1 cancelled, halted by soon,fail=1\n"
    assert shell("wait", "--batch", "h").err == told


def test_what_waits_for_a_person_is_told(shell: Shell) -> None:
    shell("hold", "1", "2", "3").ok()
    answer = shell("wait", "--batch", "b", "--timeout", "5s")
    assert (answer.code, answer.err) == (1, "queuectl: batch b: 3 wait for a person: queuectl explain\n")


def test_a_graph_shows_the_batch_as_one(shell: Shell) -> None:
    shell("enqueue", "--id", "last", "--after", "batch:b", "true").ok()
    assert shell("graph").ok().out == "batch:b  pending  0 of 3 jobs ended\n└ last  blocked  true\n"
    assert shell("graph", "2").ok().lines[1].startswith("└ batch:b")
    assert [node["id"] for node in shell("graph", "--json").ndjson] == ["batch:b", "last"]
    assert '"batch:b" -> "last"' in shell("graph", "--dot").out


@pytest.mark.parametrize(
    "words, code, told",
    [
        (["enqueue", "--halt", "soon,fail=1", "true"], 2, "halt: is the rule of a batch: give --batch NAME as well"),
        (["enqueue", "--batch", "n", "--halt", "often", "true"], 2, "--halt: 'often' is no rule; write soon,fail=3"),
        (["enqueue", "--batch", "b", "--halt", "now,fail=1", "true"], 3, "batch b was opened without a rule"),
        (["enqueue", "--batch", "a,b", "true"], 2, "--batch: 'a,b' has a space or a comma in it"),
        (["enqueue", "--id", "batch:b", "true"], 2, "--id: 'batch:b' would be taken for a batch"),
        (["enqueue", "--after", "batch:none", "true"], 2, "after: there is no batch 'none'"),
        (["wait", "--batch", "none"], 1, "no batch 'none'; see `queuectl batch list`"),
        (["wait", "1", "--batch", "b"], 2, "give IDs or --batch, not both"),
        (["list", "--batch", "none"], 1, "no batch 'none'"),
        (["status", "--batch", "none"], 1, "no batch 'none'"),
        (["status", "--batch", "b", "--at", "-1s"], 2, "--batch: shows a batch as it is"),
        (["retry", "--batch", "none"], 1, "no batch 'none'"),
        (["retry", "--batch", "b", "--all"], 2, "--batch: names the jobs; give nothing else that selects some"),
        (["logs", "--batch", "none"], 1, "no batch 'none'"),
    ],
)
def test_what_can_not_be_changes_nothing(shell: Shell, words: list[str], code: int, told: str) -> None:
    before = shell("events", "--json").out
    assert shell(*words).refused(code).startswith(told)
    assert shell("events", "--json").out == before
