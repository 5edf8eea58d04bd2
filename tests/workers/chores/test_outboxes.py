"""Workers move the rows of an outbox into the log, whatever the application's database is doing just then."""

import os
import signal
import sqlite3
from pathlib import Path

import pytest

from queuectl.outbox import relay
from queuectl.workers.chores.chore import NEVER
from queuectl.workers.chores.outboxes import OutboxChore
from queuectl.workers.journal import Journal
from tests.support.application import Application
from tests.support.chore_host import Host
from tests.support.lab import Lab

DETACHED = """
import os, sys
from queuectl.workers.supervisor import start
sys.exit(start(sys.argv[1], detach=True, outboxes=[os.environ.pop("URL")]))
"""


def url(lab: Lab) -> str:
    return str(lab.folder / "app.db")


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_workers_move_rows_as_they_come(lab: Lab, application: Application, mode: str) -> None:
    application.change(f"pragma journal_mode = {mode}")
    parent = lab.start(count=2, outboxes=[url(lab)])
    for number in range(3):
        application.ask("true", f"row-{number}")
        lab.until(lambda number=number: f"row-{number}" in lab.completed())
    lab.until(lambda: application.rows() == [])
    assert lab.stopped(parent) == ""


def test_one_worker_moves_many_rows_in_order(lab: Lab, application: Application) -> None:
    for number in range(1000):
        application.insert("true", f"row-{number}")
    application.connection.commit()
    lab.queue.set_config("plain-commands", "direct")
    lab.drain(outboxes=[url(lab)], slots=2)
    enqueued = [record.stream for record in lab.records("enqueued")]
    assert enqueued == [f"job:row-{number}" for number in range(1000)]
    assert application.rows() == []
    assert lab.queue.status().counts["completed"] == 1000


def test_a_worker_drains_its_outbox_first(lab: Lab, application: Application) -> None:
    application.ask("true", "row")
    lab.drain(outboxes=[url(lab)])
    assert lab.completed() == ["row"]


def test_a_wrong_row_is_named_by_its_worker(lab: Lab, application: Application) -> None:
    application.ask({"command": "true", "after": ["nobody"]}, "wrong")
    application.ask("true", "right")
    code, said = lab.ended(lab.start(outboxes=[url(lab)], drain=True))
    assert code == 0
    assert "app.db: row 1 is refused: after: there is no job 'nobody'" in said
    assert lab.completed() == ["right"]
    assert application.rows() == [("wrong", "after: there is no job 'nobody'")]
    assert "row 1 is refused" in lab.journal()


def test_a_locked_file_keeps_nothing_from_running(lab: Lab, application: Application) -> None:
    application.ask("true", "row")
    application.connection.execute("begin exclusive")
    parent = lab.start(outboxes=[url(lab)])
    lab.up()
    lab.queue.enqueue("true", id="other")
    lab.until(lambda: lab.completed() == ["other"])
    lab.until(lambda: "is locked by another program" in lab.journal())
    application.connection.rollback()
    lab.until(lambda: lab.completed() == ["other", "row"])
    said = lab.stopped(parent)
    assert said.count("is locked by another program; its rows wait") == 1
    assert "outbox reached" in lab.journal()


def test_an_outbox_that_comes_later_is_found(lab: Lab) -> None:
    parent = lab.start(outboxes=[url(lab)])
    lab.until(lambda: lab.queue.workers() and "No such file" in lab.journal())
    assert not os.path.exists(url(lab)), "it is not for a worker to make it"
    application = Application(sqlite3.connect(url(lab)))
    application.ask("true", "row")
    lab.until(lambda: lab.completed() == ["row"])
    application.close()
    assert lab.stopped(parent).count("No such file or directory") == 1


def test_several_outboxes_are_moved(lab: Lab, application: Application) -> None:
    other = Application(sqlite3.connect(lab.folder / "other.db"))
    application.ask("true", "here")
    other.ask("true", "there")
    lab.drain(outboxes=[url(lab), str(lab.folder / "other.db")])
    assert lab.completed() == ["here", "there"]
    other.close()


def test_two_relays_at_once_move_rows_once(lab: Lab, application: Application) -> None:
    """A worker, and a program of the application that does the same."""
    parent = lab.start(outboxes=[url(lab)])
    lab.up()
    connection = sqlite3.connect(url(lab))
    for number in range(200):
        application.ask(f": {number}")
        relay(connection, lab.queue)
    lab.until(lambda: len(lab.completed()) == 200)
    assert sorted(job.command for job in lab.queue.jobs()) == sorted(f": {number}" for number in range(200))
    lab.stopped(parent)
    connection.close()


def test_another_worker_goes_on_for_one_killed(lab: Lab, application: Application) -> None:
    parent = lab.start(outboxes=[url(lab)], count=2)
    workers = lab.up(2)
    application.ask("true", "first")
    lab.until(lambda: lab.completed() == ["first"])
    [line] = [line for line in lab.journal().splitlines() if '"relayed"' in line]
    [mover] = [worker for worker in workers if worker.id in line]
    os.kill(mover.pid, signal.SIGKILL)
    application.ask("true", "second")
    lab.until(lambda: lab.completed() == ["first", "second"])
    lab.stopped(parent)


def test_only_one_worker_of_a_host_moves_rows(lab: Lab, application: Application) -> None:
    log = Journal(lab.queue.logs, "alone")
    first, second = (OutboxChore(Host(), lab.queue, log, url(lab)) for _ in range(2))
    first.run(first.due)
    second.run(second.due)
    assert (first.is_settled, second.is_settled) == (False, True)
    first.stop()
    assert first.due == NEVER
    application.ask("true", "row")
    while application.rows() != []:
        second.run(second.due)
    second.stop()
    log.close()
    assert [job.id for job in lab.queue.jobs()] == ["row"]


def test_a_password_is_told_to_nobody(lab: Lab) -> None:
    """By a server that is not there; `tests/outbox/test_postgres.py` has one that is."""
    starter = lab.python(DETACHED, lab.database, env=os.environ | {"URL": "postgresql://app:hunter2@127.0.0.1:1/shop"})
    code, said = lab.ended(starter)
    assert code == 0, said
    lab.until(lambda: lab.queue.workers() and "no server answers at 127.0.0.1, port 1" in lab.journal())
    lines = [Path(f"/proc/{pid}/cmdline").read_bytes() for pid in lab.ours()]
    assert len(lines) == 2, "a supervisor and its worker"
    lab.queue.stop_workers()
    written = [path.read_bytes() for path in lab.folder.rglob("*") if path.is_file() and path.name[:4] != "q.db"]
    events = [record.data.encode() for record in lab.queue.events()]
    assert not [text for text in (*lines, *written, *events, said.encode()) if b"hunter2" in text]
    assert [text for text in written if b"outbox postgresql://app@127.0.0.1:1/shop: " in text]
