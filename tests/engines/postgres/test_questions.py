"""Every question gives the same answer in both engines, whatever has happened in the queue."""

from collections import Counter
from contextlib import closing
from itertools import count, islice
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import apsw
import pytest

from projections import builtin
from projections.numbers import NumberQuestions
from queuectl import Queue, Spec
from queuectl.decisions import Outcome, Report
from queuectl.engines import dependants
from queuectl.engines.postgres.log_rows import insert_events
from queuectl.engines.postgres.session import Session
from queuectl.engines.postgres.view import PostgresView
from queuectl.engines.sqlite.view import SqliteView
from queuectl.workers.turn import TurnWriter
from tests.support.asked import QUESTIONS, Arguments, ask
from tests.support.folded_tables import database
from tests.support.paths import IN_MEMORY
from tests.support.random_queue import RandomQueue

COPIED = ("leaves", "projection_state", "secrets", *(table for each in builtin() for table in each.tables))


class InSqlite(SqliteView, NumberQuestions):
    """All questions, asked of SQLite."""


class InPostgres(PostgresView, NumberQuestions):
    """All questions, asked of PostgreSQL."""


@pytest.mark.timeout(300)
@pytest.mark.parametrize("histories", [6, pytest.param(10, marks=(pytest.mark.torture, pytest.mark.timeout(900)))])
def test_every_question_is_answered_alike(histories: int, session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    answered: Counter[str] = Counter()
    numbers = count(Random().randrange(10**6))
    for _ in range(5):  # where some histories have been too few for the rarest answer
        for number in islice(numbers, histories if not all(answered[name] for name in QUESTIONS) else 0):
            monkeypatch.setattr(dependants, "MOST", Random(number).choice((1, 3, 1000)))
            compare(number, session, answered)
    assert [name for name in QUESTIONS if not answered[name]] == []


def compare(number: int, session: Session, answered: Counter[str]) -> None:
    """Ask both engines at two points of a history; note which questions had an answer that says anything."""
    dice = Random(number)
    with TemporaryDirectory(dir=IN_MEMORY) as folder, closing(RandomQueue(Path(folder))) as queue:
        for commands in (30, 20):
            for _ in range(commands):
                queue.do(dice.randrange(10_000), related=dice.random() < 0.3)
            if commands == 30:
                bring_about_what_is_rare(queue.queue)
            db = database(queue.queue.engine)
            sqlite, postgres = InSqlite(db), InPostgres(session)
            copy(db, session)
            arguments = Arguments(lambda sql: [*db.execute(sql)], dice)  # noqa: B023 - used in this turn
            for name in QUESTIONS:
                for _ in range(4):
                    given = arguments.draw(name)
                    answer = ask(sqlite, name, given)
                    expected = rounded(answer) if name == "figure" else answer
                    assert ask(postgres, name, given) == expected, f"history {number}: {name}({given})"
                    answered[name] += bool(answer)
            session.script("rollback; begin")


def bring_about_what_is_rare(queue: Queue) -> None:
    """What random commands do too seldom."""
    queue.resume()
    worker = TurnWriter(queue, "offering", (), "")
    worker.start(50, resources={"gpu": "0-3"})
    queue.enqueue_many(
        [
            Spec(command="true", queue="apart", id="parent", on_end="called back"),
            Spec(command="true", queue="apart", id="unique", unique="key", delay=60.0, stdin=__file__),
            Spec(command="true", id="member", after=("parent",), batch="apart"),
        ]
    )
    queue.limit("rated", rate="1000/s")
    queue.enqueue("true", queue="rated")
    batch = [
        Spec(
            command="true",
            queue="apart",
            id=f"halted-{at}",
            batch="halting",
            halt="now,fail=1",
            delay=60.0 * at,
            max_retries=0,
        )
        for at in range(6)
    ]
    queue.enqueue_many(batch)
    queue.schedules.add("seldom", Spec(command="true", queue="apart"), every=1, overlap="allow")
    queue.schedules.run("seldom")
    claims = worker.turn((), (), 200).claims
    ended = {"halted-0": Outcome(cause="spawn"), "parent": Outcome(exit_code=0, run_seconds=0.25)}
    reports = [Report(claim.lease, ended[claim.lease.job]) for claim in claims if claim.lease.job in ended]
    worker.turn(reports, (), 0, holding=[claim.lease for claim in claims if claim.lease.job not in ended])
    queue.start("unique", among=("pending",))
    queue.note("seldom", "parent")


def rounded(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A figure, but for the last digit of what was rounded: halves are rounded otherwise."""
    return [{column: pytest.approx(value, abs=1.5e-6) for column, value in row.items()} for row in rows]


def copy(db: apsw.Connection, session: Session) -> None:
    """Put the rows of all tables into the same ones of PostgreSQL."""
    insert_events(session, [*db.execute("select * from events order by seq")])
    for table in COPIED:
        rows: list[tuple[Any, ...]] = [*db.execute(f"select * from {table}")]
        if rows:
            session.queue_many(f"insert into {table} values ({', '.join('?' * len(rows[0]))})", rows)
    session.queue("update log set seq = event.seq, at = event.at from events event where event.seq = ?", (
        db.execute("select max(seq) from events").get,
    ))  # fmt: skip
    session.flush()
