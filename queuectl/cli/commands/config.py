"""`queuectl config`: the settings, and where each value comes from."""

from typing import Annotated, Any

from queuectl import settings
from queuectl.cli import opening
from queuectl.cli import parameters as p
from queuectl.cli.completion import values as v
from queuectl.cli.ui import output

_SHORT = 3600.0
"""Seconds: who keeps jobs for less is told what that means."""

Key = Annotated[str, p.Parameter(name="KEY", help=f"One of {', '.join(settings.SETTINGS)}.", values=v.SETTINGS)]


def get(
    key: Annotated[str | None, p.Parameter(name="KEY", help="Only this one.", values=v.SETTINGS)] = None,
    /,
    *,
    json: p.Json = False,
    db: p.Database = None,
) -> None:
    """Show the settings with their values, and where each value comes from.

    $ queuectl config get
    $ queuectl config get backoff-base

    What wins: QUEUECTL_MAX_RETRIES and so on (environment, then .env), then `config set`, then MAX_RETRIES and
    BACKOFF_BASE (environment, then .env), then the default. An option of `enqueue` outranks all.
    """
    selected = settings.setting(key) if key is not None else None
    with opening.open_queue(db) as q:
        values, database = q.config(), q.url
    if selected is not None:
        value = values[selected.key]
        if value.error is not None:
            raise value.error
        if json:
            output.document({"key": selected.key, **_document(selected, value), "database": database})
        else:
            output.line(output.escape(value.text))
    elif json:
        documents = {each.key: _document(each, values[each.key]) for each in settings.SETTINGS.values()}
        output.document({**documents, "database": database})
    else:
        room = max(output.width() // 4, 20)  # of a longer value `config get KEY` has the whole
        rows = [
            (
                each.key,
                output.Cell(output.truncate(value.text, room), "bold"),
                output.truncate(_origin(each, value), room),
                each.help,
            )
            for each in settings.SETTINGS.values()
            for value in (values[each.key],)
        ]
        output.table(("KEY", "VALUE", "FROM", "MEANING"), rows)
        output.database(database)
    if selected is None:
        for value in values.values():
            if value.error is not None:
                output.message(str(value.error))


def _origin(setting: settings.Setting, value: settings.Resolved) -> str:
    return value.source if value.source == "default" else f"{value.source} (default {setting.default})"


def set_(
    key: Key,
    value: Annotated[
        str, p.Parameter(name="VALUE", help="Its new value.", values=v.SETTING, extra={"allow_leading_hyphen": True})
    ],
    /,
    *,
    reason: p.Reason = None,
    json: p.Json = False,
    db: p.Database = None,
) -> None:
    """Change a setting for jobs to come.

    $ queuectl config set max-retries 5
    $ queuectl config set timeout none --reason 'long backups'
    """
    settings.parse(key, value)  # a wrong value must not create the database
    with opening.open_queue(db, create=True) as q:
        q.set_config(key, value, reason)
        _print_setting(q.config(), key, json)
    _warn_of_short_keep(settings.setting(key), value)


def _warn_of_short_keep(setting: settings.Setting, text: str) -> None:
    """Say what it means to keep jobs for so short a time, which may be a slip of a unit."""
    seconds = setting.parse(text)
    if setting.key in ("keep", "keep-dead") and isinstance(seconds, float) and seconds < _SHORT:
        output.message(f"{text} is short: soon after their end, jobs leave the queue and their outputs are removed")


def unset(key: Key, /, *, reason: p.Reason = None, json: p.Json = False, db: p.Database = None) -> None:
    """Take back what `config set` has stored.

    $ queuectl config unset max-retries
    """
    settings.setting(key)
    with opening.open_queue(db) as q:
        q.set_config(key, None, reason)
        _print_setting(q.config(), key, json)


def _print_setting(values: dict[str, settings.Resolved], key: str, json: bool) -> None:
    setting = settings.setting(key)
    now = values[setting.key]
    if json:
        output.document({"key": setting.key, **_document(setting, now)})
    else:
        output.line(f"{setting.key} {output.escape(now.text)} ({now.source})")
    if now.source.startswith(("environment QUEUECTL_", ".env QUEUECTL_")):
        output.message(f"{now.source} outranks `config set`: {now.text!r} is in force here")


def _document(setting: settings.Setting, resolved: settings.Resolved) -> dict[str, Any]:
    return {
        "value": resolved.value,
        "text": resolved.text,
        "source": resolved.source,
        "default": setting.parse(setting.default),
        "help": setting.help,
    }
