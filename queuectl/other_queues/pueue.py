"""pueue's `status --json`, of its versions 3 and 4: its tasks become jobs, its groups queues."""

from typing import Any, NamedTuple, cast

import msgspec

from queuectl import clock, spec, units
from queuectl.environment import looks_secret
from queuectl.errors import Invalid
from queuectl.events import QueueLimited
from queuectl.job_fields import Spec
from queuectl.limits import check_limits
from queuectl.other_queues import Found

LONGEST = 256 << 20
"""Bytes of a status; each task has its whole environment in it."""

_STATES = ("Queued", "Stashed", "Running", "Paused", "Done")


class _Task(msgspec.Struct, frozen=True):
    command: str
    path: str
    status: Any
    group: str = "default"
    dependencies: tuple[int, ...] = ()
    priority: int = 0
    label: str | None = None
    envs: dict[str, str] = {}
    prev_status: Any = None
    """Of a locked task of version 3."""


class _State(NamedTuple):
    name: str
    about: dict[str, Any]
    """When a stashed one is due (`enqueue_at`), how a done one ended (`result`)."""


class _Group(msgspec.Struct, frozen=True):
    status: str = "Running"
    parallel_tasks: int = 0


class _Status(msgspec.Struct, frozen=True):
    tasks: dict[int, _Task]
    groups: dict[str, _Group] = {}


def read(data: bytes, *, all: bool = False) -> Found:
    """The jobs of the tasks that have not ended there; with `all` also those that have, to run again.

    What is stashed or paused there, or in a group that is, is held; what runs there is to run anew. As there, nothing
    is retried, and there is no time limit. Raises Invalid, which names the task.
    """
    try:
        found = msgspec.json.decode(data, type=_Status)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Invalid(f"is not what `pueue status --json` prints: {error}") from None
    states = {id: _state(id, task) for id, task in found.tasks.items()}
    taken = {id: task for id, task in sorted(found.tasks.items()) if all or states[id].name != "Done"}
    jobs: list[Spec] = []
    for id, task in taken.items():
        try:
            parents = tuple(f"@{parent}" for parent in task.dependencies if _is_awaited(parent, taken, states))
            held = found.groups.get(task.group, _Group()).status != "Running"
            jobs.append(_job(id, task, states[id], parents, held=held))
        except Invalid as error:
            raise Invalid(f"task {id}: {error}") from None
    queues = {task.group for task in taken.values()}
    return Found(
        jobs, [f"task {id}" for id in taken], len(found.tasks) - len(taken),
        {name: _limit(name, group) for name, group in found.groups.items() if name in queues and group.parallel_tasks},
    )  # fmt: skip


def _limit(name: str, group: _Group) -> int:
    """How many tasks of a group may run at once. Raises Invalid, which names the group."""
    try:
        check_limits(QueueLimited(concurrency=group.parallel_tasks))
    except Invalid as error:
        raise Invalid(f"group {name}: {error}") from None
    return group.parallel_tasks


def _state(id: int, task: _Task) -> _State:
    """The state of a task. Version 3 has the last state of a locked one beside it, version 4 within."""
    name, about = _split(task.status)
    if name == "Locked":
        name, about = _split(about.get("previous_status", task.prev_status))
    if name not in _STATES:
        raise Invalid(f"task {id}: its status is none that is known: {str(task.status)[:60]!r}")
    return _State(name, about)


def _split(status: Any) -> tuple[str, dict[str, Any]]:
    """The name of a status, with what is said of it: `"Queued"`, `{"Done": "Success"}`, `{"Done": {"result": …}}`."""
    if not isinstance(status, dict):
        return str(status), {}
    [(name, about), *_] = [*cast("dict[str, Any]", status).items()] or [("", {})]
    if isinstance(about, dict) and not (name == "Done" and "result" not in about):
        return name, cast("dict[str, Any]", about)
    return name, {"result": about}


def _is_awaited(parent: int, taken: dict[int, _Task], states: dict[int, _State]) -> bool:
    """Whether a dependency is still to be awaited: one that is gone, or has succeeded, is not. Raises Invalid."""
    if parent in taken or parent not in states:
        return parent in taken
    if states[parent].about.get("result") != "Success":
        raise Invalid(f"depends on task {parent}, which has failed and is left out: --all takes it in too")
    return False


def _job(id: int, task: _Task, state: _State, parents: tuple[str, ...], *, held: bool) -> Spec:
    variables = {
        name: value
        for name, value in task.envs.items()
        if name.isidentifier() and name.isascii() and not name.startswith("QUEUECTL_")
    }
    at = None
    if state.name == "Stashed":
        moment = state.about.get("enqueue_at")
        at = units.moment(moment) if isinstance(moment, str) else None
        held = held or at is None
    return spec.check(
        Spec(
            command=task.command, name=str(id), after=parents, queue=task.group, priority=task.priority, cwd=task.path,
            held=held or state.name == "Paused", at=at if at is None or at > clock.now() else None, timeout=None,
            max_retries=0, tags={"pueue": str(id), **({"label": task.label} if task.label else {})},
            env={name: value for name, value in variables.items() if not looks_secret(name)},
            secrets={name: value for name, value in variables.items() if looks_secret(name)},
        )
    )  # fmt: skip
