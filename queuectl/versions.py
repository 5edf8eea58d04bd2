"""The versions of what stands in a database, apart from the programs that read it.

The log has a schema of its own in each engine. Each projection has a version, and so has each type of event. A database
of an older version is brought to these when it is opened; one of a newer version is refused (R4).
"""

SQLITE = 2
"""Of the schema of the log in SQLite, kept in `user_version`."""

POSTGRES = 1
"""Of the schema of the log in PostgreSQL, kept in the table `about`."""

OLDEST_READER = "0.1.0"
"""The oldest version of this program that reads a database which this one has written. It rises with any of the
versions above, and with that of an event that an older program would misread."""


def tables() -> dict[str, int]:
    """The versions of our projections, by name."""
    from projections import builtin

    return {each.name: each.version for each in builtin()}
