"""The user of this process."""

import os


def name() -> str:
    """The user's name, or its number where it has none."""
    try:
        import pwd

        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


def caller() -> str:
    """`user@host`, for the log."""
    return f"{name()}@{os.uname().nodename}"
