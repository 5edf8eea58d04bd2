"""Short: thousands of dependants of a job that dies, under a few kills."""

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.torture import cascades
from tests.torture.verdict import Figures


@pytest.mark.parametrize("shape", [cascades.fan, cascades.chain, cascades.halt])
def test_dependants_are_cancelled_and_brought_back(shape: Callable[..., Figures], tmp_path: Path) -> None:
    seed = random.SystemRandom().getrandbits(32)
    print(f"python -m tests.torture --seed {seed}")  # shown with a failure
    figures = shape(seed, False, tmp_path)
    assert figures["jobs"] == 3000
