"""Fixtures of tests with workers of several hosts, on one queue in PostgreSQL."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.worker_hosts import WorkerHost, WorkerHosts


@pytest.fixture
def hosts(tmp_path: Path, postgres_url: str) -> Iterator[WorkerHosts]:
    """The queue, and no host yet."""
    with WorkerHosts(tmp_path, postgres_url) as hosts:
        yield hosts


@pytest.fixture
def a(hosts: WorkerHosts) -> WorkerHost:
    """The first host."""
    return hosts.add()


@pytest.fixture
def b(hosts: WorkerHosts, a: WorkerHost) -> WorkerHost:
    """The second one."""
    return hosts.add()
