"""A later version of this program, for tests of upgrades."""

import re
import shutil
from pathlib import Path

from tests.support.paths import ROOT


def make(folder: Path) -> Path:
    """Copy this program and raise the version of its table of jobs; returns the folder to import it from."""
    for package in ("queuectl", "projections"):
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    jobs = folder / "projections" / "jobs.py"
    text, raised = re.subn(r"(?m)^version = (\d+)$", lambda found: f"version = {int(found[1]) + 1}", jobs.read_text())
    assert raised == 1
    jobs.write_text(text)
    return folder
