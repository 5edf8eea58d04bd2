"""The site of docs/: every page is in the navigation of zensical.toml, and every link leads somewhere.

`.ci/run` builds the site itself (`zensical build --strict`), which needs more than the tests have.
"""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import ROOT

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
TEXTS = [*PAGES, *sorted(ROOT.glob("*.md")), *sorted(ROOT.glob(".github/**/*.md")), ROOT / "llms.txt"]


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def targets(nav: list[Any]) -> Iterator[str]:
    """The files that a navigation names."""
    for entry in nav:
        for value in entry.values():
            yield from [value] if isinstance(value, str) else targets(value)


def prose(path: Path) -> str:
    """A text without its blocks of code, its comments, and code within lines."""
    text = re.sub(r"^( *)(```+|~~~+).*?^\1\2", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"<!--.*?-->|(`+)(?!`).+?\1", "", text, flags=re.DOTALL)


def anchors(path: Path) -> set[str]:
    """The anchors that a page's headings get."""
    text = re.sub(r"^( *)(```+|~~~+).*?^\1\2", "", path.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ (.*)", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles}


def test_every_page_is_in_the_navigation_once() -> None:
    config = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))
    assert sorted(targets(config["project"]["nav"])) == sorted(str(page.relative_to(DOCS)) for page in PAGES)


@pytest.mark.parametrize("path", TEXTS, ids=named)
def test_every_link_within_the_project_leads_somewhere(path: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", prose(path))
    broken: list[str] = []
    for link in links:
        if re.match(r"\w+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file).resolve() if file else path
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def test_links_of_pages_stay_within_the_site() -> None:
    leaving = [
        f"{named(page)}: {link}"
        for page in PAGES
        for link in re.findall(r"\]\(([^)\s#]+)", prose(page))
        if not re.match(r"\w+:", link) and not (page.parent / link).resolve().is_relative_to(DOCS)
    ]
    assert leaving == []


def test_llms_txt_names_every_page() -> None:
    text = (ROOT / "llms.txt").read_text(encoding="utf-8")
    title, blank, quote, *_ = text.splitlines()
    assert title.startswith("# ")
    assert blank == ""
    assert quote.startswith("> ")
    missing = {named(page) for page in PAGES} - set(re.findall(r"\]\(([^)]+)\)", text))
    assert missing == {"docs/index.md"}


def test_paths_named_in_the_contributing_guide_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = re.findall(r"`((?:queuectl|projections|tests|docs|bench)/[\w/.]*)`", text)
    assert len(paths) > 20
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_names_in_the_contributing_guide_exist() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    names = set(re.findall(r"`([A-Za-z_]\w*)(?:\([\w, ]*\))?`", text[text.index("## How to add") :]))
    code = "\n".join(
        path.read_text(encoding="utf-8") for path in [*ROOT.glob("queuectl/**/*.py"), *ROOT.glob("*/*.py")]
    )
    known = set(re.findall(r"\w+", code + (ROOT / "pyproject.toml").read_text(encoding="utf-8")))
    assert len(names) > 30
    assert names - known == set()
