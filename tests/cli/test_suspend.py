"""`suspend`, `continue` and `pause --suspend`: what they answer, and what shows that a job is suspended."""

from projections.jobs import Job
from tests.support.lab import Fifo, Lab
from tests.support.shell import Shell

BUSY = "while :; do sleep 0.1; done"


def running(lab: Lab, fifo: Fifo, queue: str = "default") -> str:
    """A job that runs, and its id."""
    id = lab.queue.enqueue(f"echo $$ > {fifo}; {BUSY}", id="film", timeout=None, queue=queue)
    lab.start()
    fifo.line()
    return id


def job(lab: Lab) -> Job:
    return lab.queue.job("film")


def test_a_suspended_job_is_shown_as_such(lab: Lab, fifo: Fifo, queuectl: Shell) -> None:
    running(lab, fifo)

    assert queuectl("suspend", "film", "--reason", "too loud").out == "film  suspended\n"

    assert "suspended " in queuectl("list").out
    document = queuectl("inspect", "film", "--json").json
    assert document["suspended_at"] is not None
    assert document["suspended_by"].startswith("cli:")
    assert "suspended  " in queuectl("inspect", "film").out
    timeline = queuectl("inspect", "film", "--events").out
    assert "suspended — too loud" in timeline
    assert ", suspended" in timeline.splitlines()[-1]
    assert queuectl("continue", "film").out == "film  goes on\n"
    assert queuectl("continue", "film").out == ""
    assert queuectl("inspect", "film", "--json").json["suspended_at"] is None
    assert "continued" in queuectl("events", "--job", "film").out
    [event] = lab.records("suspended")
    [past] = queuectl("list", "--at", f"seq:{event.seq}", "--json").ndjson
    assert past["suspended_at"] is not None


def test_only_what_runs_can_be_suspended(lab: Lab, queuectl: Shell) -> None:
    lab.queue.enqueue("true", id="film")

    for words, said in (
        (
            ("suspend", "film"),
            "job film is pending: only a job that runs can be suspended; hold it: queuectl hold film",
        ),
        (("continue", "film"), "job film is pending: only a job that runs can be continued"),
    ):
        answer = queuectl(*words)
        assert (answer.code, answer.out) == (3, "")
        assert answer.err == f"queuectl: {said}\n"
    lab.queue.cancel("film")
    assert queuectl("suspend", "film").code == 3
    assert queuectl("suspend", "nothing").code == 1
    assert queuectl("suspend").code == 2
    assert lab.log("film") == ["enqueued", "cancelled"]


def test_hold_of_a_running_job_names_suspend(lab: Lab, fifo: Fifo, queuectl: Shell) -> None:
    running(lab, fifo)

    answer = queuectl("hold", "film")
    assert (answer.code, "use suspend" in answer.err) == (3, True)


def test_pause_tells_how_many_it_suspended(lab: Lab, fifo: Fifo, queuectl: Shell) -> None:
    running(lab, fifo, queue="encode")

    assert queuectl("pause", "encode", "--suspend").out == "queue encode paused; 1 job suspended\n"

    [queue] = queuectl("queue", "list", "--json").ndjson
    assert (queue["processing"], queue["suspended"], queue["suspends"]) == (1, 1, True)
    assert "1 (1 suspended)" in queuectl("queue", "list").out
    queuectl("resume", "encode")
    [queue] = queuectl("queue", "list", "--json").ndjson
    assert (queue["suspended"], queue["suspends"]) == (0, False)


def test_bulk_passes_over_what_is_being_cancelled(lab: Lab, fifo: Fifo, queuectl: Shell) -> None:
    lab.queue.enqueue(f"trap '' TERM; echo $$ > {fifo}; {BUSY}", id="film", timeout=None)
    lab.start()
    fifo.line()
    lab.queue.cancel("film")

    assert queuectl("suspend", "film").code == 3
    answer = queuectl("suspend", "--all")
    assert (answer.code, answer.out) == (0, "")
    assert job(lab).suspended_at is None


def test_stop_says_that_it_waits_for_suspended_jobs(lab: Lab, fifo: Fifo, queuectl: Shell) -> None:
    running(lab, fifo)
    queuectl("suspend", "film")

    answer = queuectl("worker", "stop", "--timeout", "1s")
    assert answer.code == 124
    assert "waits for what is suspended (film): `queuectl continue film` lets it go on" in answer.err
    assert queuectl("worker", "stop", "--now").code == 0
    assert job(lab).state == "pending"
