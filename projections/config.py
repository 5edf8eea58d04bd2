"""Settings stored by `config set`."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from projections.store import Questions, Store
from projections.table import Table
from queuectl.events import ConfigSet, Recorded, Unreadable

if TYPE_CHECKING:
    from projections import Change


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


class StoredSetting(msgspec.Struct, frozen=True):
    """A setting as it was stored last."""

    key: str
    value: str
    set_at: int
    set_by: str


name = "config"
version = 2
tables = ("config",)
reads = frozenset({"config_set"})
TABLE = Table("config", StoredSetting, ("key",))
schema = TABLE.schema


def fold(changes: Sequence["Change"], store: Store) -> None:
    """Store the latest value of each key."""
    latest = {change.event.key: change for change in changes if isinstance(change.event, ConfigSet)}
    new: list[StoredSetting] = []
    gone: list[str] = []
    for key, change in latest.items():
        if change.event.value is None:
            gone.append(key)
        else:
            new.append(StoredSetting(key, change.event.value, change.record.at, change.record.actor))
    store.upsert(TABLE, new)
    store.delete(TABLE, "key", gone)


class ConfigQuestions(Questions):
    """What is asked of the stored settings."""

    def config(self) -> Config | None:
        """The stored settings, or None where none was ever stored."""
        [(version,)] = self._store.execute("select max(version) from events where stream = 'config'")
        return Config(version, dict(self._store.execute("select key, value from config"))) if version else None
