"""`queuectl schedule`: jobs that are enqueued again and again."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

from queuectl import clock, units
from queuectl.cli import job_options, job_stdin, opening
from queuectl.cli import parameters as p
from queuectl.cli.completion import values as v
from queuectl.cli.ui import output
from queuectl.errors import Invalid
from queuectl.options import OPTIONS, refuse_both
from queuectl.schedule_terms import CATCH_UP, NOT_SCHEDULED, OVERLAP, check_schedule

if TYPE_CHECKING:
    from datetime import datetime

    from queuectl.queue import Queue
    from queuectl.schedule_summary import ScheduleSummary

HEADS = ("SCHEDULE", "WHEN", "NEXT", "LAST", "FIRED", "SKIPPED", "COMMAND")

NewName = Annotated[str, p.Parameter(name="NAME", help="The schedule.")]
Name = Annotated[str, p.Parameter(name="NAME", help="The schedule.", values=v.SCHEDULES)]
Words = Annotated[
    str,
    p.Parameter(
        name="CRON|COMMAND",
        help="When, as five fields in one word (minute, hour, day of the month, month, day of the week) or @hourly, "
        "@daily, @weekly, @monthly, @yearly, unless --every says that; and what, as enqueue takes it. Behind -- a "
        "program and its arguments.",
    ),
]


def _choice(*words: str) -> Any:
    def read(text: str) -> str:
        if (word := text.strip().lower()) in words:
            return word
        raise Invalid(f"{text!r} is not one of {', '.join(words)}{units.nearest(text, words)}")

    return read


def _until(text: str) -> int | None:
    return None if text.strip().lower() == "none" else units.moment(text)


def _jitter(text: str) -> float:
    if (seconds := units.duration(text)) == 0 or seconds >= 1:
        return seconds
    raise Invalid(f"{text!r} is less than a second (a fraction of the delays of retries stands in a JSON spec)")


_TERMS: dict[str, tuple[Any, p.Parameter]] = {
    "every": (float | None, p.option("--every", "DURATION", "Again after so long: 15m, 1d.", p.positive_duration)),
    "anchor": (int | None, p.option("--anchor", "WHEN", "Where --every begins to count [default: now].", units.moment)),
    "tz": (str | None, p.option("--tz", "ZONE", "The clock of a cron expression: Europe/Berlin, UTC [default: here].")),
    "catch_up": (
        str | None,
        p.option(
            "--catch-up",
            "WHICH",
            "Of the moments that pass while no worker is up: none, the last or all are made up for [default: last].",
            _choice(*CATCH_UP),
            v.words(*CATCH_UP),
        ),
    ),
    "window": (
        float | None,
        p.option("--window", "DURATION", "None is made up for that passed longer ago [default: 1d].", units.duration),
    ),
    "overlap": (
        str | None,
        p.option(
            "--overlap",
            "WHAT",
            "While an earlier job has not ended: skip; queue: one waits for its end; allow [default: skip].",
            _choice(*OVERLAP),
            v.words(*OVERLAP),
        ),
    ),
    "jitter": (
        float | None,
        p.option("--jitter", "DURATION", "Each job is due up to so much later, at random [default: 0].", _jitter),
    ),
    "until": (int | None, p.option("--until", "WHEN", "The last moment; none: there is none.", _until)),
    "pause_on_failure": (
        bool,
        p.Parameter(name="--pause-on-failure", help="Pause it when one of its jobs dies."),
    ),
}

if TYPE_CHECKING:
    TermOptions = Mapping[str, Any] | None
    ScheduledJobOptions = Mapping[str, Any] | None
    ScheduledJobChanges = Mapping[str, Any] | None
else:
    _JOB = [option for option in OPTIONS if option.name not in (*NOT_SCHEDULED, "jitter")]
    TermOptions = p.options(_TERMS)
    ScheduledJobOptions = p.options({option.name: p.job_option(option) for option in _JOB})
    """The options of the jobs of a schedule."""
    _LINE = (str | None, p.option("--command", "COMMAND", "Run this line instead.", allow_leading_hyphen=True))
    ScheduledJobChanges = p.options({"command": _LINE, **{option.name: p.job_option(option) for option in _JOB}})


def add(
    name: NewName,
    /,
    *words: Words,
    terms: TermOptions = None,
    options: ScheduledJobOptions = None,
    json: p.Json = False,
    db: p.Database = None,
    argv: job_options.Argv = None,
) -> None:
    """Enqueue a job again and again, by a cron expression or at intervals.

    $ queuectl schedule add nightly '30 2 * * *' ./backup.sh
    $ queuectl schedule add nightly '30 2 * * *' --tz Europe/Berlin --timeout 2h -- rsync -a /srv /mnt
    $ queuectl schedule add poll --every 15m --catch-up none --overlap queue ./poll.sh

    Any worker fires it, each moment once, however many are up: the job of 02:30 has the id nightly@ and the moment,
    and QUEUECTL_SCHEDULED_FOR tells its command. While none is up nothing fires. Where the clock is put forward over a
    fixed time, that runs at the first moment after; where it shows it twice, the first time. What is skipped stands in
    the log, with the reason.

    Folder, environment, --stdin and --secret are as they are now; what is not given is, for each job, as the settings
    (`config set`) have it by then.
    """
    from queuectl.scheduling import refuse_terms
    from queuectl.spec import filled

    check_schedule(name)
    given = dict(terms or {})
    cron, command, rest = _split(words, "every" in given, argv)
    fields = job_options.given_fields(options)
    reason = fields.pop("reason", None)
    ahead = (name, cron) if cron is not None else (name,)
    spec = filled(job_options.spec_from_words(command, rest, argv, "schedule add", ahead), fields)
    if cron is not None:
        given["cron"] = cron
    refuse_terms(given)  # type: ignore[arg-type]
    if spec.stdin == "-":
        job_stdin.wait_until_readable()
    with opening.open_queue(db, create=True) as q:
        job = q.schedules.add(name, spec, reason=reason, **given).job
        job_options.mention_default_limit(q, job.timeout, job.queue)
        job_options.mention_locks(q, spec.needs)
        _print(q, name, json)


def _split(
    words: tuple[str, ...], is_interval: bool, argv: tuple[str, ...] | None
) -> tuple[str | None, str | None, tuple[str, ...]]:
    """Return the cron expression and the command, and what stands behind them. Raises Invalid for a missing one."""
    if is_interval:
        return None, words[0] if words else None, words[1:]
    if not words:
        raise Invalid("schedule add needs a cron expression in one word, as '30 2 * * *', or --every DURATION")
    from queuectl.recurrence import check_expression

    cron = check_expression(words[0])
    if len(words) == 1 and argv is None:
        raise Invalid("schedule add needs a COMMAND behind the cron expression, or a program behind --")
    return cron, words[1] if len(words) > 1 else None, words[2:]


def edit(
    name: Name,
    cron: Annotated[str | None, p.Parameter(name="CRON", help="Another cron expression.")] = None,
    /,
    *,
    terms: TermOptions = None,
    changes: ScheduledJobChanges = None,
    no_pause_on_failure: Annotated[
        bool, p.Parameter(name="--no-pause-on-failure", help="Don't pause it then any more.")
    ] = False,
    json: p.Json = False,
    db: p.Database = None,
    argv: job_options.Argv = None,
) -> None:
    """Change when a schedule fires, or its jobs to come; what is not given stays.

    $ queuectl schedule edit nightly '30 3 * * *'
    $ queuectl schedule edit nightly --timeout 3h --until none
    $ queuectl schedule edit nightly --command './backup.sh --full'

    What had come by then is enqueued or skipped as before. --env and --tag are added to.
    """
    given, fields = dict(terms or {}), job_options.given_fields(changes)
    if given.get("pause_on_failure") and no_pause_on_failure:
        raise Invalid("give --pause-on-failure or --no-pause-on-failure, not both")
    if no_pause_on_failure:
        given["pause_on_failure"] = False
    if cron is not None:
        given["cron"] = cron
    if argv is not None:
        fields["argv"] = argv
    if not given and not fields.keys() - {"reason"}:
        raise Invalid("schedule edit needs something to change: a cron expression or an option")
    refuse_both(fields)
    if fields.get("stdin") == "-":
        job_stdin.wait_until_readable()
    with opening.open_queue(db) as q:
        if not q.schedules.edit(name, terms=given, **fields):  # type: ignore[arg-type]
            output.message("nothing was changed")
        _print(q, name, json)


def _print(q: "Queue", name: str, json: bool) -> None:
    """Print what became of a schedule."""
    found = q.schedules.get(name)
    if json:
        output.document(found.json())
        return
    following = (
        f"next {_shown(found.next, found)}" if found.next is not None else "due" if found.due else found.condition
    )
    output.line(output.escape(f"schedule {name}: {_when(found)}, {following}"))
    if found.waits and q.schedules.is_idle():
        output.message("no worker is up: nothing fires until `queuectl worker start`")


def _when(schedule: "ScheduleSummary") -> str:
    zone = f" ({schedule.state.tz})" if schedule.state.tz is not None else ""
    return schedule.words + zone


def _shown(moment: int | None, schedule: "ScheduleSummary") -> str:
    """A moment in local time; with its offset, where the clock of the schedule shows another time, as that shows it."""
    from queuectl.cli.ui import wording

    zone = schedule.state.tz
    if moment is None or zone is None or schedule.error is not None:
        return wording.local_time(moment)
    here, there = _at(moment), _at(moment, zone)
    same = here.utcoffset() == there.utcoffset()
    return wording.local_time(moment) if same else f"{there:%Y-%m-%d %H:%M:%S %z}"


def list_schedules(*, at: p.At = None, json: p.JsonLines = False, db: p.Database = None) -> None:
    """List the schedules: when each fires in words, what comes next, and what it has fired and skipped.

    $ queuectl schedule list
    $ queuectl schedule list --json | jq -r 'select(.state == "paused").schedule'
    $ queuectl list trigger:nightly          the jobs of one
    """
    from queuectl.cli.ui import progress

    with opening.open_queue(db) as q:
        found = q.schedules.summaries(then=at, progress=progress.bar("Folding the log"))
        if json:
            output.documents(each.json() for each in found)
            return
        if not output.table(HEADS, [_row(each) for each in found], right=("FIRED", "SKIPPED")):
            output.message("nothing is scheduled; `queuectl schedule add NAME CRON COMMAND` does that")
        elif at is None and any(each.waits for each in found) and q.schedules.is_idle():
            output.message("no worker is up: nothing fires until `queuectl worker start`")


def _row(schedule: "ScheduleSummary") -> tuple[Any, ...]:
    state = schedule.state
    following: Any = _shown(schedule.next, schedule)
    if schedule.error is not None:
        following = output.Cell(schedule.error, "failed")
    elif schedule.condition == "paused":
        why = f": job {state.paused_job} died" if state.paused_job is not None else ""
        why += f": {state.paused_reason}" if state.paused_reason is not None else ""
        following = output.Cell(f"paused by {state.paused_by}{why}", "failed")
    elif schedule.next is None:
        following = "due" if schedule.due else "ended"
    return (
        schedule.name, _when(schedule), following, _shown(state.last_moment, schedule), f"{state.fired:,}",
        f"{state.skipped:,}" if state.skipped else "", state.job.runnable.text,
    )  # fmt: skip


def next_(
    name: Name,
    /,
    *,
    count: Annotated[int, p.option("--count", "N", "How many.", p.integer(1, 10_000))] = 5,
    json: p.JsonLines = False,
    db: p.Database = None,
) -> None:
    """Print the next moments of a schedule, on the clock of its time zone.

    $ queuectl schedule next nightly --count 3
    """
    with opening.open_queue(db) as q:
        zone = q.schedules.get(name).state.tz
        moments = q.schedules.upcoming(name, count)
    if json:
        output.documents({"schedule": name, "moment": clock.text(each)} for each in moments)
        return
    for moment in moments:
        output.line(f"{_at(moment, zone):%a %Y-%m-%d %H:%M:%S %z}")
    if not moments:
        output.message(f"schedule {name} has no moments any more")


def _at(moment: int, zone: str | None = None) -> "datetime":
    """A moment on the clock of a time zone; None: of this process's."""
    from queuectl.recurrence import find_zone

    return (clock.EPOCH + moment * clock.MICROSECOND).astimezone(find_zone(zone) if zone is not None else None)


