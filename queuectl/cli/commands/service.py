"""`queuectl service`: workers that systemd starts at boot and keeps up."""

import math
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

from queuectl import amounts, host_limits
from queuectl.cli import opening
from queuectl.cli import parameters as p
from queuectl.cli.commands import worker
from queuectl.cli.ui import output
from queuectl.errors import Invalid, QueueError, shown
from queuectl.units import plain, span

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractContextManager

    from queuectl.queue import Queue
    from queuectl.service.installation import Installed
    from queuectl.service.manager import ServiceManager
    from queuectl.service.state import ServiceState
    from queuectl.service.unit import ServiceUnit


def _name(text: str) -> str:
    from queuectl.service.unit import check_name

    return check_name(text)


def _offers(words: "Sequence[str]") -> list[str]:
    amounts.offers(words)
    return list(words)


def _stop_timeout(text: str) -> float:
    return math.inf if text.strip().lower() == "none" else p.positive_duration(text)


Name = Annotated[
    str | None, p.option("--name", "NAME", "The name of its unit, where one machine has several: NAME.service.", _name)
]
System = Annotated[
    bool, p.Parameter(name="--system", help="A unit of the machine in place of one of your own; only root may.")
]
Offered = Annotated[
    list[str] | None,
    p.Parameter(name="--resource", metavar="NAME=LIST|N|SIZE", help="As of `worker start`.", read_all=_offers),
]
MaxLoad = Annotated[float | None, p.option("--max-load", "X", "As of `worker start`.", host_limits.max_load)]
MinFreeMemory = Annotated[
    int | None, p.option("--min-free-memory", "SIZE", "As of `worker start`.", host_limits.min_free_memory)
]
StopTimeout = Annotated[
    float | None,
    p.option(
        "--stop-timeout",
        "DURATION|none",
        "How long what runs may take to finish when the service is stopped; then it is ended, and runs again. "
        "[default: none, and 10m with --system, because a reboot waits for it]",
        _stop_timeout,
    ),
]


def install(
    *,
    count: worker.Count = 1,
    slots: worker.Slots = 1,
    queue: p.QueueList = None,
    resource: Offered = None,
    max_load: MaxLoad = None,
    min_free_memory: MinFreeMemory = None,
    stop_timeout: StopTimeout = None,
    system: System = False,
    user: Annotated[
        str | None,
        p.option("--user", "NAME", "With --system: as whom it runs. [default: the owner of the database file]"),
    ] = None,
    name: Name = None,
    print_: Annotated[bool, p.Parameter(name="--print", help="Print the unit, and change nothing.")] = False,
    logs: p.Logs = None,
    db: p.Database = None,
) -> None:
    """Have systemd start workers for this queue now and at each boot, and restart them when they fail.

    $ queuectl service install --slots 4
    $ queuectl service install --slots 4 --print
    $ sudo queuectl --db /srv/jobs/q.db service install --slots 4 --system

    It prints the file of the unit. Called again it writes the unit anew; workers that run are left alone, and have the
    new options once they are restarted. Your own service outlives your logout only where you linger: where you don't,
    the command that changes that is named, and nothing is done. Without systemd the line for your crontab is.
    """
    from queuectl.service import plan
    from queuectl.service.unit import DEFAULT_NAME
    from queuectl.settings import database

    words = [
        *(["--count", str(count)] if count != 1 else []),
        "--slots", str(slots),
        *(word for each in dict.fromkeys(queue or ()) for word in ("--queue", each)),
        *(word for each in resource or () for word in ("--resource", each)),
        *(["--max-load", plain(max_load)] if max_load is not None else []),
        *(["--min-free-memory", str(min_free_memory)] if min_free_memory is not None else []),
        *(["--logs", _absolute(logs)] if logs is not None else []),
    ]  # fmt: skip
    wanted = plan.plan(
        database(db).path, words, name=name or DEFAULT_NAME, system=system, user=user, stop_timeout=stop_timeout
    )
    if print_:
        output.line(wanted.text().rstrip("\n"))
    else:
        _install(wanted, system, db)


def _absolute(path: str) -> str:
    import os

    return os.path.abspath(path)


def _install(wanted: "ServiceUnit", system: bool, db: str | None) -> None:
    from queuectl.host import user
    from queuectl.service import installation, plan
    from queuectl.service.manager import NoManager, ServiceManager

    wanted.text()  # nothing is begun with what no unit can hold
    manager = ServiceManager(system=system)
    try:
        manager.require()
    except NoManager as error:
        line = plan.crontab_line(wanted)
        raise Invalid(f"{error}; this line in the crontab (crontab -e) starts workers at boot: {line}") from None
    if not system and not manager.lingers():
        raise Invalid(
            "your services would end at your logout, and not start at boot: first call"
            f" `loginctl enable-linger {user.name()}`, then install again"
        )
    installation.require_free(manager, wanted)
    if system:
        plan.require_database(wanted)
    else:
        with opening.open_queue(db, create=True):
            pass  # there is a queue, and it can be used
    done = installation.install(manager, wanted)
    output.line(output.escape(manager.path(wanted.name)))
    _tell(manager, wanted, done)


