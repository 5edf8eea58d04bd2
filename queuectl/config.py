"""The settings: what each is called, what it accepts, and which of the places that may set it wins.

    flag > environment (QUEUECTL_MAX_RETRIES) > `config set` > the seed's MAX_RETRIES, BACKOFF_BASE
    (environment, then .env) > default

A setting travels as text (in the log, in the environment, on the command line) and is parsed where it is used.
The flag is not looked at here: it is a field of the job that is enqueued.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from queuectl import bounds, environment, units
from queuectl.errors import Invalid
from queuectl.events import SHELL

Value = int | float | str | tuple[str, ...] | None


class Settings(msgspec.Struct, frozen=True):
    """The values that are in force, parsed. Durations are seconds, sizes bytes."""

    max_retries: int = 3
    backoff_base: float = 2.0
    backoff_max: float = 86400.0
    jitter: float = 0.0
    timeout: float | None = 60.0
    on_lost: str = "retry"
    shell: str = SHELL
    keep_env: tuple[str, ...] = environment.DEFAULT
    output_limit: int = 64 << 20
    output_policy: str = "cut"
    disk_floor: int = 100 << 20
    synchronous: str = "full"
    seal_every: float | None = None


class Setting(msgspec.Struct, frozen=True):
    """One key: how it is spelled for people, how its text is read, and which variable of the seed's may set it."""

    key: str
    default: str
    parse: Callable[[str], Value]
    help: str
    seed: str | None = None

    @property
    def variable(self) -> str:
        """The environment variable that sets it: `QUEUECTL_MAX_RETRIES`."""
        return "QUEUECTL_" + self.field.upper()

    @property
    def field(self) -> str:
        """Its name in `Settings`."""
        return self.key.replace("-", "_")


class Resolved(msgspec.Struct, frozen=True):
    """The value that won, its text, and where it comes from: `default`, `config set`, `environment QUEUECTL_TIMEOUT`,
    `environment MAX_RETRIES` or `.env MAX_RETRIES`."""

    value: Value
    text: str
    source: str


def _timeout(text: str) -> float | None:
    return None if text.strip().lower() == "none" else bounds.check_timeout(units.duration(text))


def _seal_every(text: str) -> float | None:
    if text.strip().lower() == "none":
        return None
    if (seconds := units.duration(text)) > 0:
        return seconds
    raise Invalid(f"{text!r} is not a duration above 0, or none")


