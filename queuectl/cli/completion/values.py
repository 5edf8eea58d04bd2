"""What the value of a parameter may be, as its annotation says it to completion."""

from typing import Literal

import msgspec


class Values(msgspec.Struct, frozen=True, kw_only=True):
    """The values that are suggested for a parameter."""

    words: tuple[str, ...] = ()
    """These words."""
    known: str = ""
    """Where the words are, or a function that gives them: `module:name`. It is imported when they are asked for."""
    of_setting: bool = False
    """Whether it is a value of the setting that stands before."""
    names: tuple[Literal["queues", "batches", "schedules", "resources", "workers", "hosts", "tags"], ...] = ()
    """Names that the queue has: the questions of `projections.suggestions` that give them."""
    prefix: str = ""
    """What stands before such a name: `batch:`."""
    jobs: str = ""
    """The ids of jobs of this group of `projections.suggestions`."""
    separator: str = ""
    """What stands between several of them in one word."""
    is_filter: bool = False
    """Whether it is a filter, or a term of one."""
    shell: Literal["", "files", "folders", "programs"] = ""
    """What the shell itself completes."""


def words(*words: str, separator: str = "") -> Values:
    """These words."""
    return Values(words=words, separator=separator)


def jobs(group: str) -> Values:
    """The ids of jobs of a group."""
    return Values(jobs=group)


JOBS = jobs("any")
DEPENDENCIES = Values(jobs="any", names=("batches",), prefix="batch:", separator=",")
QUEUES = Values(names=("queues",))
BATCHES = Values(names=("batches",))
SCHEDULES = Values(names=("schedules",))
RESOURCES = Values(names=("resources",))
TAGS = Values(names=("tags",))
WORKERS = Values(names=("workers",))
HOSTS = Values(names=("hosts",))
FILTER = Values(is_filter=True)
STATES = words("pending", "blocked", "processing", "failed", "completed", "dead", "cancelled", separator=",")
SIGNALS = Values(known="queuectl.host.signal_names:NAMES")
ZONES = Values(known="zoneinfo:available_timezones")
SETTINGS = Values(known="queuectl.settings:SETTINGS")
SETTING = Values(of_setting=True)
COLUMNS = Values(known="queuectl.cli.job_columns:NAMES", separator=",")
EVENTS = Values(known="queuectl.events:VOCABULARY.payloads.keys")
PROJECTIONS = Values(known="projections:builtin")
FILES = Values(shell="files")
FOLDERS = Values(shell="folders")
PROGRAMS = Values(shell="programs")
"""A command line in one word: most begin with the name of a program."""

OF_PLACEHOLDER = {
    "ID": JOBS, "ID[,ID…]": DEPENDENCIES, "FILTER": FILTER, "STATE[,STATE]": STATES, "KEY[=VALUE]": TAGS,
    "QUEUE": QUEUES, "NAME[=N|SIZE]": RESOURCES, "NAME=LIST|N|SIZE": RESOURCES, "HOST": HOSTS,
    "SIGNAL": SIGNALS, "ZONE": ZONES,
    "FILE": FILES, "URL|PATH": FILES, "PATH": FILES, "FOLDER": FOLDERS, "COMMAND": PROGRAMS,
}  # fmt: skip
"""The values of a parameter by the placeholder that its help has for them, unless it says others."""
