"""Hosts that are cut off, in the short form; `python -m tests.torture --full partition` is longer."""

import random
from pathlib import Path

import pytest

from tests.support.test_network import needs_network
from tests.torture import partition

pytestmark = [needs_network, pytest.mark.timeout(300)]


@pytest.fixture
def seed() -> int:
    seed = random.SystemRandom().getrandbits(32)
    print(f"python -m tests.torture partition --seed {seed}")  # shown with a failure
    return seed


def test_hosts_cut_off_overlap_never(seed: int, tmp_path: Path) -> None:
    figures = partition.run(seed, full=False, folder=tmp_path)
    assert figures["overlaps"] == 0


def test_without_fencing_they_overlap(seed: int, tmp_path: Path) -> None:
    assert partition.control(seed, full=False, folder=tmp_path)["overlaps"]
