"""Tables made of structs: a column for each field. Projections write and read their tables through this."""

from collections.abc import Callable, Collection, Mapping
from copy import copy
from types import NoneType
from typing import Any, Generic, TypeVar, get_args

import msgspec

Row = TypeVar("Row", bound=msgspec.Struct)


class Codec(msgspec.Struct, frozen=True):
    """How the values of a field are stored."""

    column: str
    """Type and constraints of the column."""
    encode: Callable[[Any], Any] | None = None
    decode: Callable[[Any], Any] | None = None
    """None: as they are."""


CODECS: dict[Any, Codec] = {
    int: Codec("integer"),
    float: Codec("real"),
    str: Codec("text"),
    bool: Codec("integer", decode=bool),
    tuple[str, ...]: Codec("text", "\n".join, lambda text: tuple(text.split("\n")) if text else ()),
}
"""By the type of a field."""


def identifier(column: str) -> str:
    """The name of a column as it stands alone in SQL, quoted where PostgreSQL has a word of its own for it."""
    return f'"{column}"' if column in RESERVED else column


RESERVED = frozenset({"window"})


class Table(Generic[Row]):
    """A table with a row for each struct of one type, and a column for each of its fields, in their order.

    A field that may be None makes a nullable column.
    """

    def __init__(
        self,
        name: str,
        struct: type[Row],
        key: tuple[str, ...],
        *,
        unique: Collection[str] = (),
        apart: Collection[str] = (),
        codecs: Mapping[str, Codec] = {},
        merge: Mapping[str, str] = {},
    ) -> None:
        """`key` names the columns of the primary key, `unique` further ones that identify a row.

        Fields named in `apart` are not stored. `codecs`: by field, where it is not stored as its type says. `merge`: by
        column, the SQL for its value in an upsert that finds a row.
        """
        fields = [field for field in msgspec.structs.fields(struct) if field.name not in apart]
        found = {field.name: codecs.get(field.name) or _codec(field.type) for field in fields}
        self.name = name
        self.key = key
        self.columns = tuple(found)
        self.types = {column: codec.column.split()[0] for column, codec in found.items()}
        """By column: `integer`, `real`, `text` or `blob`."""
        self.flags = frozenset(column for column, codec in found.items() if codec.decode is bool)
        """The columns with 1 for True and 0 for False."""
        self.merge = {
            column: merge.get(column, f"excluded.{column}") for column in found if column not in (*key, *unique)
        }
        """By column that may change: the SQL for its value in an upsert."""
        lines = [
            f"{identifier(column)} {codec.column}{' unique' * (column in unique)}" for column, codec in found.items()
        ]
        rowid = len(key) == 1 and found[key[0]].column.startswith("integer")
        self.schema = (
            f"create table {name} ({', '.join(lines)}, primary key ({', '.join(key)}))"
            f"{'' if rowid else ' without rowid'};"
        )
        """The statement that makes it, without indexes."""
        self.row: Callable[[Row], tuple[Any, ...]] = _writer(found)
        """The values of a row, in the order of the columns."""
        self.read: Callable[..., Row] = _reader(struct, found)
        """The struct of a row, which may have more values than columns; then those of the fields that are `apart`."""

    def part(self, columns: tuple[str, ...], key: tuple[str, ...]) -> "Table[Any]":
        """The same table, to insert rows of these columns or, with a key that is unique in it, to update the row's.

        Instead of structs it takes tuples of what is stored: the values of the columns, then those of the key.
        """
        part: Any = copy(self)
        part.columns, part.key, part.row = (*columns, *key), key, tuple
        part.merge = {column: self.merge[column] for column in columns if column in self.merge}
        return part

    def select(self, alias: str) -> str:
        """The list of its columns for a query that calls it `alias`."""
        return ", ".join(f"{alias}.{column}" for column in self.columns)


def _codec(kind: Any) -> Codec:
    """How fields of a type are stored, which may be one that allows None."""
    if kind in CODECS:
        return msgspec.structs.replace(CODECS[kind], column=f"{CODECS[kind].column} not null")
    return next(CODECS[each] for each in get_args(kind) if each is not NoneType)


# Compiled once from the names of the fields: a loop over them for each row would take half as long again.


def _writer(codecs: Mapping[str, Codec]) -> Callable[[Any], tuple[Any, ...]]:
    encoders = {f"encode_{name}": codec.encode for name, codec in codecs.items() if codec.encode}
    values = [f"encode_{name}(struct.{name})" if codec.encode else f"struct.{name}" for name, codec in codecs.items()]
    return eval(f"lambda struct: ({', '.join(values)},)", encoders)


def _reader(struct: type[Row], codecs: Mapping[str, Codec]) -> Callable[..., Row]:
    decoders = {f"decode_{name}": codec.decode for name, codec in codecs.items() if codec.decode}
    values = {
        name: f"decode_{name}(row[{place}])" if codec.decode else f"row[{place}]"
        for place, (name, codec) in enumerate(codecs.items())
    }
    fields = struct.__struct_fields__
    parameters = ["row", *(field for field in fields if field not in values)]
    arguments = [values.get(field, field) for field in fields]
    return eval(f"lambda {', '.join(parameters)}: struct({', '.join(arguments)})", {"struct": struct, **decoders})