def _choice(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if (word := text.strip().lower()) in words:
            return word
        raise Invalid(f"{text!r} is not one of {', '.join(words)}{units.nearest(text, words)}")

    return parse


def _size(least: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if least <= (count := units.size(text)) <= 1 << 50:
            return count
        raise Invalid(f"{text!r} is not a size from {units.size_text(least)} to 1024 TiB")

    return parse


_TABLE = (
    Setting("max-retries", "3", lambda text: units.whole(text, 0, bounds.MOST_RETRIES),
            "further attempts after the first one has failed", "MAX_RETRIES"),
    Setting("backoff-base", "2", lambda text: units.number(text, *bounds.BASES),
            "the retry after failure n is due base^n seconds later", "BACKOFF_BASE"),
    Setting("backoff-max", "1d", units.duration, "the longest delay between attempts"),
    Setting("jitter", "0", lambda text: units.number(text, *bounds.JITTERS),
            "the fraction (0 to 1) of each delay by which it is randomly longer or shorter"),
    Setting("timeout", "60s", _timeout, "how long an attempt may take; none: for ever"),
    Setting("on-lost", "retry", _choice(*bounds.ON_LOST), "what becomes of a job whose worker died: retry or dead"),
    Setting("shell", SHELL, lambda text: bounds.check_shell(text.strip()), "what runs a command line"),
    Setting("keep-env", ",".join(environment.DEFAULT), environment.parse,
            "variables of the caller that a job is given: names, patterns (CUDA_*), all or none"),
    Setting("output-limit", "64MiB", _size(4096), "how much output of an attempt is kept"),
    Setting("output-policy", "cut", _choice("cut", "kill"),
            "what becomes of an attempt that writes more: its output's middle is cut out, or it is killed"),
    Setting("disk-floor", "100MiB", _size(0), "the free disk space below which no new job starts"),
    Setting("synchronous", "full", _choice("full", "normal"),
            "full: what was acknowledged survives a power cut; normal: only a crash of the program"),
    Setting("seal-every", "none", _seal_every,
            "how often workers seal the log, where anything has happened; none: only `audit seal` does"),
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
    stored: Mapping[str, str], environ: Mapping[str, str] | None = None, env_file: Mapping[str, str] | None = None
) -> dict[str, Resolved]:
    """Every setting with the value that wins. `stored` is what `config set` has stored, by key.

    `environ` is the process's and `env_file` that of the working directory unless given. An empty variable counts as
    not set. Raises Invalid where the winner is no valid value; the message names the place.
    """
    said = _said(stored, environ, env_file)
    return {
        key: said[key] if key in said else Resolved(each.parse(each.default), each.default, "default")
        for key, each in SETTINGS.items()
    }


def settings(
    stored: Mapping[str, str], environ: Mapping[str, str] | None = None, env_file: Mapping[str, str] | None = None
) -> Settings:
    """The values in force, as `resolve` finds them. Raises Invalid."""
    said: dict[str, Any] = {SETTINGS[key].field: found.value for key, found in _said(stored, environ, env_file).items()}
    return Settings(**said)


def _said(
    stored: Mapping[str, str], environ: Mapping[str, str] | None, env_file: Mapping[str, str] | None
) -> dict[str, Resolved]:
    """The settings of which some place says anything. Every enqueue asks, so it costs little where none does."""
    environ = os.environ if environ is None else environ
    env_file = dotenv() if env_file is None else env_file
    said: dict[str, Resolved] = {}
    for key, variable, seed in _PLACES:
        if text := environ.get(variable):
            source = f"environment {variable}"
        elif text := stored.get(key):
            source = "config set"
        elif seed is None:
            continue
        elif text := environ.get(seed):
            source = f"environment {seed}"
        elif text := env_file.get(seed):
            source = f".env {seed}"
        else:
            continue
        try:
            said[key] = Resolved(parse(key, text), text, source)
        except Invalid as error:
            raise Invalid(f"{error} (from {source})") from None
    return said


def dotenv() -> dict[str, str]:
    """The variables of `.env` in the working directory, as they stand there; none where there is no such file.

    Raises Invalid where it can't be read.
    """
    if not os.path.isfile(".env"):
        return {}
    try:
        with open(".env", encoding="utf-8-sig") as file:
            from dotenv import dotenv_values  # costs as much as opening the database: only where there is a file

            found = dotenv_values(stream=file, interpolate=False)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "not valid UTF-8"
        raise Invalid(f"can't read {os.path.abspath('.env')}: {why}") from None
    return {name: value for name, value in found.items() if value is not None}


def database(flag: str | None = None) -> str:
    """Where the queue is: the flag > QUEUECTL_DB > DB_PATH (environment, then .env) > the user's state folder.

    A path or URL as it was given. Raises Invalid.
    """
    for text, source in (
        (flag, "--db"),
        (os.environ.get("QUEUECTL_DB"), "QUEUECTL_DB"),
        (os.environ.get("DB_PATH"), "DB_PATH"),
    ):
        if text:
            return _located(text, source)
        if text is not None and source == "--db":
            raise Invalid("--db: is empty")
    if text := dotenv().get("DB_PATH"):
        return _located(text, ".env DB_PATH")
    from platformdirs import user_state_dir  # only who names no database pays for it

    return os.path.join(user_state_dir("queuectl", appauthor=False), "queue.db")


def _located(text: str, source: str) -> str:
    if "\0" in text:
        raise Invalid(f"{source}: has a NUL byte in it")
    return text
