"""`enqueue`: what each way of asking puts into the queue."""

import os

import pytest

from tests.support.shell import Shell


def _job(queuectl: Shell, id: str) -> dict[str, object]:
    return queuectl("inspect", id, "--json").ok().json


def test_it_prints_the_id_and_nothing_else(queuectl: Shell):
    queuectl.make()
    answer = queuectl("enqueue", "true").ok()
    assert (answer.out, answer.err) == ("1\n", "")
    assert queuectl("enqueue", "--id", "job1", "true").ok().out == "job1\n"
    assert queuectl("enqueue", "true").ok().out == "2\n"


def test_the_policy_is_the_seeds(queuectl: Shell):
    job = _job(queuectl, queuectl("enqueue", "true").ok().out.strip())
    assert {name: job[name] for name in ("state", "queue", "priority", "max_retries", "backoff_base", "timeout")} == {
        "state": "pending", "queue": "default", "priority": 0, "max_retries": 3, "backoff_base": 2.0, "timeout": 60.0,
    }  # fmt: skip
    assert job["cwd"] == str(queuectl.folder)
    assert job["enqueued_at"] == job["run_at"]


def test_every_option_reaches_the_job(queuectl: Shell):
    (queuectl.folder / "in").write_text("hello")
    queuectl(
        "enqueue", "--id", "a", "--queue", "mail", "--priority", "-5", "--delay", "1h", "--max-retries", "0",
        "--backoff-base", "1.5", "--backoff-max", "1h", "--jitter", "0.1", "--timeout", "none", "--env", "MODE=m",
        "--env", "HOME", "--secret", "TOKEN=s3cret", "--shell", "/bin/bash",
        "--cwd", "sub", "--stdin", "in", "--on-lost", "dead", "--keep-children", "--reason", "why not",
        "cat",
    ).ok()  # fmt: skip
    job = _job(queuectl, "a")
    assert {name: job[name] for name in job if name in (
        "queue", "priority", "max_retries", "backoff_base", "backoff_max", "jitter", "timeout", "on_lost",
        "keep_children", "reason", "env", "secrets", "cwd", "shell",
    )} == {
        "queue": "mail", "priority": -5, "max_retries": 0, "backoff_base": 1.5, "backoff_max": 3600.0, "jitter": 0.1,
        "timeout": None, "on_lost": "dead", "keep_children": True, "reason": "why not", "secrets": ["TOKEN"],
        "env": {"HOME": str(queuectl.folder), "MODE": "m"}, "shell": "/bin/bash",
        "cwd": str(queuectl.folder / "sub"),
    }  # fmt: skip
    assert job["stdin"]
    assert str(job["run_at"]) > str(job["enqueued_at"])
    assert "s3cret" not in queuectl("events", "--json").out, "its value is kept apart from the log"


def test_a_json_spec(queuectl: Shell):
    queuectl("enqueue", '{"id": "job1", "command": "sleep 2", "max_retries": 5}').ok()
    assert (_job(queuectl, "job1")["command"], _job(queuectl, "job1")["max_retries"]) == ("sleep 2", 5)


def test_fields_of_a_spec_win_over_options(queuectl: Shell):
    spec = '{"id": "a", "command": "true", "max_retries": 5, "env": {"A": "1"}}'
    queuectl("enqueue", spec, "--max-retries", "1", "--priority", "7", "--id", "b", "--env", "B=2").ok()
    job = _job(queuectl, "a")
    assert (job["max_retries"], job["priority"], job["env"]) == (5, 7, {"A": "1", "B": "2"})


def test_a_brace_group_is_a_shell_command(queuectl: Shell):
    id = queuectl("enqueue", "{ echo a; echo b; }").ok().out.strip()
    assert _job(queuectl, id)["command"] == "{ echo a; echo b; }"


@pytest.mark.parametrize(
    "words,argv",
    [
        (["--", "ls", "-la", "--", "x"], ["ls", "-la", "--", "x"]),
        (["--priority", "1", "--", "printf", "a b", "", "--help", "--db"], ["printf", "a b", "", "--help", "--db"]),
        (["--", '{"id": "x"}'], ['{"id": "x"}']),
    ],
)  # fmt: skip
def test_words_behind_two_hyphens_are_an_argv(queuectl: Shell, words: list[str], argv: list[str]):
    id = queuectl("enqueue", *words).ok().out.strip()
    assert _job(queuectl, id)["argv"] == argv


def test_many_from_a_file(queuectl: Shell):
    (queuectl.folder / "jobs").write_text(
        '# a comment\n\necho one\n{"id": "two", "command": ["echo", "two"]}\r\necho three'
    )
    answer = queuectl("enqueue", "--file", "jobs", "--queue", "q").ok()
    assert answer.lines == ["1", "two", "2"]
    assert [job["queue"] for job in queuectl("list", "--json").ndjson] == ["q", "q", "q"]


def test_many_from_a_pipe(queuectl: Shell):
    answer = queuectl("enqueue", "--file", "-", stdin="".join(f"echo {n}\n" for n in range(2500)).encode()).ok()
    assert answer.lines == [str(n) for n in range(1, 2501)]
    assert queuectl.total() == 2500


def test_the_json_of_a_new_job(queuectl: Shell):
    job = queuectl("enqueue", "--json", "true").ok().json
    assert list(job)[:4] == ["id", "state", "queue", "command"]
    assert (job["id"], job["state"]) == ("1", "pending")
    jobs = queuectl("enqueue", "--file", "-", "--json", stdin=b"true\nfalse\n").ok().ndjson
    assert [job["command"] for job in jobs] == ["true", "false"]


def test_db_may_precede_or_follow_the_command(queuectl: Shell):
    del queuectl.env["QUEUECTL_DB"]
    queuectl("--db", "a.db", "enqueue", "true").ok()
    queuectl("enqueue", "--db=a.db", "true").ok()
    queuectl("--db=a.db", "enqueue", "--", "echo", "--db", "b.db").ok()
    assert queuectl("--db", "sqlite:///" + str(queuectl.folder / "a.db"), "status").ok().json["total"] == 3
    assert not (queuectl.folder / "b.db").exists()


def test_dotenv_works_as_in_the_original(queuectl: Shell):
    del queuectl.env["QUEUECTL_DB"]
    (queuectl.folder / ".env").write_text("DB_PATH=./db/queue.db\nBACKOFF_BASE=5\nMAX_RETRIES=1\n")
    job = queuectl("enqueue", "--json", "true").ok().json
    assert (job["backoff_base"], job["max_retries"]) == (5.0, 1)
    assert (queuectl.folder / "db" / "queue.db").exists()


def test_a_setting_touches_later_jobs_only(queuectl: Shell):
    queuectl("enqueue", "--id", "before", "true").ok()
    queuectl("config", "set", "max-retries", "7").ok()
    queuectl("enqueue", "--id", "after", "true").ok()
    assert [_job(queuectl, id)["max_retries"] for id in ("before", "after")] == [3, 7]


def test_created_files_are_readable_by_the_owner_only(queuectl: Shell):
    queuectl("enqueue", "true").ok()
    modes = {path.name: oct(os.stat(path).st_mode & 0o777) for path in queuectl.folder.iterdir()}
    assert modes["q.db"] == "0o600"
    assert modes["q.db.d"] == "0o700"
