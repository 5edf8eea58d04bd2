"""The benchmarks on PostgreSQL: that the floor does what was recorded, and that no workload is far from its goal."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from bench.postgres.cluster import Cluster, cluster
from bench.postgres.crew import together
from bench.postgres.workloads import WORKLOADS
from bench.postgres.workloads.claims import Load, players, prepared, record
from bench.scratch import Scratch
from queuectl import Queue
from queuectl.events import Recorded
from tests.support.benchmark import measured, too_short


@pytest.fixture
def server() -> Iterator[Cluster]:
    with Scratch("/tmp") as scratch, cluster(scratch) as server:  # the path of a socket is short
        yield server


def written(server: Cluster, database: str) -> list[Recorded]:
    """The log of a queue, whose tables are what it says."""
    with Queue(server.url(database)) as queue:
        assert queue.check() == []
        return [*queue.events()]


def test_the_server_is_durable(server: Cluster) -> None:
    with psycopg.connect(server.dsn(server.database())) as session:
        shown = [session.execute(f"show {name}".encode()).fetchone() for name in ("fsync", "synchronous_commit")]
    assert shown == [("on",), ("on",)]


@pytest.mark.parametrize("workers", [1, 3])
def test_statements_played_back_write_the_same(server: Cluster, workers: int) -> None:
    load = Load(workers, 4, 2)
    origin = prepared(server, load)
    ours, again = server.database(origin), server.database(origin)
    recordings = record(server.url(ours), load)
    together(players(server.dsn(again), recordings))
    assert len(written(server, ours)) == workers + 3 * load.all_jobs
    assert written(server, again) == written(server, ours)


def test_work_that_fails_is_told(capfd: pytest.CaptureFixture[str]) -> None:
    def prepare() -> Callable[[], object]:
        return lambda: 1 / 0

    with pytest.raises(RuntimeError, match="a process of the benchmark failed"):
        together([prepare])
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_a_workload_on_postgresql_runs() -> None:
    told = measured(Path("/tmp"), "--postgres", "enqueue")
    assert [entry["figure"] for entry in told] == ["bulk enqueue of 5,000", "single durable enqueue"]
    assert all(entry["median"] > 0 and entry["floor"]["median"] > 0 for entry in told)


@pytest.mark.torture  # not for its cruelty: for the minute that it takes
@pytest.mark.timeout(600)
def test_no_figure_on_postgresql_is_far_off() -> None:
    told = measured(Path("/tmp"), "--postgres")
    assert {entry["workload"] for entry in told} == set(WORKLOADS)
    short = too_short(told)
    for _ in range(2):
        if short:  # something else was done on this machine: let it come to rest
            time.sleep(20)
            short &= too_short(measured(Path("/tmp"), "--postgres", *{workload for workload, _ in short}))
    assert not short