def _tell(manager: "ServiceManager", wanted: "ServiceUnit", done: "Installed") -> None:
    from queuectl.service.installation import Installed

    unit = f"{wanted.name}.service"
    who = f" as {wanted.user}" if wanted.user is not None else ""
    match done:
        case Installed.STARTED:
            output.message(f"{unit} is up{who}, and starts at each boot")
        case Installed.UNCHANGED:
            output.message(f"{unit} was up with these options already")
        case Installed.RESTART:
            told = f"`{manager.command} restart {wanted.name}` lets them finish what they run, and starts others"
            output.message(f"{unit} is changed; its workers are still those of before: {told}")


def status(*, name: Name = None, json: p.JsonLines = False, db: p.Database = None) -> int:
    """Show how the services of this queue are: whether they are up, since when, and why not.

    $ queuectl service status
    $ queuectl service status --json | jq -r .active

    Exit code 1: there is none, or one of them is not up.
    """
    from queuectl.service.state import state

    found, url = _installed(db, name)
    if not found:
        return 1
    states: list[ServiceState] = []
    with _queue(db) as queue:
        for manager, unit in found:
            manager.require(change=False)
            states.append(state(manager, unit, url, queue))
    if json:
        output.documents(states)
    else:
        for each in states:
            _print(each)
    return 0 if all(each.is_up for each in states) else 1


def uninstall(*, name: Name = None, system: System = False, db: p.Database = None) -> None:
    """Stop the services of this queue, which takes as long as what they run, and remove their units.

    $ queuectl service uninstall
    $ sudo queuectl --db /srv/jobs/q.db service uninstall --system

    `queuectl worker stop --now` ends what they run. The queue stays as it is.
    """
    from queuectl.service import installation

    found, _ = _installed(db, name)
    for manager, unit in found:
        if manager.is_system != system:
            which = "--system removes" if manager.is_system else "without --system you remove"
            output.message(f"{shown(manager.path(unit))} stays: {which} it")
            continue
        manager.require()
        output.message(f"stopping {unit}.service: what runs may finish; `queuectl worker stop --now` ends it")
        installation.uninstall(manager, unit)
        output.line(output.escape(manager.path(unit)))


def _installed(db: str | None, name: str | None) -> "tuple[list[tuple[ServiceManager, str]], str]":
    """Return the services of the queue, of both managers, and the queue's URL; says so where there are none."""
    from queuectl.engines import resolve
    from queuectl.service.manager import ServiceManager
    from queuectl.settings import database

    managers = [ServiceManager(system=system) for system in (False, True)]
    url = resolve(database(db).path)
    units = [(manager, *unit) for manager in managers for unit in manager.installed()]
    found = [(manager, unit) for manager, unit, of in units if of == url and name in (None, unit)]
    if not found:
        others = "; ".join(f"{unit}.service serves {shown(of)}" for _, unit, of in units if of != url)
        which = f" {name}.service" if name is not None else ""
        output.message(f"no service{which} is installed for {shown(url)}" + (f" ({others})" if others else ""))
    return found, url


def _queue(db: str | None) -> "AbstractContextManager[Queue | None]":
    """Return the queue, to be closed; None in its place, and a message, where it can't be opened."""
    try:
        return opening.open_queue(db)
    except QueueError as error:
        output.message(str(error))
        return nullcontext()


_RESULTS = {
    "assert": "the database was missing when it was to start", "exit-code": "it failed", "signal": "it was killed",
    "watchdog": "it was hung", "timeout": "it took too long to stop", "oom-kill": "it was killed for memory",
}  # fmt: skip
"""What became of a service, by the result that systemd tells; where it is another one, its state is shown."""


def _print(state: "ServiceState") -> None:
    from queuectl import clock

    since = f" for {span(max(1, (clock.now() - clock.micros(state.since)) // 1_000_000))}" if state.since else ""
    style = "running" if state.is_up else "failed"
    how = f"{state.active} ({_RESULTS.get(state.result, state.detail)}){since}"
    output.line(f"{output.paint(f'{state.name}.service', 'bold')}  {output.paint(how, style)}")
    output.fields([
        ("unit", output.escape(state.path)),
        ("queue", output.escape(state.database)),
        ("starts", _starts(state)),
        ("says", output.escape(state.said)),
        ("process", str(state.pid or "")),
        ("workers", ", ".join(state.workers)),
        ("restarts", f"{state.restarts} after a failure" if state.restarts else ""),
    ])  # fmt: skip
    for each in state.journal:
        output.line(f"  {output.escape(each)}")


def _starts(state: "ServiceState") -> str:
    from queuectl.host import user

    if not state.enabled:
        return "not by itself: it is disabled"
    if state.lingers is False:
        return f"at your login, and ends at your logout: `loginctl enable-linger {user.name()}` changes that"
    return "at boot"
