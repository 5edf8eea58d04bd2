"""docs/reference/combinations.md says what really happens."""

from tests.support import combinations


def test_all_combinations_are_as_documented() -> None:
    told = combinations.PAGE.read_text(encoding="utf-8")
    assert combinations.page() == told, "python -m tests.support.combinations tries them all and writes the page"
    assert told.count("\n| ") - 2 == 64 / len(combinations.ACTIONS)
