"""How values go to PostgreSQL and come back: as the same types that SQLite gives."""

from psycopg.abc import AdaptContext
from psycopg.adapt import Buffer, Dumper, Loader
from psycopg.types.numeric import Int8Dumper
from psycopg.types.string import StrDumper, TextLoader


class FlagDumper(Dumper):
    """True and False as 1 and 0."""

    oid = 20  # int8

    def dump(self, obj: bool) -> Buffer:
        """The number as text."""
        return b"1" if obj else b"0"


class SumLoader(Loader):
    """`sum(bigint)` is numeric: an int, where it has no fraction (P11)."""

    def load(self, data: Buffer) -> int | float:
        """The number."""
        text = bytes(data)
        return float(text) if b"." in text or not text.lstrip(b"-").isdigit() else int(text)


def configure(context: AdaptContext) -> None:
    """Have a connection send each int as int8 and each str as text, so that one plan serves all.

    JSON comes as its text."""
    adapters = context.adapters
    adapters.register_dumper(int, Int8Dumper)
    adapters.register_dumper(bool, FlagDumper)
    adapters.register_dumper(str, StrDumper)
    adapters.register_loader("numeric", SumLoader)
    adapters.register_loader("json", TextLoader)
