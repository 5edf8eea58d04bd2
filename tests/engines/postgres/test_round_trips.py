"""How often the server is waited for: between hosts that are far apart, this is what a command takes."""

from contextlib import closing
from typing import Any

import pytest

from queuectl import Queue, engines
from queuectl.engines.postgres.patient_connection import PatientConnection


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """One entry for each wait, of any session."""
    waited: list[str] = []
    wait = PatientConnection.wait

    def counting(connection: PatientConnection, *words: Any, **options: Any) -> Any:
        waited.append(connection.info.dbname)
        return wait(connection, *words, **options)

    monkeypatch.setattr(PatientConnection, "wait", counting)
    return waited


@pytest.fixture
def url(postgres_url: str) -> str:
    """A queue with a hundred events."""
    with Queue(postgres_url) as queue:
        for _ in range(100):
            queue.enqueue("true")
    return postgres_url


def test_opening_waits_for_two_answers(url: str, waits: list[str]) -> None:
    with closing(engines.connect(url)):
        assert len(waits) == 2


def test_a_snapshot_waits_at_begin_and_end(url: str, waits: list[str]) -> None:
    with closing(engines.connect(url)) as engine:
        waits.clear()
        with engine.snapshot() as view:
            view.head()
        assert len(waits) == 2


def test_a_moment_is_found_by_one_statement(url: str, waits: list[str]) -> None:
    with closing(engines.connect(url)) as engine, engine.snapshot() as view:
        moment = view.events()[-2].at
        waits.clear()
        assert view.seq_at(moment) == view.head()[0] - 1
        assert len(waits) == 1
