"""Where the tests find the project and their data."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "tests" / "data"

IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""Where tests that make hundreds of databases have them: in memory, where there is such a place; else among the others.
"""
