"""The options of a job, one row each: all that is known of an option, besides its use, follows from its row.

An option is a row of `OPTIONS` and, where the log has it, the field of `events.Enqueued` with the same name. Derived
from the table are the fields of a JSON spec (`spec`), the policy in the event (`policy`), the flags of `enqueue`, `run`
and `retry` (`cli.job_options`), the settings (`settings`) and the fields of the job document (`documents`). Generated
from it, and compared by a test, are the types of the library (`job_fields`) and a table of docs/reference/job-spec.md.
"""

from collections.abc import Callable, Collection
from typing import Any, Literal, get_args

import msgspec
from msgspec import UNSET

from queuectl import bounds
from queuectl.errors import Invalid
from queuectl.events import Enqueued
from queuectl.halt import halt_rule
from queuectl.option_kinds import (
    CALLBACK,
    DURATION,
    FOLDER,
    IDS,
    INPUT,
    MEMORY,
    MOMENT,
    NAMES,
    NEEDS,
    SIGNAL,
    STEPS,
    SWITCH,
    TAGS,
    TIMEOUT,
    VARIABLES,
    Kind,
    choice,
    codes,
    number,
    text,
    whole,
)
from queuectl.runnable import SHELL

Phase = Literal["blocked", "waiting", "running", "ended"]
"""How far a job has come, for what can be changed of it: blocked, waiting for its start, running, or ended."""
PHASES: tuple[Phase, ...] = get_args(Phase)
"""In their order."""


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """One option."""

    name: str
    kind: Kind
    metavar: str = ""
    help: str
    """One sentence or two, with a period."""
    default: Any = None
    """What a `Spec` has where nothing was said."""
    without: str = ""
    """What is in force where nothing was said, in words; of a setting that is known."""
    setting: str | None = None
    """The text of the default of the setting that has the option's name; None: there is no setting."""
    seed: str | None = None
    """The variable by which the first QueueCTL sets it."""
    only_new: bool = False
    """Whether a retry can't change it."""
    edit: Phase | None = None
    """Until when an edit can change it; None: until the job starts, and never where it is `only_new`."""
    instead_of: tuple[str, ...] = ()
    """The options beside which it can't be given."""
    flag: str = ""
    """Its flag, where that is not its name."""
    only_in_specs: bool = False
    """Whether it has no flag."""

    @property
    def key(self) -> str:
        """Its name in flags and settings: `max-retries`."""
        return self.flag or self.name.replace("_", "-")

    @property
    def default_text(self) -> str:
        """What is in force where nothing was said, as help tells it; empty: nothing is."""
        return f"{self.setting}, a setting" if self.setting is not None else self.without


