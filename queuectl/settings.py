"""The settings: what each is called, what it accepts, and which of the places that may set it wins.

    flag > QUEUECTL_MAX_RETRIES (environment, then .env) > `config set` > the seed's MAX_RETRIES, BACKOFF_BASE
    (environment, then .env) > default

A setting travels as text (in the log, in the environment, on the command line) and is parsed where it is used.
The flag is not looked at here: it is a field of the job that is enqueued.
"""

import os
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from queuectl import dotenv, environment, host_lease, options, units
from queuectl.dotenv import EnvFile
from queuectl.errors import Invalid, QueueError, SettingWarning, Unusable
from queuectl.job_fields import JobSettings
from queuectl.option_kinds import callback, choice
from queuectl.options import Option

Value = int | float | str | tuple[str, ...] | None


class Settings(JobSettings, frozen=True):
    """The values that are in force, parsed. Durations are seconds, sizes bytes."""

    keep_env: tuple[str, ...] = environment.DEFAULT
    output_limit: int = 64 << 20
    output_policy: str = "cut"
    disk_floor: int = 100 << 20
    plain_commands: str = "direct"
    synchronous: str = "full"
    seal_every: float | None = None
    keep: float | None = None
    keep_dead: float | None = None
    lease: float = 60.0
    on_dead: str | None = None
    on_empty: str | None = None
    unusable: dict[str, QueueError] = msgspec.field(default_factory=dict[str, QueueError])
    """Settings whose value can't be used, by field: why. Their fields above have the default."""

    def require(self, *fields: str) -> None:
        """Raise what is wrong with the first of these that can't be used: QueueError."""
        for field in fields if self.unusable else ():
            if field in self.unusable:
                raise self.unusable[field]


class Setting(msgspec.Struct, frozen=True):
    """One key: how it is spelled for people, how its text is read, and which variable of the seed's may set it."""

    key: str
    default: str
    parse: Callable[[str], Value]
    help: str
    seed: str | None = None
    words: tuple[str, ...] = ()
    """Values that it may have; empty: it has no such words."""
    only_stored: bool = False
    """Whether `config set` alone sets it: it is of the queue, and not of what this process asks for."""

    @property
    def variable(self) -> str | None:
        """The environment variable that sets it: `QUEUECTL_MAX_RETRIES`; None: none does."""
        return "QUEUECTL_" + self.field.upper() if not self.only_stored else None

    @property
    def field(self) -> str:
        """Its name in `Settings`."""
        return self.key.replace("-", "_")


class Resolved(msgspec.Struct, frozen=True):
    """The value that won, its text, and where it comes from: `default`, `config set`, `environment QUEUECTL_TIMEOUT`,
    `.env QUEUECTL_TIMEOUT`, `environment MAX_RETRIES` or `.env MAX_RETRIES`."""

    value: Value
    text: str
    source: str
    error: QueueError | None = None
    """Why it can't be used; the value is None then."""


def _of_job(option: Option) -> Setting:
    text = option.help[0].lower() + option.help[1:-1]
    return Setting(option.key, option.setting or "", option.kind.read, text, option.seed, option.kind.words)


def _choice(key: str, words: tuple[str, ...], text: str) -> Setting:
    """One of some words, of which the first is the default."""
    return Setting(key, words[0], choice(*words).read, text, words=words)


def _seal_every(text: str) -> float | None:
    if text.strip().lower() == "none":
        return None
    if (seconds := units.duration(text)) > 0:
        return seconds
    raise Invalid(f"{text!r} is not a duration above 0, or none")


def _keep(text: str) -> float | None:
    word = text.strip().lower()
    if word in ("none", "forever"):
        return None
    try:
        seconds = units.duration(text)
    except Invalid:
        seconds = 0.0
    if seconds > 0:
        return seconds
    raise Invalid(f"{text!r} is not a duration above 0 (30d, 12h), or none")


