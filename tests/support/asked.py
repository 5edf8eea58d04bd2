"""Every question that a view answers, with arguments drawn from what its tables hold."""

import inspect
from array import array
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from projections.dependencies import DEPENDENCY_KINDS
from projections.job_list import JobFilter
from projections.jobs import FINAL, STATES
from projections.numbers import NumberQuestions
from queuectl.engines.figures import FIGURES
from queuectl.engines.view import Filter, View

OF_THE_DATABASE = frozenset({"damage", "schema_differences", "free_space", "schema_version", "wal_backlog"})
"""What is asked of the files rather than of what they say."""

UNORDERED = frozenset({"workers_with_jobs", "run_seconds", "jobs_of", "waiting_queues", "waiting_members", "roots"})
"""The questions of which the answer is a list in no order."""

QUESTIONS: dict[str, Callable[..., Any]] = {
    name: function
    for source in (View, NumberQuestions)
    for name, function in inspect.getmembers(source, inspect.isfunction)
    if not name.startswith("_") and name not in OF_THE_DATABASE
}
"""All public methods of views, also those of a kind that is added one day."""


def ask(view: Any, name: str, arguments: dict[str, Any]) -> Any:
    """The answer as a value that can be compared."""
    answer = getattr(view, name)(**arguments)
    if isinstance(answer, Iterator | array):
        answer = [*answer]
    return sorted(answer, key=repr) if name in UNORDERED else answer


