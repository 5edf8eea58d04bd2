"""`list` as people see it: how much of it, in which columns."""

import re
from collections.abc import Callable, Iterator

import pytest

from projections.jobs import Job
from queuectl import Queue, Spec, listing
from queuectl.cli.ui import output, wording
from queuectl.clock import SECOND
from queuectl.doctor import InspectedQueue, examine
from tests.support.engine_actions import claim, policy
from tests.support.shell import Answer, Shell

Inside = Callable[..., Answer]


@pytest.fixture
def queue(queuectl: Shell) -> Iterator[Queue]:
    with Queue(queuectl.folder / "q.db") as queue:
        yield queue


def test_list_shows_the_last_twenty_ended_jobs(queue: Queue, inside: Inside):
    queue.cancel(*queue.enqueue_many(["true"] * 207))
    queue.enqueue("true", id="waits")
    lines = inside("list").ok().lines
    assert len(lines) == 1 + 1 + 20 + 1
    assert lines[1].startswith("waits ")
    assert lines[2].startswith("207 ")
    assert lines[-1] == "… 187 more (--all)"
    for words, count in ((["--all"], 208), (["--limit", "30"], 30), (["--state", "pending"], 1)):
        lines = inside("list", *words).ok().lines
        assert len(lines) == 1 + count
        assert "more" not in lines[-1]
    assert len(inside("list", "--json").ok().lines) == 208
    assert inside("list", "--at", "-0s").ok().lines[-1] == "… 187 more (--all)"


