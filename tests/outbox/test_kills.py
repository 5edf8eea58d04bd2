"""Relays are killed while an application commits and rolls back; `python -m tests.torture --full outbox` is longer."""

import random
from pathlib import Path

import pytest

from tests.torture import outbox
from tests.torture.verdict import Breach


@pytest.fixture
def seed() -> int:
    seed = random.SystemRandom().getrandbits(32)
    print(f"python -m tests.torture outbox --seed {seed}")  # shown with a failure
    return seed


def test_each_committed_row_is_one_job(seed: int, tmp_path: Path) -> None:
    figures = outbox.run(seed, full=False, folder=tmp_path)
    assert figures["jobs"] == figures["committed"] != 200
    assert figures["kills"] != 0


def test_without_ids_the_kills_make_doubles(seed: int, tmp_path: Path) -> None:
    with pytest.raises(Breach, match=r"is 2 jobs"):
        outbox.run(seed, full=False, folder=tmp_path, ids=False)
