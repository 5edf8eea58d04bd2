"""A few failovers; `python -m tests.torture --full failover` has 20."""

import random
from pathlib import Path

import pytest

from tests.torture import failover

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def seed() -> int:
    seed = random.SystemRandom().getrandbits(32)
    print(f"python -m tests.torture failover --seed {seed}")  # shown with a failure
    return seed


def test_a_failover_loses_and_doubles_nothing(seed: int, tmp_path: Path) -> None:
    figures = failover.failovers(seed, full=False, folder=tmp_path)
    assert figures["with the standby cut off before"]
    assert figures["lost"] == figures["run twice"] == 0


def test_an_asynchronous_standby_loses_jobs(seed: int, tmp_path: Path) -> None:
    figures = failover.control(seed, full=False, folder=tmp_path)
    assert figures["refused by hosts that knew of more"]