def test_list_shows_the_first_of_many_waiting_jobs(queue: Queue, inside: Inside, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(listing, "MOST_WAITING", 5)
    queue.cancel(*queue.enqueue_many(["true"] * 21))
    queue.enqueue_many(["true"] * 9)
    lines = inside("list").ok().lines
    assert [line.split()[0] for line in lines[1:7]] == ["22", "23", "24", "25", "26", "21"]
    assert lines[-1] == "… 4 more that wait, 1 more that ended (--all)"


def test_several_states_are_listed(queue: Queue, inside: Inside):
    queue.enqueue_many(["true"] * 3)
    queue.cancel("2")
    claim(queue.engine, "w", 1)
    for words in (["--state", "cancelled,pending"], ["--state", "pending", "--state", "CANCELLED"]):
        assert [job["id"] for job in inside("list", *words, "--json").ok().ndjson] == ["3", "2"]
    told = inside("list", "--state", "pending,canceled").refused(2)
    assert told.startswith("--state: 'canceled' is not a state (did you mean 'cancelled'?); there are pending,")


def test_list_shows_only_the_named_columns(queue: Queue, inside: Inside):
    queue.enqueue("true", id="a", tags={"exp": "3", "urgent": ""}, timeout=90, ok_codes=(0, 3), env={"A": "b c"})
    queue.enqueue(["echo", "x y"], id="b", timeout=None, held=True)
    queue.cancel("a")
    answer = inside("list", "--columns", "id,tags,Timeout,ok-codes,env,argv,held").ok()
    assert [re.split(r" {2,}", line) for line in answer.lines] == [
        ["ID", "TAGS", "TIMEOUT", "OK_CODES", "ENV", "ARGV", "HELD"],
        ["b", "0", "echo x y", "yes"],
        ["a", "exp=3 urgent", "1m30s", "0 3", "A=b c"],
    ]
    rows = inside("list", "state:cancelled", "--columns", "tags,situation,finished_at", "--json").ok().ndjson
    ended = inside("inspect", "a", "--json").json["finished_at"]
    assert [list(row.items()) for row in rows] == [
        [("tags", {"exp": "3", "urgent": ""}), ("situation", "now"), ("finished_at", ended)]
    ]
    assert inside("list", "--columns", "tags", "--columns", "id", "--json").ok().ndjson == [
        {"tags": each["tags"], "id": each["id"]} for each in inside("list", "--json").ok().ndjson
    ]
    told = inside("list", "--columns", "id,tag").refused(2)
    assert told.startswith("--columns: 'tag' is not a column (did you mean 'tags'?); there are situation, id, state,")
    assert inside("list", "--columns", "id,id").refused(2) == "--columns: 'id' comes twice"


def test_an_empty_list_says_why(queue: Queue, inside: Inside):
    answer = inside("list").ok()
    assert (answer.out, answer.err) == (
        "", "queuectl: there are no jobs; add one with `queuectl enqueue COMMAND`\n",
    )  # fmt: skip
    queue.enqueue("true")
    answer = inside("list", "--state", "dead").ok()
    assert (answer.out, answer.err) == ("", "queuectl: no job matches\n")
    assert inside("list", "--state", "dead", "--json").ok().err == ""


def test_list_marks_due_jobs_that_no_worker_serves(queue: Queue, inside: Inside):
    queue.enqueue("true")
    queue.enqueue("true", delay=60)
    rows = inside("list").ok().lines
    assert "no worker serves its queue" in rows[1]
    assert "due in" in rows[2]
    assert "no worker" not in inside("list", "--at", "-0s").ok().out


def test_a_running_job_shows_duration_and_worker(queue: Queue):
    with queue.engine.transaction() as tx:
        job = Job(1, "j", 2, "processing", "q", 0, 0, policy(tx.now), 0, "me", "true", 3, None, attempt=1, worker="w1",
                  claimed_at=tx.now)  # fmt: skip
        now = tx.now + 90 * SECOND
    assert wording.state_detail(job, now) == "for 1m30s on w1"


@pytest.mark.parametrize(
    "text, cells",
    [
        ("naive", 5), ("nai\u0308ve", 5), ("日本語", 6), ("👍", 2), ("👍🏽", 2), ("🏽", 2), ("\u2764", 1),
        ("\u2764\ufe0f", 2), ("👍\ufe0f", 2), ("👩\u200d🚀", 4), ("\u200b", 0), ("हे", 1), ("a\u20dd", 1),
        ("\u1112\u1161\u11ab", 2), ("", 0),
    ],
)  # fmt: skip
def test_display_width_is_that_of_a_terminal(text: str, cells: int):
    assert output.display_width(text) == cells
    assert output.display_width(output.truncate(text * 30, 10)) <= 10


def test_columns_are_aligned_and_fit_the_terminal(queue: Queue, queuectl: Shell, terminal: Callable[..., str]):
    for id in ("日本語", "nai\u0308ve", "a" * 60, "👍🏽"):
        queue.enqueue("echo " + "日本語" * 40, id=id, queue="a-queue-of-a-long-name-" + "x" * 30)
    for columns in (80, 120):
        lines = terminal("list", columns=columns, NO_COLOR="1").splitlines()
        assert len(lines) == 5
        assert max(map(output.display_width, lines)) <= columns
        heads = lines[0]
        for line in lines[1:]:
            before, _, _ = line.partition("pending")
            assert output.display_width(before) == heads.index("STATE")
            before, _, _ = line.partition("echo")
            assert output.display_width(before) == heads.index("COMMAND")


def test_inspect_says_that_no_worker_serves_a_job(queue: Queue, inside: Inside):
    queue.enqueue("true", id="a")
    assert "pending, no worker serves its queue" in inside("inspect", "a").ok().out


def test_following_an_unserved_job_prints_the_hint(queuectl: Shell):
    queuectl("enqueue", "--id", "a", "--queue", "gpu", "true").ok()
    following = queuectl.start("logs", "-f", "a")
    assert following.stderr is not None
    line = following.stderr.readline().decode()
    queuectl("cancel", "a").ok()
    assert following.wait(20) == 0
    following.communicate()
    assert line == "queuectl: waiting: no worker serves the queue gpu; `queuectl worker start --queue gpu` frees it\n"


@pytest.mark.parametrize("slots, more, option", [(1, "", ""), (4, " with 4 slots", " --slots 4")])
def test_doctor_names_an_unserved_queue(queue: Queue, queuectl: Shell, slots: int, more: str, option: str):
    queue.enqueue_many([Spec(command="true", queue="gpu", slots=slots)] * 2)
    with InspectedQueue(queue.url) as inspected:
        [workers] = [check for check in examine(inspected) if check.name == "workers"]
    finding = workers.findings[-1]
    assert finding.what == f"no worker serves the queue gpu{more}: 2 jobs wait there"
    assert finding.do == f"start one with `queuectl worker start --queue gpu{option}`"
    assert f"no worker serves its queue{more} " in queuectl("list").ok().out


def test_events_are_aligned_for_wide_ids(queuectl: Shell):
    from queuectl.cli.ui.output import display_width

    for id in ("plain", "漢字", "grün"):
        queuectl("enqueue", "--id", id, "true").ok()
    lines = queuectl("events").ok().lines
    assert len({display_width(line.partition("enqueued")[0]) for line in lines}) == 1


def test_a_missing_working_directory_is_named_as_such(queuectl: Shell):
    queuectl("enqueue", "--max-retries", "0", "--cwd", "/no/such", "true").ok()
    queuectl("enqueue", "--max-retries", "0", "--", "no-such-program").ok()
    queuectl.drain()
    for words in (["list"], ["dlq", "list"], ["inspect", "1"]):
        assert "working directory not found" in queuectl(*words).ok().out
    assert "not found" in queuectl("inspect", "2").ok().out
    assert "directory not found" not in queuectl("inspect", "2").out