def run(name: Name, /, *, json: p.Json = False, db: p.Database = None) -> None:
    """Enqueue a job of a schedule now, beside its moments; print its id.

    $ queuectl schedule run nightly
    $ queuectl wait $(queuectl schedule run nightly)

    Also while it is paused, and while an earlier one runs.
    """
    with opening.open_queue(db) as q:
        id = q.schedules.run(name)
        _print_jobs(q, [id], json)


def backfill(
    name: Name,
    /,
    *,
    since: Annotated[int, p.option("--from", "WHEN", "The first moment, written as 2026-11-24, or -7d.", units.past)],
    until: Annotated[int | None, p.option("--to", "WHEN", "The last moment [default: now].", units.past)] = None,
    json: p.JsonLines = False,
    db: p.Database = None,
) -> None:
    """Enqueue the jobs of past moments that have none; print their ids.

    $ queuectl schedule backfill nightly --from 2026-11-01 --to 2026-11-07

    Whatever the schedule catches up itself, and whether earlier ones run. It can be repeated: no moment is done twice.
    """
    from queuectl.cli.ui import progress

    with opening.open_queue(db) as q:
        bar = progress.bar(f"Enqueueing {name}")
        ids = q.schedules.backfill(name, since, until, progress=lambda done: bar(done, 0))
        bar(1, 1)
        _print_jobs(q, ids, json)
    if not ids:
        output.message("no moment lies between without a job")