OPTIONS = (
    Option(name="id", kind=text(bounds.check_id), metavar="ID", only_new=True, without="a number",
           help="An id of your own, not all digits; never used twice in a queue."),
    Option(name="name", kind=text(bounds.check_label), metavar="NAME", only_new=True, only_in_specs=True,
           without="none",
           help="A label, by which others of the same file depend on it: as @NAME. It is not stored."),
    Option(name="queue", kind=text(bounds.check_queue), metavar="NAME", only_new=True, default="default",
           without="default", edit="waiting", help="The queue it goes to."),
    Option(name="priority", kind=whole(*bounds.PRIORITIES), metavar="N", default=0, without="0",
           help="Higher runs first."),
    Option(name="delay", kind=DURATION, metavar="DURATION", only_new=True, instead_of=("at",), edit="waiting",
           help="Not before so long from now: 90, 90s, 5m, 2h30m, 1d."),
    Option(name="at", kind=MOMENT, metavar="WHEN", only_new=True, instead_of=("delay",), edit="waiting",
           help="Not before then: 2026-11-24T09:00 (local), 2026-11-24T09:00:00Z, 02:30 (the next one), tomorrow "
           "02:30, or a duration ahead."),
    Option(name="max_retries", kind=whole(0, bounds.MOST_RETRIES), metavar="N", setting="3", seed="MAX_RETRIES",
           edit="running", help="Further attempts after the first one has failed; then it goes to the dead letter "
           "queue."),
    Option(name="backoff_base", kind=number(*bounds.BASES), metavar="X", setting="2", seed="BACKOFF_BASE",
           instead_of=("backoff",), help="The retry after failure n is due X^n seconds later."),
    Option(name="backoff_max", kind=DURATION, metavar="DURATION", setting="1d", instead_of=("backoff",),
           help="The longest delay between attempts."),
    Option(name="jitter", kind=number(*bounds.JITTERS), metavar="X", setting="0",
           help="The fraction (0 to 1) of each delay by which it is randomly longer or shorter."),
    Option(name="backoff", kind=STEPS, metavar="DURATION[,DURATION…]", setting="none",
           instead_of=("backoff_base", "backoff_max"),
           help="The delay before each retry in turn, the last one repeated: 10s,1m,10m; none: X^n seconds."),
    Option(name="timeout", kind=TIMEOUT, metavar="DURATION", default=UNSET, setting="60s", edit="running",
           help="How long an attempt may take; none: for ever."),
    Option(name="on_lost", kind=choice(*bounds.ON_LOST), metavar="WHAT", setting="retry", edit="running",
           help="What becomes of it when its worker dies: retry or dead."),
    Option(name="keep_children", kind=SWITCH, default=False,
           help="Leave what it left running in the background, rather than end it with the command."),
    Option(name="split_output", kind=SWITCH, default=False,
           help="Keep what it writes to stderr in a file of its own, rather than in one with its stdout."),
    Option(name="nice", kind=whole(0, 19), metavar="N", default=0, without="0",
           help="Run it at a lower priority for the processor: N, up to 19, is added to its worker's niceness."),
    Option(name="memory_limit", kind=MEMORY, metavar="SIZE", default=UNSET, setting="none",
           help="How much memory an attempt may use: 64M, 2G; none: no limit."),
    Option(name="grace", kind=DURATION, metavar="DURATION", setting="5s",
           help="How long it has to end when it is asked to: at its timeout, by a cancel, with its worker. Then it is "
           "killed."),
    Option(name="stop_signal", kind=SIGNAL, metavar="SIGNAL", without="TERM",
           help="What asks it to end: INT, SIGINT or 2. Its whole process group is sent this signal, and KILL once the "
           "grace is over."),
    Option(name="ok_codes", kind=codes(0, 0), metavar="CODE[,CODE…]", without="0",
           help="The exit codes that count as success; 0 always does."),
    Option(name="no_retry_codes", kind=codes(1), metavar="CODE[,CODE…]", without="none",
           help="The exit codes of failures that are not retried: the job goes to the dead letter queue at once."),
    Option(name="held", kind=SWITCH, default=False, only_new=True, flag="hold",
           help="Hold it: it does not start until `queuectl release`."),
    Option(name="needs", kind=NEEDS, metavar="NAME[=N|SIZE]", default={}, flag="resource",
           help="What it needs of a resource while it runs: gpu, gpu=2, mem=8G; of one that nobody has "
           "set there is 1."),
    Option(name="slots", kind=whole(1, bounds.MOST_SLOTS), metavar="N", default=1, without="1",
           help="How many slots of one worker it takes."),
    Option(name="after", kind=IDS, metavar="ID[,ID…]", default=(), only_new=True, without="nothing", edit="blocked",
           help="Start it once these jobs have completed (batch:NAME: all of a batch); where one ends otherwise, it is "
           "cancelled."),
    Option(name="after_any", kind=IDS, metavar="ID[,ID…]", default=(), only_new=True, without="nothing",
           edit="blocked",
           help="Start it once these jobs (batch:NAME: all of a batch) have ended, however they do."),
    Option(name="after_failure", kind=IDS, metavar="ID[,ID…]", default=(), only_new=True, without="nothing",
           edit="blocked",
           help="Start it once one of these jobs (batch:NAME: of a batch) is dead or cancelled; where all complete, it "
           "is cancelled."),
    Option(name="tags", kind=TAGS, metavar="KEY[=VALUE]", default={}, flag="tag", edit="ended",
           help="What it is filed under: filters find it by that, as tag:KEY and tag:KEY=VALUE."),
    Option(name="unique", kind=text(bounds.check_key), metavar="KEY", only_new=True, without="none",
           help="While a job with this key has not ended, the same command in the same folder is not added again: the "
           "id of that job is printed."),
    Option(name="on_duplicate", kind=choice(*bounds.ON_DUPLICATE), metavar="WHAT", default="keep", only_new=True,
           without="keep",
           help="What becomes of a job whose unique key is taken: keep the one that is there, replace it as long as it "
           "waits, or fail."),
    Option(name="if_absent", kind=SWITCH, default=False, only_new=True,
           help="Add it only where there never was a job with its --id: otherwise that id is printed."),
    Option(name="batch", kind=text(bounds.check_batch), metavar="NAME", only_new=True, without="none",
           help="The batch to which it belongs: jobs that are watched, waited for and retried together."),
    Option(name="halt", kind=text(lambda rule: str(halt_rule(rule))), metavar="RULE", only_new=True, without="never",
           help="When the batch is halted: soon,fail=3 (3 of its jobs died: what waits is cancelled), now,fail=10% "
           "(also what runs), now,success=1."),
    Option(name="on_complete", kind=CALLBACK, metavar="COMMAND", default=UNSET, without="none", edit="running",
           help="A callback: a line of shell that runs as a job of its own once this one has completed."),
    Option(name="on_failure", kind=CALLBACK, metavar="COMMAND", default=UNSET, without="none", edit="running",
           help="The same once it has died: no retry of it is left."),
    Option(name="on_end", kind=CALLBACK, metavar="COMMAND", default=UNSET, without="none", edit="running",
           help="The same once it has ended, however it did: completed, dead or cancelled."),
    Option(name="cwd", kind=FOLDER, metavar="FOLDER", without="here", help="Where it runs."),
    Option(name="stdin", kind=INPUT, metavar="FILE", without="nothing", help="What it reads, copied now; - is stdin."),
    Option(name="shell", kind=text(bounds.check_shell), metavar="PATH", setting=SHELL,
           help="What runs the command line: an absolute path."),
    Option(name="env", kind=VARIABLES, metavar="K[=V]", default={},
           help="Variables for the command; they are stored in the log."),
    Option(name="env_in_log", kind=NAMES, metavar="NAME", default=(),
           help="Have an --env in the log although its name looks like a secret's."),
    Option(name="secrets", kind=VARIABLES, metavar="K[=V]", default={}, flag="secret",
           help="The same with values that are kept apart from the log, and forgotten once the job has completed."),
    Option(name="reason", kind=text(bounds.check_reason), metavar="TEXT", edit="ended",
           help="Why; stored in the event beside the actor."),
)  # fmt: skip
"""In the order in which they are shown."""

