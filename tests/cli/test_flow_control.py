"""`pause`, `resume`, `queue`, `hold`, `release`, `start`, `explain`: what they do, say and refuse."""

import re
import shlex
import sys
import time

import pytest

from queuectl import Queue
from queuectl.decisions import Release
from queuectl.workers.turn import TurnWriter
from tests.support.shell import Shell


def status(queuectl: Shell) -> dict[str, int]:
    return queuectl("status").ok().json


def reasons(queuectl: Shell, id: str) -> list[str]:
    return [each["kind"] for each in queuectl("explain", id, "--json").ok().ndjson]


def test_a_paused_queue_starts_nothing(queuectl: Shell) -> None:
    queuectl("enqueue", "--queue", "a", "true").ok()
    assert queuectl("pause", "a", "--reason", "lunch").ok().out == "queue a paused\n"
    queuectl("worker", "start", "--drain").ok()
    assert status(queuectl)["pending"] == 1
    [paused] = [each for each in queuectl("queue", "list", "--json").ok().ndjson if each["paused"]]
    assert (paused["queue"], paused["reason"], paused["waiting"]) == ("a", "lunch", 1)
    assert paused["paused_by"].startswith("cli:")
    assert queuectl("resume", "a").ok().out == "queue a resumed\n"
    queuectl("worker", "start", "--drain").ok()
    assert status(queuectl)["completed"] == 1
    types = [event["type"] for event in queuectl("events", "--json").ok().ndjson if event["stream"] == "queue:a"]
    assert types == ["queue_paused", "queue_resumed"]


def test_a_vain_start_is_told(queuectl: Shell) -> None:
    queuectl("enqueue", "true").ok()
    with Queue(queuectl.folder / "q.db") as queue:
        writer = TurnWriter(queue, "w1", (), queue.home.identity())
        writer.start(1)
        [claim] = writer.turn([], [], 1).claims
        writer.turn([], [Release(claim.lease, "can't be started: no memory", repeats=True)], 0)
    said = queuectl("explain", "1").ok().out
    assert "postponed    its start has failed, and the next try is not due\n" in said
    assert re.search(r"because: can't be started: no memory\n +until \d", said)
    assert "frees it: queuectl start 1\n" in said
    assert re.match(r"postponed     1  (now   |\ds ago) +its start has failed", queuectl("explain").ok().lines[1])
    assert re.search(r"could not be started, due in \d+s", queuectl("list").ok().out)
    assert "given back before it started, due again at " in queuectl("inspect", "1", "--events").ok().out
    queuectl("start", "1").ok()
    assert reasons(queuectl, "1") in ([], ["no_worker"])


def test_a_pause_ends_by_itself(queuectl: Shell) -> None:
    queuectl("enqueue", "true").ok()
    assert queuectl("pause", "--for", "1s").ok().out.startswith("all queues paused until ")
    assert reasons(queuectl, "1")[0] == "paused"
    queuectl("worker", "start", "--drain").ok()
    assert status(queuectl)["completed"] == 1


def test_one_queue_is_not_resumed_under_all(queuectl: Shell) -> None:
    queuectl("enqueue", "--queue", "a", "true").ok()
    queuectl("pause").ok()
    assert "`queuectl resume` without a name" in queuectl("resume", "a").refused(3)
    answer = queuectl("resume").ok()
    assert answer.out == "all queues resumed\n"
    again = queuectl("resume").ok()
    assert (again.out, again.err) == ("", "queuectl: all queues were not paused\n")


def test_limits_hold_over_all_workers(queuectl: Shell) -> None:
    queuectl("queue", "set", "a", "--concurrency", "2").ok()
    command = 'echo "$(date +%s%N) 1" >> starts; sleep 0.3; echo "$(date +%s%N) -1" >> starts'
    queuectl("enqueue", "--file", "-", stdin=f'{{"command": {command!a}, "queue": "a"}}\n'.replace("'", '"').encode())
    for _ in range(7):
        queuectl("enqueue", "--queue", "a", command).ok()
    queuectl("worker", "start", "--count", "2", "--slots", "4", "--drain").ok()
    running = most = 0
    for line in sorted((queuectl.folder / "starts").read_text().splitlines()):
        running += int(line.split()[1])
        most = max(most, running)
    assert most == 2


def test_a_rate_spaces_starts(queuectl: Shell) -> None:
    queuectl("queue", "set", "a", "--rate", "5/s", "--burst", "2").ok()
    for _ in range(6):
        queuectl("enqueue", "--queue", "a", "date +%s%N >> starts").ok()
    queuectl("worker", "start", "--count", "2", "--slots", "2", "--drain").ok()
    starts = sorted(int(line) / 1e9 for line in (queuectl.folder / "starts").read_text().splitlines())
    assert len(starts) == 6
    for i in range(6):
        for j in range(i, 6):
            assert j - i + 1 <= 2 + 5 * (starts[j] - starts[i]) + 1


