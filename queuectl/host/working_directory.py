"""The working directory of this process, by its name."""

import os


def working_directory() -> str:
    """The working directory as its user names it: `$PWD`, where that is the same folder, symbolic links and all.

    Raises FileNotFoundError where it is gone.
    """
    named, here = os.environ.get("PWD", ""), os.getcwd()
    if named != here and named.startswith("/") and not {".", ".."}.intersection(named.split("/")):
        try:
            if os.path.samestat(os.stat(named), os.stat(".")):
                named.encode()
                return named
        except (OSError, ValueError):
            pass
    return here