def _size(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if least <= (count := units.size(text)) <= 1 << 50:
            return count
        raise Invalid(f"{text!r} is not a size from {units.size_text(least)} to 1024 TiB")

    return parse


_TABLE = (
    *map(_of_job, options.SETTINGS),
    Setting("keep-env", ",".join(environment.DEFAULT), environment.parse,
            "variables of the caller that a job is given: names, patterns (CUDA_*), all or none"),
    Setting("output-limit", "64MiB", _size(4096), "how much output of an attempt is kept"),
    _choice("output-policy", ("cut", "kill"),
            "what becomes of an attempt that writes more: its output's middle is cut out, or it is killed"),
    Setting("disk-floor", "100MiB", _size(0), "the free disk space below which no new job starts"),
    _choice("plain-commands", ("direct", "shell"),
            "direct: a command line of plain words runs without the shell; shell: each line runs by it"),
    _choice("synchronous", ("full", "normal"),
            "full: what was acknowledged survives a power cut; normal: only a crash of the program"),
    Setting("seal-every", "none", _seal_every,
            "how often workers seal the log, where anything has happened; none: only `audit seal` does"),
    Setting("keep", "none", _keep,
            "how long jobs stay that have completed or were cancelled, before workers archive them; none: for ever",
            only_stored=True),
    Setting("keep-dead", "none", _keep, "the same of dead jobs; none: for ever, whatever keep says", only_stored=True),
    Setting("lease", "60", host_lease.parse,
            "how long a worker may be cut off from a database that other hosts reach, before these run what it ran"),
    Setting("on-dead", "none", callback, "a callback of every job that dies: a line of shell", only_stored=True),
    Setting("on-empty", "none", callback, "a callback each time when nothing is left to do: a line of shell",
            only_stored=True),
)  # fmt: skip

SETTINGS: dict[str, Setting] = {setting.key: setting for setting in _TABLE}
"""Every setting by its key, in the order in which they are shown."""

_PLACES = [(each.key, each.variable, each.seed) for each in _TABLE]


def setting(key: str) -> Setting:
    """The setting of that name; `max_retries` is `max-retries` too. Raises Invalid, which names the nearest."""
    found = SETTINGS.get(key.strip().lower().replace("_", "-"))
    if found is None:
        raise Invalid(f"there is no setting {key!r}{units.nearest(key, SETTINGS)}; known: {', '.join(SETTINGS)}")
    return found


def parse(key: str, text: str) -> Value:
    """The value that text means for a key. Raises Invalid: an unknown key, or what is accepted instead."""
    found = setting(key)
    try:
        return found.parse(text)
    except Invalid as error:
        raise Invalid(f"{found.key}: {str(error).removeprefix(found.field + ': ')}") from None


def resolve(
    stored: Mapping[str, str], environ: Mapping[str, str] | None = None, env_file: EnvFile | None = None
) -> dict[str, Resolved]:
    """Every setting with the value that wins. `stored` is what `config set` has stored, by key.

    `environ` is the process's and `env_file` that of the working directory unless given. An empty variable counts as
    not set. Where the winner is no valid value, `Resolved.error` says so and names the place.
    """
    said = _said(stored, environ, env_file)
    return {
        key: said[key] if key in said else Resolved(each.parse(each.default), each.default, "default")
        for key, each in SETTINGS.items()
    }


def settings(
    stored: Mapping[str, str], environ: Mapping[str, str] | None = None, env_file: EnvFile | None = None
) -> Settings:
    """The values in force, as `resolve` finds them; what can't be used is in `unusable`, and its default in place."""
    said = _said(stored, environ, env_file)
    values: dict[str, Any] = {SETTINGS[key].field: each.value for key, each in said.items() if each.error is None}
    if len(values) < len(said):
        values["unusable"] = {SETTINGS[key].field: each.error for key, each in said.items() if each.error is not None}
    return Settings(**values)


def stored_settings(stored: Mapping[str, str]) -> Settings:
    """The values in force for what no process asks for, as callbacks: stored ones and defaults, nobody's environment.

    `stored` is what `config set` has stored, by key.
    """
    return settings(stored, {}, EnvFile(entries={}))


def _said(
    stored: Mapping[str, str], environ: Mapping[str, str] | None, env_file: EnvFile | None
) -> dict[str, Resolved]:
    """The settings of which some place says anything. Every enqueue asks, so it costs little where none does.

    MAX_RETRIES and BACKOFF_BASE are names that other programs have too: an unusable value of theirs is warned of and
    passed over. One under a name of ours, or stored, is an error where the setting is needed.
    """
    environ = os.environ if environ is None else environ
    env_file = dotenv.read() if env_file is None else env_file
    said: dict[str, Resolved] = {}
    ranks: dict[str, int] = {}
    for key, variable, seed in _PLACES:
        for rank, (get, name, source) in enumerate((
            (environ.get, variable, "environment "),
            (env_file.get, variable, ".env "),
            (stored.get, key, "config set"),
            (environ.get, seed, "environment "),
            (env_file.get, seed, ".env "),
        )):  # fmt: skip
            if name is None:
                continue
            source = source if source == "config set" else source + name
            text = ""
            ranks[key] = rank
            try:
                if text := get(name) or "":
                    said[key] = Resolved(parse(key, text), text, source)
                    break
            except QueueError as error:
                if text:
                    place = f"{env_file.where(name)}: {name}" if get == env_file.get else source
                    error = Invalid(f"{error} (from {place})")
                if name == seed and isinstance(error, Invalid):
                    warnings.warn(f"{error}: passed over", SettingWarning, stacklevel=1)
                    continue
                said[key] = Resolved(None, text, source, error)
                break
    if any(ranks[key] < ranks["backoff"] for key in ("backoff-base", "backoff-max") if key in said):
        said.pop("backoff", None)  # delays that are listed give way to a base that a higher place says
    return said


class DatabaseName(msgspec.Struct, frozen=True):
    """A database, as it was named."""

    path: str
    """A path or URL as it was given."""
    source: str | None
    """What names it: `--db`, `QUEUECTL_DB`, `DB_PATH`, or file and line of `.env`; None where nothing does, and it is
    the one in the user's state folder."""


def database(flag: str | None = None) -> DatabaseName:
    """Where the queue is: the flag > QUEUECTL_DB > DB_PATH (environment, then `.env`) > the user's state folder.

    Raises Invalid for what is no name, and where `.env` names one that can't be used; Unusable, naming file and owner,
    where it would have come from a `.env` that is not read: never is another queue taken in silence.
    """
    for text, source in (
        (flag, "--db"),
        (os.environ.get("QUEUECTL_DB"), "QUEUECTL_DB"),
        (os.environ.get("DB_PATH"), "DB_PATH"),
    ):
        if text:
            return _named(text, source)
        if text is not None and source == "--db":
            raise Invalid("--db: is empty")
    env_file = dotenv.read()
    instead = "name the database with --db or QUEUECTL_DB"
    try:
        for name in ("QUEUECTL_DB", "DB_PATH"):
            if text := env_file.get(name):
                return _named(text, f"{env_file.where(name)}, {name}")
    except Unusable as error:
        raise Unusable(f"{error}; {instead}") from None
    if env_file.opaque:
        raise Unusable(f"{env_file.refusal}: it may name the database; {instead}")
    from platformdirs import user_state_dir  # only who names no database pays for it

    return DatabaseName(os.path.join(user_state_dir("queuectl", appauthor=False), "queue.db"), None)


def logs(env_file: EnvFile) -> str | None:
    """The folder that QUEUECTL_LOGS names, in the environment or `.env`."""
    if named := os.environ.get("QUEUECTL_LOGS"):
        return named
    try:
        return env_file.get("QUEUECTL_LOGS")
    except QueueError as error:
        warnings.warn(f"{error}: passed over", SettingWarning, stacklevel=1)
        return None


def _named(text: str, source: str) -> DatabaseName:
    if "\0" in text:
        raise Invalid(f"{source}: has a NUL byte in it")
    return DatabaseName(text, source)