def _print_jobs(q: "Queue", ids: list[str], json: bool) -> None:
    if json:
        from queuectl.documents import job_document

        output.documents(job_document(q.job(id)) for id in ids)
    elif ids:
        output.line("\n".join(ids))


def pause(name: Name, /, *, reason: p.Reason = None, json: p.Json = False, db: p.Database = None) -> None:
    """Have a schedule enqueue nothing until it is resumed; what has come by then is skipped.

    $ queuectl schedule pause nightly --reason 'disk full'
    """
    with opening.open_queue(db) as q:
        if not q.schedules.pause(name, reason=reason):
            output.message(f"schedule {name} was paused already")
        _print(q, name, json)


def resume(name: Name, /, *, reason: p.Reason = None, json: p.Json = False, db: p.Database = None) -> None:
    """Have a paused schedule enqueue again.

    $ queuectl schedule resume nightly

    `queuectl schedule backfill` makes up for what was skipped.
    """
    with opening.open_queue(db) as q:
        if not q.schedules.resume(name, reason=reason):
            output.message(f"schedule {name} was not paused")
        _print(q, name, json)


def remove(name: Name, /, *, reason: p.Reason = None, db: p.Database = None) -> None:
    """Remove a schedule. The jobs that it has enqueued stay.

    $ queuectl schedule remove nightly
    """
    with opening.open_queue(db) as q:
        q.schedules.remove(name, reason=reason)
    output.line(output.escape(f"schedule {name}: removed"))
