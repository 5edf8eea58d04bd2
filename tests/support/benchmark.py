"""Running `python -m bench` in its quick form."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.paths import ROOT


def too_short(told: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """(workload, figure) of the ratios below a third of their goal: half is met where new files are dear."""
    ratios = [entry for entry in told if entry["floor"] is not None and entry["goal"] is not None]
    return {
        (entry["workload"], entry["figure"])
        for entry in ratios
        if (entry["value"] < entry["goal"] / 3 if entry["better"] == "higher" else entry["value"] > entry["goal"] * 3)
    }


def measured(folder: Path, *workloads: str) -> list[dict[str, Any]]:
    """The figures of a quick run."""
    done = bench(*workloads, "--quick", "--json", "--dir", str(folder))
    assert done.returncode == 0, done.stderr
    (run,) = json.loads(done.stdout)["runs"]
    return run["figures"]


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m bench` and return the completed process."""
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
