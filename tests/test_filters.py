"""Filters: what is written, what is refused, and which jobs are found, by indexes and by looking at each."""

from collections.abc import Iterator, Sequence
from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from projections.jobs import STATES, Job
from queuectl import Queue, Spec, clock, filters, listing
from queuectl.clock import now
from queuectl.engines.sqlite.view import SqliteView
from queuectl.errors import Invalid
from queuectl.filters import CAUSES, Term
from queuectl.units import Then
from tests.support.engine_actions import claim, report

TEXTS = st.text(min_size=1, max_size=8) | st.text('ab:,"\\ -*=', min_size=1, max_size=8)
MOMENTS = st.sampled_from(("2d", "-10m", "2026-11-24T09:00:00Z", "yesterday 14:00"))


def _terms(key: str, values: st.SearchStrategy[str], most: int = 3) -> st.SearchStrategy[Term]:
    several = st.lists(values, min_size=1, max_size=most).map(tuple)
    return st.builds(Term, st.just(key), several, st.booleans())


TERM = st.one_of(
    _terms("", TEXTS), _terms("queue", TEXTS), _terms("tag", TEXTS), _terms("by", TEXTS),
    _terms("state", st.sampled_from(STATES)), _terms("cause", st.sampled_from(CAUSES)),
    _terms("exit", st.integers(0, 255).map(str)), _terms("since", MOMENTS, 1), _terms("until", MOMENTS, 1),
    _terms("ended", MOMENTS, 1),
)  # fmt: skip


@given(st.lists(TERM, max_size=5).map(tuple))
@example((Term("", ("-a", "b")), Term("", ("-a",), True), Term("", ("a:b", "c:")), Term("tag", ('a="\\', "b c"))))
def test_a_written_filter_is_read_back(terms: tuple[Term, ...]):
    assert filters.parse(filters.text(terms)) == terms


@given(st.text() | st.text('state:dq-,"\\ *=1', max_size=20))
def test_any_text_is_a_filter_or_refused(text: str):
    try:
        terms = filters.parse(text)
    except Invalid as error:
        told = str(error)
        assert told.startswith("filter: ")
        assert " at " in told
    else:
        assert filters.parse(filters.text(terms)) == terms


def test_terms_are_keys_words_and_texts():
    written = 'state:dead,Failed -queue:gpu tag:exp="a b" resize -"a: \\"b\\"" by:ann* x"y z",w'
    assert filters.parse(written) == (
        Term("state", ("dead", "failed")), Term("queue", ("gpu",), True), Term("tag", ("exp=a b",)),
        Term("", ("resize",)), Term("", ('a: "b"',), True), Term("by", ("ann*",)), Term("", ("xy z", "w")),
    )  # fmt: skip
    assert filters.parse("  ") == ()


@pytest.mark.parametrize(
    "text, told",
    [
        ("stat:dead", "filter: unknown key 'stat' at 1 (did you mean 'state'?)"),
        ("a -http://x", "filter: unknown key 'http' at 4; in quotes it is text; the keys are state, queue, tag,"),
        ("color:x", "filter: unknown key 'color' at 1; in quotes it is text"),
        ("a state:daed", "filter: state at 9: 'daed' is not a state (did you mean 'dead'?); there are pending,"),
        ("state:dead,", "filter: nothing stands behind 'state:dead,' at 1"),
        ("a state:", "filter: nothing stands behind 'state:' at 3"),
        ("-", "filter: nothing stands behind '-' at 1"),
        ('a ""', "filter: a value is empty at 3"),
        ('a "b', "filter: a quote is not closed at 3"),
        ("exit:256", "filter: exit at 6: '256' is not a whole number from 0 to 255"),
        ("cause:tired", "filter: cause at 7: 'tired' is not a cause; there are exit, signal,"),
        ("since:soon", "filter: since at 7: 'soon' is not a past moment"),
        ("a since:1d,2d", "filter: since has one value, not 2 at 3"),
        ("--json", "filter: '--json' is no option, and no term at 1"),
    ],
)  # fmt: skip
def test_a_wrong_filter_names_the_place(text: str, told: str):
    with pytest.raises(Invalid) as caught:
        filters.parse(text)
    assert str(caught.value).startswith(told)


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Queue]:
    """One dead by its code, one by a signal, one that ran into its timeout and is retried, one done, one that waits."""
    with Queue(tmp_path / "q.db", actor="cli:ann@lab") as queue:
        queue.enqueue("convert big.png", id="code", tags={"exp": "3"}, max_retries=0, priority=5)
        queue.enqueue(
            "train 'a b'", id="killed", queue="gpu", tags={"exp": "4", "urgent": ""}, max_retries=0, priority=4
        )
        queue.enqueue("sleep 99", id="slow", queue="gpu2", priority=3)
        queue.enqueue("true", id="done", priority=2)
        leases = {lease.job: lease for _, lease in claim(queue.engine, "w", 4)}
        report(queue.engine, leases["code"], "exit", exit_code=3, error="no space left")
        report(queue.engine, leases["killed"], "signal", exit_code=None, signal=9)
        report(queue.engine, leases["slow"], "timeout", exit_code=None, signal=15)
        report(queue.engine, leases["done"], exit_code=0)
        queue.actor = "library:bob@lab"
        queue.enqueue("echo 'state:dead'", id="waits", tags={"exp": "3"}, delay=3600.0)
        yield queue


