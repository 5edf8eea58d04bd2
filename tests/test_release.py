"""The places that name a version agree: the package, the changelog, the tools of the dev extra."""

import re
import tomllib

from queuectl import __version__
from queuectl.versions import OLDEST_READER
from tests.support.paths import ROOT

PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
CHANGELOG = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
HEADINGS = re.findall(r"^## (.+)", CHANGELOG, re.MULTILINE)


def test_the_package_takes_its_version_from_the_code() -> None:
    assert PYPROJECT["project"]["dynamic"] == ["version"]
    assert PYPROJECT["tool"]["hatch"]["version"]["path"] == "queuectl/__init__.py"


def test_the_changelog_begins_with_the_version() -> None:
    number, _, unreleased = __version__.partition(".dev")
    assert re.fullmatch(r"\d+\.\d+\.\d+", number)
    if unreleased:
        assert HEADINGS[0] == "Unreleased"
    else:
        assert re.fullmatch(rf"{re.escape(number)} \(\d{{4}}-\d\d-\d\d\)", HEADINGS[0])


def test_changelog_versions_fall_from_the_codes_version() -> None:
    released = [tuple(map(int, re.findall(r"\d+", heading)[:3])) for heading in HEADINGS if heading != "Unreleased"]
    assert released == sorted(set(released), reverse=True)
    now = tuple(map(int, __version__.partition(".dev")[0].split(".")))
    assert all(version <= now if ".dev" not in __version__ else version < now for version in released)


def test_this_version_reads_what_it_writes() -> None:
    def numbers(version: str) -> tuple[int, ...]:
        return tuple(map(int, version.partition(".dev")[0].split(".")))

    assert numbers(OLDEST_READER) <= numbers(__version__)


def test_pre_commit_uses_the_pinned_tools() -> None:
    dev = {word.replace(" ", "") for word in PYPROJECT["project"]["optional-dependencies"]["dev"]}
    used = re.findall(r"additional_dependencies: \[(.+)\]", (ROOT / ".pre-commit-config.yaml").read_text())
    assert used
    assert set(used) <= dev
