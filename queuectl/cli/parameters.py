"""The options that several commands share: their names, converters and help."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Annotated, Any

import msgspec

from queuectl import units
from queuectl.bounds import check_batch, check_queue, check_variables
from queuectl.cli.completion import values as v
from queuectl.cli.completion.values import Values
from queuectl.option_kinds import SWITCH, VARIABLES
from queuectl.options import OF_NAME, Option


class Parameter(msgspec.Struct, frozen=True, kw_only=True):
    """An option or argument of a command: the annotation of a parameter, for both parsers."""

    name: str | Sequence[str] = ()
    help: str | None = None
    metavar: str | None = None
    read: Callable[[str], Any] | None = None
    """The value of a word; raises Invalid for what it rejects. None: the word itself."""
    read_all: Callable[[Sequence[str]], Any] | None = None
    """The value of an option that may be repeated, from all its words; raises Invalid."""
    values: Values | None = None
    """What completion suggests; None: what its placeholder stands for (see `Values`)."""
    extra: Mapping[str, Any] = {}
    """What else `cyclopts.Parameter` is given."""

    @property
    def names(self) -> Sequence[str]:
        """Its name and its other names."""
        return (self.name,) if isinstance(self.name, str) else self.name


class Options(dict[str, tuple[Any, Parameter]]):
    """The options of a parameter that is a mapping: by its key, the type and description of each."""


def each(read: Callable[[str], Any]) -> Callable[[Sequence[str]], Any]:
    """Return a `read_all` that makes a list."""
    return lambda words: [read(word) for word in words]


def options(described: Mapping[str, tuple[Any, Parameter]]) -> Any:
    """Return the annotation of a parameter that is given a mapping of those of these options that are given."""
    return Annotated[Mapping[str, Any] | None, Options(described)]


def option(
    name: str | Sequence[str],
    metavar: str,
    text: str,
    read: Callable[[str], Any] | None = None,
    values: Values | None = None,
    **extra: Any,
) -> Parameter:
    """Return an option with a value. With `read` the value may begin with a hyphen: `read` has the better message."""
    if read is not None:
        extra["allow_leading_hyphen"] = True
    return Parameter(name=name, metavar=metavar, help=text, read=read, values=values, extra=extra)


def _states(texts: Sequence[str]) -> list[str]:
    """`--state a,b --state c`."""
    from projections.jobs import STATES
    from queuectl.errors import Invalid

    words = [word.strip() for text in texts for word in text.split(",")]
    for word in words:
        if word.lower() not in STATES:
            raise Invalid(f"{word!r} is not a state{units.nearest(word, STATES)}; there are {', '.join(STATES)}")
    return list(dict.fromkeys(word.lower() for word in words))


def integer(low: int, high: int) -> Callable[[str], int]:
    """Return a function that reads whole numbers from `low` to `high`."""
    return lambda text: units.integer(text, low, high)


def positive_duration(text: str) -> float:
    """Return the seconds of a duration above 0. Raises Invalid."""
    from queuectl.errors import Invalid

    if (seconds := units.duration(text)) > 0:
        return seconds
    raise Invalid(f"{text!r} is not a duration above 0")


Database = Annotated[
    str | None,
    option(
        "--db",
        "URL|PATH",
        "The database. Default: QUEUECTL_DB, or DB_PATH (environment, then .env), or queue.db in "
        "the folder for your state files.",
    ),
]
Logs = Annotated[
    str | None,
    option(
        "--logs",
        "FOLDER",
        "Where the files about workers and recoveries go. Default: QUEUECTL_LOGS, or logs/ in the "
        "folder beside the database.",
    ),
]
Json = Annotated[bool, Parameter(name="--json", help="Answer as JSON.")]
JsonLines = Annotated[bool, Parameter(name="--json", help="Answer as JSON, one object a line.")]
Reason = Annotated[str | None, option("--reason", "TEXT", OF_NAME["reason"].help, OF_NAME["reason"].kind.read)]
Queue = Annotated[str | None, option("--queue", "NAME", "Only jobs of this queue.", check_queue, v.QUEUES)]
Batch = Annotated[str | None, option("--batch", "NAME", "Of the jobs of this batch.", check_batch, v.BATCHES)]
EventsQueue = Annotated[
    str | None,
    option(
        "--queue",
        "NAME",
        "Only of this queue: of its jobs and, among events, of itself and of all queues (pause, resume, limits).",
        check_queue,
        v.QUEUES,
    ),
]
QueueList = Annotated[
    list[str] | None,
    Parameter(
        name="--queue",
        metavar="NAME",
        help="Only jobs of this queue (may be repeated).",
        read_all=each(check_queue),
        values=v.QUEUES,
        extra={"consume_multiple": True},
    ),
]
States = Annotated[
    list[str] | None,
    Parameter(
        name="--state",
        metavar="STATE[,STATE]",
        help="Only jobs in these states (may be repeated): pending, blocked, processing, failed, completed, dead or "
        "cancelled.",
        read_all=_states,
        extra={"allow_leading_hyphen": True},
    ),
]


Where = Annotated[
    str | None,
    option(
        "--where",
        "FILTER",
        "Only jobs that this finds: terms as in `queuectl list`, in one word: 'state:dead tag:exp=3 -queue:mail'.",
        allow_leading_hyphen=True,
    ),
]


def since(what: str) -> Parameter:
    """Return the option `--since`; `what` begins its help."""
    return option(
        "--since",
        "WHEN",
        f"{what} then or later: 2026-11-24T09:00 (local), 2026-11-24T09:00:00Z, 09:00 (the last one), or -10m.",
        units.past,
    )


def until(what: str) -> Parameter:
    """Return the option `--until`."""
    return option("--until", "WHEN", f"{what} then or earlier, written as --since.", units.past)


def ended_since(what: str) -> Parameter:
    """Return the option `--ended-since`."""
    return option("--ended-since", "WHEN", f"{what} then or later, written as --since.", units.past)


Since = Annotated[int | None, since("Enqueued")]
Until = Annotated[int | None, until("Enqueued")]
EndedSince = Annotated[int | None, ended_since("Ended (completed, dead or cancelled)")]
EventsSince = Annotated[int | None, since("Happened")]
EventsUntil = Annotated[int | None, until("Happened")]
At = Annotated[
    units.Then | None,
    option(
        "--at",
        "WHEN",
        "As it was then: 2026-11-24T09:00 (local), seq:N (after event N of the log), or -10m.",
        units.then,
        accepts_keys=False,
        n_tokens=1,
    ),
]
AfterSeq = Annotated[
    int | None, option("--after", "SEQ", "Only events with a higher number than this.", integer(0, 2**63 - 1))
]
Job = Annotated[str, Parameter(name="ID", help="The job: its id, or the beginning of one that was given with --id.")]
JobFilter = Annotated[str | None, option("--job", "ID", "Only of this job.")]


_OF_JOB_OPTION = {"queue": v.QUEUES, "batch": v.BATCHES}
"""What completion suggests for options of a job of which their placeholder does not tell it."""


def job_option(job_option: Option) -> tuple[Any, Parameter]:
    """Return the type and description of an option of a job."""
    flag, kind = f"--{job_option.key}", job_option.kind
    default = f" [default: {job_option.default_text}]" if job_option.default_text else ""
    text = job_option.help + kind.note + default
    if kind is SWITCH:
        return bool, Parameter(name=flag, help=text)
    values = v.words(*kind.words) if kind.words else _OF_JOB_OPTION.get(job_option.name)
    if not kind.many:
        read = partial(_unless_template, kind.read) if kind.type == "str" else kind.read
        return str | None, option(flag, job_option.metavar, text, read, values)
    read_all = variables if kind is VARIABLES else kind.read_all
    return list[str] | None, Parameter(
        name=flag, metavar=job_option.metavar, help=text, read_all=read_all, values=values
    )


def _unless_template(read: Callable[[str], Any], text: str) -> Any:
    """Return the value of a text, or a template of it as it is: `enqueue --each` looks at what is made of that."""
    return text if "{/" in text else read(text)


def check_period(since: int | None, until: int | None) -> None:
    """Raise Invalid if `since` is later than `until`."""
    from queuectl.errors import Invalid

    if since is not None and until is not None and since > until:
        raise Invalid("--since is later than --until: nothing lies between")


def variables(words: Sequence[str]) -> dict[str, str]:
    """Return the variables of `K=V` and `K` words (K alone: its value now), as docker does. Raises Invalid."""
    import os

    from queuectl.errors import Invalid

    values: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals:
            here = os.environ.get(name)
            if here is None:
                raise Invalid(f"{name!r} is not set here; write {name}=VALUE")
            value = here
        try:
            values |= check_variables("", {name: value})
        except Invalid as error:
            raise Invalid(str(error).removeprefix(": ").strip()) from None
    return values