@pytest.mark.parametrize(
    "where, found",
    [
        ("", "code killed slow done waits"),
        ("state:dead", "code killed"),
        ("state:dead,completed -state:completed", "code killed"),
        ("-state:dead", "slow done waits"),
        ("state:dead state:completed", ""),
        ("queue:gpu", "killed"),
        ("queue:gpu,default", "code killed done waits"),
        ("queue:gpu*", "killed slow"),
        ("-queue:gpu", "code slow done waits"),
        ("tag:exp", "code killed waits"),
        ("tag:exp=3", "code waits"),
        ("tag:exp=3,urgent", "code killed waits"),
        ("tag:ex*", "code killed waits"),
        ("-tag:exp", "slow done"),
        ("tag:urgent=", "killed"),
        ("exit:137", "killed"),
        ("exit:3,0", "code done"),
        ("cause:timeout", "slow"),
        ("by:ann*", "code killed slow done"),
        ("by:library:bob@lab", "waits"),
        ("BIG.png", "code"),
        ('"\'a b\'"', "killed"),
        ('"state:dead"', "waits"),
        ("urgent", "killed"),
        ('"space left"', "code"),
        ("kill,slow", "killed slow"),
        ("since:1h", "code killed slow done waits"),
        ("-since:1h", ""),
        ("until:1h", ""),
        ("ended:1h", "code killed done"),
        ("-ended:1h", "slow waits"),
        ("state:dead tag:exp -queue:gpu space", "code"),
    ],
)  # fmt: skip
def test_each_term_finds_its_jobs(queue: Queue, where: str, found: str):
    assert {job.id for job in queue.jobs(where=where)} == set(found.split())


def test_the_past_is_filtered_as_well(queue: Queue):
    then = Then(seq=queue.status().seq)
    queue.retry("code", tags={"exp": "9"})
    queue.cancel("waits")
    assert [job.id for job in queue.jobs(where="tag:exp=3")] == ["waits"]
    assert {job.id for job in queue.jobs(where="tag:exp=3", then=then)} == {"code", "waits"}
    assert [job.id for job in queue.jobs(where="state:dead space", then=then)] == ["code"]


def test_a_filter_narrows_what_else_is_asked(queue: Queue):
    def found(**asked: object) -> set[str]:
        return {job.id for job in queue.jobs(**asked)}  # pyright: ignore[reportArgumentType]

    assert found(state="dead", where="tag:exp=3") == {"code"}
    assert found(state="dead", where="state:completed") == set()
    assert found(queue="gpu", where="state:dead queue:gpu") == {"killed"}
    assert found(queue="gpu", where="queue:default") == set()
    began = queue.job("waits").enqueued_at
    assert found(since=began, where="since:1d") == {"waits"}
    assert found(until=began - 1, where="until:-0s") == {"code", "killed", "slow", "done"}
    assert found(ended_since=now(), where="ended:1d") == set()


def test_a_term_and_its_negation_part_the_jobs(queue: Queue):
    terms = (
        "state:dead",
        "queue:gpu",
        "queue:gpu*",
        "tag:exp=3",
        "exit:137",
        "cause:timeout",
        "by:ann*",
        "true",
        "ended:1h",
    )
    came = clock.text(queue.job("slow").enqueued_at)
    everything = {job.id for job in queue.jobs()}
    found: dict[str, set[str]] = {}
    for term in (*terms, f"since:{came}", f"until:{came}"):
        found[term] = {job.id for job in queue.jobs(where=term)}
        assert {job.id for job in queue.jobs(where=f"-{term}")} == everything - found[term], term
        assert set() < found[term] < everything, term
    for one, other in combinations(found, 2):
        assert {job.id for job in queue.jobs(where=f"{one} {other}")} == found[one] & found[other]


def test_a_limited_list_reads_few_pages(queue: Queue, monkeypatch: pytest.MonkeyPatch):
    queue.enqueue_many([Spec(command=f"echo {n}", tags={"n": str(n % 10)}) for n in range(100)])
    monkeypatch.setattr(listing, "PAGE", 10)
    read: list[int] = []
    jobs = SqliteView.jobs

    def counted(view: SqliteView, seqs: Sequence[int]) -> list[Job]:
        read.append(len(seqs))
        return jobs(view, seqs)

    monkeypatch.setattr(SqliteView, "jobs", counted)
    found = [job.command for job in queue.jobs(where="tag:n=7", limit=2)]
    assert found == ["echo 7", "echo 17"]
    assert read == [10, 10]
    assert len(list(queue.jobs(where="tag:n=7"))) == 10


def test_a_brief_list_says_that_there_is_more(queue: Queue, monkeypatch: pytest.MonkeyPatch):
    queue.cancel(*queue.enqueue_many([Spec(command="true", tags={"a": ""})] * 3))
    monkeypatch.setattr(listing, "MOST_ENDED", 2)
    for where, count, waiting, ended in (("tag:a", 2, 0, None), ("tag:exp", 3, 0, 0), ("state:cancelled", 2, 0, 1)):
        jobs = queue.jobs(where=where, brief=True)
        assert len(list(jobs)) == count
        assert (jobs.waiting_more, jobs.ended_more) == (waiting, ended)
