"""Every engine: which texts the log takes."""

import pytest
from msgspec.structs import replace

from projections.new_jobs import Alike
from queuectl import decisions
from queuectl.engines.base import Engine
from queuectl.engines.view import Write
from queuectl.errors import Invalid
from queuectl.events import CancelRequested
from tests.support.engine_actions import ACTOR, add, policy


def test_a_nul_in_a_text_is_refused(engine: Engine) -> None:
    add(engine, "a")
    with engine.snapshot() as view:
        head = view.head()
    with pytest.raises(Invalid, match=r"^reason: has a NUL character in it"), engine.transaction() as tx:
        tx.append([Write("job:a", tx.job("a"), [CancelRequested(reason="b\0c")])], ACTOR)
    with pytest.raises(Invalid, match=r"^actor: has a NUL character in it"), engine.transaction() as tx:
        tx.append([Write("job:b", None, decisions.enqueue(policy(tx.now)))], "some\0body")
    with pytest.raises(Invalid, match=r"^tags: has a NUL character in it"), engine.transaction() as tx:
        tx.enqueue([Alike(replace(policy(tx.now), tags={"k": "\0"}), [("b", "true")])], ACTOR)
    with engine.snapshot() as view:
        assert view.head() == head


def test_an_escape_that_is_no_nul_is_taken(engine: Engine) -> None:
    text = r"\u0000 and \\u0000"
    add(engine, "a")
    with engine.transaction() as tx:
        tx.append([Write("job:a", tx.job("a"), [CancelRequested(reason=text)])], ACTOR)
    with engine.snapshot() as view:
        event = view.stream("job:a")[-1].event
    assert isinstance(event, CancelRequested)
    assert event.reason == text
