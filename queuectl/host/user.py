"""The user of this process."""

import os


def caller() -> str:
    """`user@host`, for the log."""
    try:
        import pwd

        user = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        user = str(os.geteuid())
    return f"{user}@{os.uname().nodename}"