OF_NAME = {option.name: option for option in OPTIONS}

SETTINGS = tuple(option for option in OPTIONS if option.setting is not None)
"""The options that have a setting."""

IN_EVENT = tuple(option.name for option in OPTIONS if option.name in Enqueued.__struct_fields__)
"""The options that the `enqueued` event has by their name."""

EDITABLE = tuple(option.name for option in OPTIONS if option.edit or not option.only_new)
"""The options that an edit can change, at least of a blocked job."""

TAKE_NONE = frozenset(option.name for option in OPTIONS if option.default is UNSET)
"""The options of which None says something: that there is no limit, or no callback."""


def is_editable(name: str, phase: Phase) -> bool:
    """Whether an edit can change a field of Spec of a job in this phase; `command` and `argv` until it starts."""
    option = OF_NAME.get(name)
    last = option.edit if option is not None else None
    if last is None and option is not None and option.only_new:
        return False
    return PHASES.index(phase) <= PHASES.index(last or "waiting")


_EXCLUSIVE = tuple(option for option in OPTIONS if option.instead_of)


def refuse_both(names: Collection[str], spelled: Callable[[Option], str] = lambda option: option.name) -> None:
    """Raise Invalid where two of these options exclude each other."""
    for option in _EXCLUSIVE:
        for other in option.instead_of:
            if option.name in names and other in names:
                raise Invalid(f"give {spelled(option)} or {spelled(OF_NAME[other])}, not both")
