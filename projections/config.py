"""Settings stored by `config set`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from queuectl.events import ConfigSet, Recorded, Unreadable

if TYPE_CHECKING:
    from projections import Change, Store


class Config(msgspec.Struct, frozen=True):
    """The fold of `config_set` events: the text of each stored setting, by key."""

    version: int
    values: dict[str, str]


def evolve(config: Config | None, record: Recorded, event: Any) -> Config:
    """The settings after one more event. Raises Unreadable where it is no `config_set`."""
    if not isinstance(event, ConfigSet):
        raise Unreadable(f"{record.stream} has a {record.type!r} event (seq {record.seq}), which is none of settings")
    values = dict(config.values) if config is not None else {}
    if event.value is None:
        values.pop(event.key, None)
    else:
        values[event.key] = event.value
    return Config(record.version, values)


name = "config"
version = 2
tables = ("config",)
schema = """
create table config (
    key text primary key,
    value text not null,
    set_at integer not null,
    set_by text not null
) without rowid;
"""


def fold(changes: Sequence["Change"], store: "Store") -> None:
    """Store the latest value of each key."""
    for change in changes:
        event = change.event
        if not isinstance(event, ConfigSet):
            continue
        if event.value is None:
            store.execute("delete from config where key = ?", (event.key,))
        else:
            store.execute(
                """
                insert into config (key, value, set_at, set_by) values (?, ?, ?, ?)
                on conflict (key) do update set
                    value = excluded.value, set_at = excluded.set_at, set_by = excluded.set_by
                """,
                (event.key, event.value, change.record.at, change.record.actor),
            )
