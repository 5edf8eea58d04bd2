"""Fixtures: a schema of a shared server for each test. One process of the run starts the servers, when first asked."""

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.postgres import keeper
from tests.support.postgres.keeper import Keeper, Room

if TYPE_CHECKING:  # psycopg is loaded when a test needs it
    from tests.support.postgres.database import Database

_KEEPER = pytest.StashKey[Keeper]()


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.stash[_KEEPER] = Keeper()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of xdist."""
    node.workerinput["postgres"] = node.config.stash[_KEEPER].name


def pytest_unconfigure(config: pytest.Config) -> None:
    if _KEEPER in config.stash:
        config.stash[_KEEPER].close()


@pytest.fixture(scope="session")
def postgres_keeper(pytestconfig: pytest.Config) -> str:
    """The name of the process that starts servers: for `keeper.shared`."""
    if _KEEPER in pytestconfig.stash:
        return pytestconfig.stash[_KEEPER].name
    return pytestconfig.workerinput["postgres"]  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def postgres_room(postgres_keeper: str) -> Room:
    """Where tests have servers of their own, for `Servers`."""
    return keeper.room(postgres_keeper)


@pytest.fixture
def postgres_with(
    postgres_keeper: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., "Database"]]:
    """A schema on a server of another version or with other settings: `postgres_with(18, synchronous_commit="off")`.

    The server is shared by all tests of the run that ask for the same. Homes of queues are this test's.
    """
    from tests.support.postgres.database import Database

    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    with ExitStack() as stack:

        def make(version: int = 16, **settings: str) -> Database:
            address = keeper.shared(postgres_keeper, version, **settings)
            return stack.enter_context(Database(address, f"test_{secrets.token_hex(6)}"))

        yield make


@pytest.fixture
def postgres(postgres_with: Callable[..., "Database"]) -> "Database":
    """A new schema of the shared server, of version 16."""
    return postgres_with()


@pytest.fixture
def postgres_url(postgres: "Database") -> str:
    """The URL of a queue that is not there yet, in a schema of its own."""
    return postgres.url
