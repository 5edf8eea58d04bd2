"""Whether a file or folder can be trusted: who owns it, and who else could change it (R9)."""

import os
import stat

from queuectl.errors import Unusable, shown


def objection(found: os.stat_result, user: int, private_group: bool = False) -> str | None:
    """Why a file or folder can't be trusted by `user` (a uid), or None: a foreign owner, or others may write.

    A sticky folder (/tmp) is fine, because others can't replace our files in it; so is one that is writable for the
    user's own private group, which is what a umask of 002 makes.
    """
    if found.st_uid not in (0, user):
        return f"belongs to {user_name(found.st_uid)}, who could change it: use a place of your own"
    others = stat.S_IWOTH if private_group else stat.S_IWOTH | stat.S_IWGRP
    if found.st_mode & others and not (stat.S_ISDIR(found.st_mode) and found.st_mode & stat.S_ISVTX):
        return "can be written by others, who could make you run their commands: chmod go-w, or use another place"
    return None


def distrust(found: os.stat_result) -> str | None:
    """Why a file or link is not to be believed, as a clause ("belongs to user ann, who could change it"), or None."""
    if stat.S_ISLNK(found.st_mode):  # its mode says nothing, its owner where it leads
        return None if found.st_uid in (0, os.geteuid()) else f"is a symbolic link made by {user_name(found.st_uid)}"
    why = _objection(found)
    return why.partition(": ")[0] if why is not None else None


def is_private_group(gid: int, user: int) -> bool:
    """Whether the group has the user (a uid) as its only member, by the rule of pam_umask: same number, same name."""
    if user == 0 or gid != user:
        return False
    import grp
    import pwd

    try:
        group, name = grp.getgrgid(gid), pwd.getpwuid(user).pw_name
    except KeyError:
        return False
    return group.gr_name == name and set(group.gr_mem) <= {name}


def check_folder(path: str, purpose: str) -> None:
    """Raise Unusable unless `path` is a folder that this user, and no untrusted one, can write to. Raises OSError."""
    if (link := os.lstat(path).st_uid) not in (0, os.geteuid()) and os.path.islink(path):
        raise Unusable(f"{shown(path)}: is a symbolic link made by {user_name(link)}: name a folder of your own")
    found = os.stat(path)
    if not stat.S_ISDIR(found.st_mode):
        raise Unusable(f"{shown(path)}: is not a folder: name one")
    check_owner(path, found)
    if not os.access(path, os.W_OK | os.X_OK, effective_ids=True):
        raise Unusable(f"{shown(path)}: is not writable, can't {purpose} it: give yourself the rights, or use --db")


def check_owner(path: str, found: os.stat_result) -> None:
    """Raise Unusable where what was found at a path is another user's, or others may write to it."""
    if why := _objection(found):
        raise Unusable(f"{shown(path)}: {why}")


def user_name(uid: int) -> str:
    """A user in words: by name where there is one."""
    import pwd

    try:
        return f"user {pwd.getpwuid(uid).pw_name}"
    except KeyError:
        return f"user {uid}"


def _objection(found: os.stat_result) -> str | None:
    user = os.geteuid()
    if why := objection(found, user):
        private = bool(found.st_mode & stat.S_IWGRP) and is_private_group(found.st_gid, user)
        if not private or objection(found, user, private_group=True):
            return why
    return None