def test_a_death_pauses_its_queue(queuectl: Shell) -> None:
    queuectl("queue", "set", "a", "--pause-on-failure").ok()
    queuectl("enqueue", "--queue", "a", "--max-retries", "0", "--id", "bad", "false").ok()
    queuectl("enqueue", "--queue", "a", "true").ok()
    queuectl("worker", "start", "--drain").ok()
    counts = status(queuectl)
    assert (counts["dead"], counts["pending"]) == (1, 1)
    [paused] = [each for each in queuectl("queue", "list", "--json").ok().ndjson if each["queue"] == "a"]
    assert (paused["paused"], paused["paused_job"]) == (True, "bad")
    events = queuectl("events", "--json").ok().ndjson
    [pause] = [event for event in events if event["type"] == "queue_paused"]
    assert pause["data"] == {"cause": "failure", "job": "bad"}
    [death] = [event for event in events if event["type"] == "dead"]
    assert pause["at"] == death["at"], "in the same transaction"


def test_held_jobs_wait_until_released(queuectl: Shell) -> None:
    queuectl("enqueue", "--hold", "--id", "one", "true").ok()
    queuectl("enqueue", "--id", "two", "true").ok()
    assert queuectl("hold", "two", "--reason", "not yet").ok().out == "two  held\n"
    assert queuectl("hold", "two").ok().out == "", "it was held already"
    assert status(queuectl)["held"] == 2
    queuectl("worker", "start", "--drain").ok()
    assert status(queuectl)["pending"] == 2
    [held] = queuectl("explain", "two", "--json").ok().ndjson[:1]
    assert (held["kind"], held["why"], held["frees"]) == ("held", "not yet", "queuectl release two")
    assert queuectl("release", "--all").ok().lines == ["one  pending", "two  pending"]
    queuectl("worker", "start", "--drain").ok()
    assert (status(queuectl)["completed"], status(queuectl)["held"]) == (2, 0)


def test_start_passes_hold_pause_delay_and_limits(queuectl: Shell) -> None:
    queuectl("queue", "set", "a", "--rate", "1/h").ok()
    queuectl("enqueue", "--queue", "a", "true").ok()
    queuectl("worker", "start", "--drain", "--for", "1s").ok()
    queuectl("enqueue", "--queue", "a", "--hold", "--delay", "1h", "--id", "now", "true").ok()
    queuectl("pause").ok()
    assert reasons(queuectl, "now") == ["held", "paused", "delayed", "rate", "no_worker"]
    assert queuectl("start", "now", "--reason", "urgent").ok().out == "now  starts next\n"
    assert reasons(queuectl, "now") == ["no_worker"]
    assert " next, past pause, hold, delay and limits\n" in queuectl("inspect", "now").ok().out
    queuectl("worker", "start", "--drain").ok()
    assert status(queuectl)["completed"] == 2
    claimed = [event for event in queuectl("inspect", "now", "--events", "--json").ndjson if event["type"] == "claimed"]
    assert claimed[0]["data"]["forced"] is True


def test_explain_sums_up_what_waits(queuectl: Shell) -> None:
    queuectl("queue", "set", "a", "--concurrency", "1").ok()
    assert queuectl("explain").ok().err == "queuectl: no job waits\n"
    for _ in range(3):
        queuectl("enqueue", "--queue", "a", "true").ok()
    queuectl("enqueue", "--hold", "true").ok()
    found = queuectl("explain", "--json").ok().ndjson
    assert [(each["kind"], each["jobs"]) for each in found] == [("no_worker", 3), ("held", 1)]
    assert found[0]["frees"] == "queuectl worker start --queue a"


def test_the_timeline_says_that_all_are_paused(queuectl: Shell) -> None:
    queuectl("pause", "--for", "1h").ok()
    queuectl("enqueue", "--id", "a", "true").ok()
    assert "○ now: pending, paused until " in queuectl("inspect", "a", "--events").ok().lines[-1]


