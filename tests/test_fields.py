"""The fields of a job given to the library are checked for types and bounds."""

from pathlib import Path
from typing import Any

import pytest

from queuectl import Queue
from queuectl.errors import Invalid


@pytest.mark.parametrize(
    "command, fields, message",
    [
        (5, {}, "the command must be a string"),
        (["ls", 1], {}, r"argv\[1\]: must be a string"),
        ("true", {"timeout": "abc"}, "timeout: must be a number"),
        ("true", {"env": {"A": 1}}, "env.*must be a string"),
        ("true", {"max_retires": 1}, "did you mean 'max_retries'"),
    ],
)
def test_an_invalid_field_is_named(tmp_path: Path, command: Any, fields: Any, message: str) -> None:
    with Queue(tmp_path / "q.db") as queue:
        with pytest.raises(Invalid, match=message):
            queue.enqueue(command, **fields)
        assert queue.status().total == 0