class Arguments:
    """What questions may be given: what the tables hold, and now and then what they don't.

    Each argument is drawn by its name, or by `question.name` where that is not enough.
    """

    def __init__(self, rows: Callable[[str], list[tuple[Any, ...]]], dice: Random) -> None:
        """`rows` answers a query of the tables."""
        self._dice = dice
        self._rows = rows
        self._queues = ["default", "b", "c", "apart", "rated", "unknown"]
        self._seqs = self._column("select seq from events")
        self._moments = [moment + by for moment in self._column("select at from events") for by in (-1, 0, 1)]
        self._moments += self._column("select run_at from jobs")
        self._jobs = [*self._column("select id from jobs"), "unknown"]
        self._streams = [*self._column("select distinct stream from events"), "job:unknown"]
        self._demands = [*self._column("select distinct demand from jobs where demand <> ''"), "unknown=1"]
        self._batches = [*self._column("select name from batches"), "unknown"]
        self._schedules = [*self._column("select name from schedules"), "unknown"]
        self._resources = ["gpu", "mem", "lock", "unknown"]
        self._workers = [*self._column("select id from workers"), "unknown"]
        self._parents = [*self._column("select distinct parent from dependencies"), "unknown"]

    def draw(self, question: str) -> dict[str, Any]:
        """Arguments for a question; those that may be left out are, half of the time."""
        parameters = list(inspect.signature(QUESTIONS[question]).parameters.values())[1:]
        return {
            each.name: self._drawer(question, each.name)()
            for each in parameters
            if each.default is each.empty or self._dice.random() < 0.5
        }

    def _drawer(self, question: str, name: str) -> Callable[[], Any]:
        drawer = getattr(self, f"{question}__{name}", getattr(self, name, None))
        assert drawer is not None, f"say how the argument {name!r} of {question!r} is drawn"
        return drawer

    def _column(self, sql: str) -> list[Any]:
        return [value for (value,) in self._rows(sql)]

    def _one(self, values: list[Any]) -> Any:
        return self._dice.choice(values)

    def _some(self, values: list[Any]) -> tuple[Any, ...]:
        return tuple(self._dice.sample(values, min(len(values), self._dice.randint(0, 3))))

    def _maybe(self, value: Any) -> Any:
        return value if self._dice.random() < 0.5 else None

    # -- by name -----------------------------------------------------------------------------------------------------

    def after(self) -> int:
        return self._one([0, 0, *self._seqs])

    def streams__after(self) -> str:
        return self._one(["", "", *self._streams])

    def among(self) -> tuple[str, ...]:
        return self._some(self._queues)

    def at(self) -> int:
        return self._one(self._moments)

    def attempt(self) -> int | None:
        return self._one([None, 1, 2])

    def batch(self) -> str:
        return self._one(self._batches)

    def before(self) -> int:
        return self._one([1 << 60, *self._seqs])

    def child(self) -> int:
        return self._one([0, *self._column("select distinct child from dependencies")])

    closed = closed_for_callbacks = queues = among

    def due_callbacks__closed(self) -> tuple[str, ...]:
        return (*self._queues,)

    def count(self) -> int:
        return self._dice.randint(1, 5)

    def demands(self) -> tuple[str, ...]:
        return self._some(self._demands)

    def id(self) -> str:
        return self._one(self._jobs)

    def ids(self) -> tuple[str, ...]:
        return self._some([*self._jobs, *self._parents])

    def gone_jobs__ids(self) -> tuple[str, ...]:
        return tuple(stream.removeprefix("job:") for stream in self._streams if stream.startswith("job:"))

    job = id

    def count_notes__job(self) -> str:
        return self._one([*self._column("select distinct job from notes"), "unknown"])

    notes__job = note_texts__job = count_notes__job

    def jobs(self) -> tuple[str, ...]:
        return self._some(self._jobs)

    def key(self) -> str:
        return self._one([*self._column("select unique_key from jobs where unique_key is not null"), "unknown"])

    def kinds(self) -> tuple[str, ...]:
        return self._some([*DEPENDENCY_KINDS]) or DEPENDENCY_KINDS

    def limit(self) -> int:
        return self._one([1, 2, 3, 5, 1000])

    most = limit

    def live(self) -> bool:
        return self._one([True, False])

    running = live

    def name(self) -> str:
        return self._one([*self._queues, *self._batches, *self._schedules, *self._resources])

    batch_state__name = batch_counts__name = batch

    def figure__name(self) -> str:
        return self._one([*FIGURES])

    def environment__name(self) -> str:
        return self._one([stream.removeprefix("env:") for stream in self._streams if stream.startswith("env:")] or [""])

    def names(self) -> tuple[str, ...] | None:
        return self._maybe(self._some([*self._queues, ""]))

    def now(self) -> int:
        return self._one([*self._moments, 1 << 60])

    def parent(self) -> str:
        return self._one([*self._parents, *self._parents, *self._column("select distinct watching from jobs")] or [""])

    def prefix(self) -> str:
        return self._one(self._jobs)[: self._dice.randint(0, 4)]

    def queue(self) -> str | None:
        return self._maybe(self._one(self._queues))

    def arrival__queue(self) -> str:
        return self._one(["rated", *self._queues])

    def resources(self) -> tuple[str, ...] | None:
        return self._maybe(self._some(self._resources))

    def schedule(self) -> str:
        return self._one(self._schedules)

    schedule__name = schedule

    def seqs(self) -> tuple[int, ...]:
        return self._some(self._seqs)

    def since(self) -> int:
        return self._one([0, 1 << 60, *self._moments])

    def state(self) -> str:
        return self._dice.choice(sorted(FINAL))

    def states(self) -> tuple[str, ...]:
        return self._some([*STATES]) or STATES

    def archivable__states(self) -> tuple[str, ...]:
        return self._some([*FINAL]) or tuple(FINAL)

    def stream(self) -> str:
        return self._one(self._streams)

    def streams(self) -> tuple[str, ...]:
        return self._some(self._streams)

    def upto(self) -> int:
        return self._one([1 << 40, *self._seqs])

    def where(self) -> JobFilter:
        return JobFilter(
            states=self._maybe(self.states()),
            queue=self.queue(),
            batch=self._maybe(self.batch()),
            since=self._maybe(self.at()),
            until=self._maybe(self.at()),
            ended_since=self._maybe(self.at()),
        )

    def events__where(self) -> Filter:
        return Filter(
            streams=self._maybe(self.streams()),
            types=self._maybe(self._some(["enqueued", "claimed", "completed", "archived", "noted"])),
            queue=self.queue(),
            since=self._maybe(self.at()),
            until=self._maybe(self.at()),
        )

    def worker(self) -> str:
        return self._one(self._workers)

    worker__id = worker