def test_the_time_waited_is_accounted_for(queuectl: Shell) -> None:
    queuectl("pause", "a", "--reason", "deploy").ok()
    queuectl("enqueue", "--id", "j", "--queue", "a", "true").ok()
    found = queuectl("explain", "j", "--history").ok().out
    assert re.fullmatch(r"job j is pending; it has waited [\d.]+m?s: the queue a is paused by cli:\S+: deploy\n", found)
    time.sleep(0.2)  # the pause is to be seen in the sum
    queuectl("resume", "a").ok()
    queuectl("worker", "start", "--drain").ok()
    told = queuectl("explain", "j", "--history").ok().lines
    assert re.fullmatch(r"job j is completed; it waited [\d.]+m?s", told[0])
    why = re.compile(r" (paused  +the queue a is paused by cli:\S+: deploy|no_worker  no worker serves the queue a)$")
    assert len([line for line in told if why.search(line)]) == 2
    assert [line.split() for line in told if line.endswith("WHY")] == [["FROM", "TIME", "ATTEMPT", "REASON", "WHY"]]
    answer = queuectl("explain", "j", "--history", "--json").ok().json
    assert list(answer) == ["id", "state", "waited", "reasons", "spans", "archived"]
    assert [span["kind"] for span in answer["spans"]][:2] == ["paused", "no_worker"]
    assert {each["kind"]: each["why"] for each in answer["reasons"]}["paused"] == "deploy"
    for parts in (answer["spans"], answer["reasons"]):
        assert sum(each["seconds"] for each in parts) == pytest.approx(answer["waited"], abs=1e-5)
    assert answer["spans"][0]["until"] == answer["spans"][1]["since"]


def test_what_comes_more_than_once_is_summed_up(queuectl: Shell) -> None:
    queuectl("enqueue", "--id", "j", "true").ok()
    for word in ("hold", "release") * 2:
        time.sleep(0.1)  # so that each wait is a part of it
        queuectl(word, "j").ok()
    told = queuectl("explain", "j", "--history").ok().lines
    assert told[2].split() == ["TIME", "SHARE", "REASON", "WHY"]
    assert len([line for line in told if re.search(r" held  +held by cli:\S+$", line)]) == 3


def test_a_history_needs_a_job_in_the_log(queuectl: Shell) -> None:
    queuectl("enqueue", "--id", "j", "true").ok()
    assert queuectl("explain", "--history").refused(2) == "--history is of one job: give its ID"
    assert queuectl("explain", "never", "--history").refused(1).startswith("no job 'never'")
    queuectl.drain()
    queuectl("archive", "--older-than", "0s", "-o", "a.gz").ok()
    assert "was archived in" in queuectl("explain", "j", "--history").refused(1)


def test_the_past_of_queues_is_known(queuectl: Shell) -> None:
    queuectl("queue", "set", "a", "--concurrency", "1").ok()
    before = status(queuectl)["as_of"]["seq"]  # type: ignore[index]
    queuectl("queue", "set", "a", "--concurrency", "none", "--rate", "1/s").ok()
    queuectl("pause", "a").ok()
    [now] = queuectl("queue", "list", "--json").ok().ndjson
    assert (now["concurrency"], now["rate"], now["paused"]) == (None, "1/s", True)
    [then] = queuectl("queue", "list", "--at", f"seq:{before}", "--json").ok().ndjson
    assert (then["concurrency"], then["rate"], then["paused"]) == (1, None, False)
    assert queuectl("replay", "--check").ok()


@pytest.mark.parametrize(
    "words, code, said",
    [
        (("queue", "set", "a", "--concurrency", "0"), 2, "--concurrency"),
        (("queue", "set", "a", "--concurrency", "-1"), 2, "--concurrency"),
        (("queue", "set", "a", "--concurrency", "two"), 2, "--concurrency"),
        (("queue", "set", "a", "--rate", "10/fortnight"), 2, "--rate"),
        (("queue", "set", "a", "--rate", "0/s"), 2, "--rate"),
        (("queue", "set", "a", "--burst", "3"), 2, "burst belongs to a rate"),
        (("queue", "set", "a"), 2, "queue set needs"),
        (("queue", "set", "a\nb", "--concurrency", "1"), 2, "queue"),
        (("queue", "set", "a", "--pause-on-failure", "--no-pause-on-failure"), 2, "not both"),
        (("pause", "a", "--for", "0"), 2, "--for"),
        (("pause", "a", "b"), 2, "one word too many"),
        (("hold", "nobody"), 1, "no job 'nobody'"),
        (("hold",), 2, "needs an ID"),
        (("hold", "done"), 3, "only a job that waits can be held"),
        (("start", "done"), 3, "only a job that waits can be started"),
        (("release", "done"), 3, "only a job that waits can be released"),
        (("explain", "done"), 3, "not waiting"),
        (("explain", "nobody"), 1, "no job 'nobody'"),
    ],
)
def test_nonsense_changes_nothing(queuectl: Shell, words: tuple[str, ...], code: int, said: str) -> None:
    queuectl("enqueue", "--id", "done", "true").ok()
    queuectl("worker", "start", "--drain").ok()
    before = status(queuectl)["as_of"]
    assert said in queuectl(*words).refused(code)
    assert status(queuectl)["as_of"] == before


def test_what_runs_is_not_held(queuectl: Shell) -> None:
    inside = f"{shlex.quote(sys.executable)} -m queuectl hold long; echo $? > code"
    queuectl("enqueue", "--id", "long", inside).ok()
    queuectl("worker", "start", "--drain").ok()
    assert (queuectl.folder / "code").read_text() == "3\n"
