"""docs/rules.md agrees with the code: every rule has a place and a test that exist, and none is missing."""

import ast
import re
from functools import cache
from typing import NamedTuple

from tests.support.paths import ROOT

DOC = ROOT / "docs" / "rules.md"

LAST = 49
"""The highest number that was given to a rule."""

POINTER = re.compile(r"^- (Place|Test): `([^`:]+)(?:::([\w.]+))?`$", re.MULTILINE)
MENTION = re.compile(r"\bR([1-9]\d?)\b(?:\s*(?:-|to)\s*R([1-9]\d?)\b)?")


class Pointer(NamedTuple):
    """Where a rule stands: a file of the project, and a name in it."""

    file: str
    name: str | None

    def __str__(self) -> str:
        return self.file if self.name is None else f"{self.file}::{self.name}"


class Rule(NamedTuple):
    """An entry of the document."""

    number: int
    text: str
    places: list[Pointer]
    tests: list[Pointer]


def entries() -> list[Rule]:
    """The rules, in the order of the document."""
    sections = re.split(r"^### R(\d+)\. .+$", DOC.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found: list[Rule] = []
    for number, text in zip(sections[1::2], sections[2::2], strict=True):
        text = re.split(r"^## ", text, maxsplit=1, flags=re.MULTILINE)[0]
        pointers: dict[str, list[Pointer]] = {"Place": [], "Test": []}
        for kind, file, name in POINTER.findall(text):
            pointers[kind].append(Pointer(file, name or None))
        found.append(Rule(int(number), text, pointers["Place"], pointers["Test"]))
    return found


@cache
def names(file: str) -> frozenset[str]:
    """What a Python file defines, methods as `Class.method`; nothing where there is no such file."""
    return frozenset(defined(ast.parse(text(file)))) if file.endswith(".py") else frozenset()


def defined(node: ast.Module | ast.ClassDef, within: str = "") -> set[str]:
    found: set[str] = set()
    for child in node.body:
        if isinstance(child, ast.ClassDef):
            found |= {within + child.name, *defined(child, f"{within}{child.name}.")}
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(within + child.name)
        elif isinstance(child, ast.Assign | ast.AnnAssign):
            targets = child.targets if isinstance(child, ast.Assign) else [child.target]
            found |= {within + target.id for target in targets if isinstance(target, ast.Name)}
    return found


def found_tests(file: str, name: str | None) -> list[str]:
    """The tests in a file: that of the name, or all."""
    return [each for each in names(file) if each.startswith("test_") and name in (None, each)]


def text(file: str) -> str:
    """A file's text; empty where there is no such file."""
    path = ROOT / file
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def mentioned(prose: str) -> set[int]:
    """The numbers of the rules that it names; `R18-R21` names four."""
    return {number for first, last in MENTION.findall(prose) for number in range(int(first), int(last or first) + 1)}


def sources() -> list[str]:
    """Every file of code and of tests in which a rule may be named, but this one."""
    found = [
        path
        for folder in ("queuectl", "projections", "bench", "tests")
        for suffix in ("py", "sql")
        for path in (ROOT / folder).rglob(f"*.{suffix}")
    ]
    return sorted(str(path.relative_to(ROOT)) for path in found if path.name != "test_rules.py")


def not_built() -> set[int]:
    """The rules that the document says are still to come."""
    return mentioned(DOC.read_text(encoding="utf-8").partition("\n## Not built yet\n")[2])


RULES = entries()


def test_every_number_is_listed_once() -> None:
    numbers = [rule.number for rule in RULES]
    assert sorted([*numbers, *not_built()]) == [*range(1, LAST + 1)]


def test_every_rule_has_reason_place_and_test() -> None:
    for rule in RULES:
        assert re.search(r"^\*Why:\* .+", rule.text, re.MULTILINE), f"R{rule.number} does not say why"
        assert rule.places, f"R{rule.number} needs a line: - Place: `queuectl/….py`"
        assert rule.tests, f"R{rule.number} needs a line: - Test: `tests/….py`, or `tests/….py::test_…`"
        lines = re.findall(r"^\W*(?:Place|Test)s?\b.*", rule.text, re.MULTILINE)
        assert len(lines) == len(rule.places) + len(rule.tests), f"R{rule.number} has a line of another form: {lines}"


def test_places_exist() -> None:
    lost = [
        f"R{rule.number}: {place}"
        for rule in RULES
        for place in rule.places
        if not place.file.startswith(("queuectl/", "projections/"))
        or not (ROOT / place.file).is_file()
        or (place.name is not None and place.name not in names(place.file))
    ]
    assert not lost, "moved or renamed? say so in docs/rules.md"


def test_tests_exist() -> None:
    lost = [
        f"R{rule.number}: {test}"
        for rule in RULES
        for test in rule.tests
        if not test.file.startswith("tests/") or not found_tests(test.file, test.name)
    ]
    assert not lost, "moved or renamed? say so in docs/rules.md"


def test_a_rule_is_named_where_it_is_kept() -> None:
    silent = [
        f"R{rule.number}"
        for rule in RULES
        if not any(rule.number in mentioned(text(pointer.file)) for pointer in (*rule.places, *rule.tests))
    ]
    assert not silent, "name it, as (R5), in the docstring of one of its places"


def test_every_rule_that_the_code_names_is_listed() -> None:
    listed = {rule.number for rule in RULES}
    strange = {file: sorted(unknown) for file in sources() if (unknown := mentioned(text(file)) - listed)}
    assert not strange
