"""`stats` and `simulate` on the command line: a document for programs, a page for people."""

from collections.abc import Callable

import pytest

from tests.support.shell import Answer, Shell


@pytest.fixture(scope="module")
def used(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A queue in which something has happened; only asked, never changed."""
    queuectl = Shell(tmp_path_factory.mktemp("used"))
    queuectl("enqueue", "--file", "-", stdin=b"true\nexit 0\n" * 3).ok()
    queuectl("enqueue", "--id", "bad", "--queue", "mail", "--max-retries", "1", "--backoff-base", "1", "exit 3").ok()
    queuectl.drain()
    return queuectl


def test_stats_is_one_document(used: Shell):
    answer = used("stats", "--json").ok().json
    assert list(answer) == [
        "as_of", "since", "until", "queue", "totals", "per_day", "per_hour", "busiest_hours", "waiting", "queues",
        "commands", "slowest", "flakiest", "archived",
    ]  # fmt: skip
    assert answer["as_of"] == used("status", "--json").json["as_of"]
    totals = {name: answer["totals"][name] for name in ("enqueued", "attempts", "completed", "failed", "dead")}
    assert totals == {"enqueued": 7, "attempts": 8, "completed": 6, "failed": 2, "dead": 1}
    assert answer["totals"]["first_at"].endswith("Z")
    [default, mail] = answer["queues"]
    assert (default["queue"], default["failure_rate"], mail["failure_rate"], mail["retry_rate"]) == (
        "default",
        0,
        1,
        0.5,
    )
    assert 0 < default["p50"] <= default["p95"] <= default["p99"] <= default["longest"] < 60
    assert all(0 <= row["p50"] < 60 for row in answer["waiting"])
    assert used("stats", "--json", "--queue", "mail").ok().json["totals"]["enqueued"] == 1
    assert used("stats", "--json", "--since", "2099-01-01").ok().json["totals"]["enqueued"] == 0


def test_stats_has_a_page_of_tables(used: Shell):
    page = used("stats").ok().out
    for words in ("7 enqueued, 6 completed, 1 dead", "Throughput by hour", "busiest: ", "Waiting", "100.0 %", "exit 3"):
        assert words in page
    assert "Flakiest" not in page, "nothing both failed and completed"


def test_the_pages_fit_the_terminal(queuectl: Shell, terminal: Callable[..., str]):
    queuectl("enqueue", "--max-retries", "0", "echo " + "x" * 300 + "; exit 1").ok()
    queuectl("enqueue", "true").ok()
    queuectl.drain()
    for words in (["stats"], ["simulate", "--max-retries", "5", "--backoff-base", "3", "--backoff-max", "2h"]):
        for columns in (80, 120):
            shown = terminal(*words, columns=columns, NO_COLOR="1").splitlines()
            assert len(shown) > 10
            assert max(map(len, shown)) <= columns, words


def test_stats_of_an_empty_log_is_one_line(queuectl: Shell):
    queuectl.make()
    assert queuectl("stats").ok().out == "nothing has happened yet\n"
    assert queuectl("stats", "--json").ok().json["totals"]["first_at"] is None
    nothing = "no job has failed: any retry policy would have done the same\n"
    assert queuectl("simulate", "--max-retries", "1").ok().out == nothing
    queuectl("enqueue", "true").ok()
    assert queuectl("stats", "--queue", "x").ok().out == "nothing happened to jobs of queue 'x'\n"
    assert queuectl("stats", "--until", "2001-01-01").ok().out == "nothing happened in that time\n"


def test_simulate_prints_changes_and_assumptions(used: Shell):
    answer = used("simulate", "--max-retries", "0", "--json").ok().json
    assert answer["policy"] == {
        "backoff_base": None, "backoff_max": None, "backoff": None, "max_retries": 0, "ok_codes": None,
        "no_retry_codes": None, "jitter": 0,
    }  # fmt: skip
    assert (answer["jobs"], answer["given_up_dead"], answer["retries_saved"], answer["waiting_saved"]) == (1, 1, 1, 1)
    assert answer["rescued"] == {"least": 0, "estimate": 0, "most": 0}
    assert len(answer["assumptions"]) == 5
    assert "base^n seconds" in used("simulate", "--backoff", "none").ok().out
    tried = used("simulate", "--ok-codes", "3", "--no-retry-codes", "64,78").ok().out
    assert "policy  exit codes 0,3 succeed, exit codes 64,78 not retried; else as each job had it\n" in tried
    assert "succeeded earlier   1: 0 that completed later, 1 that died\n" in tried
    assert "1s, then 5s after each failure" in used("simulate", "--backoff", "1s,5s").ok().out
    page = used("simulate", "--max-retries", "3", "--since", "1d").ok().out
    assert "1 dead, of which about 0 (0 to 1) would have completed" in page
    for sentence in answer["assumptions"]:
        assert sentence.split()[0] in page.partition("What this assumes")[2]


@pytest.mark.parametrize(
    "words, told",
    [
        ("stats --limit 0", "--limit"), ("stats --since yesterday", "--since"), ("stats --queue -", "--queue"),
        ("stats --since 1h --until 2h", "--since is later than --until"), ("simulate", "--max-retries"),
        ("simulate --max-retries -1", "--max-retries"), ("simulate --backoff-base 0.5", "--backoff-base"),
        ("simulate --backoff-max soon", "--backoff-max"), ("simulate --no-retry-codes 0", "--no-retry-codes"),
        ("simulate --ok-codes 3 --no-retry-codes 3", "exit code 3 is among ok-codes and among no-retry-codes"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named(inside: Callable[..., Answer], words: str, told: str):
    assert told in inside(*words.split()).refused(2)
