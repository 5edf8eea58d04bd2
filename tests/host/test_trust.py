"""Places refused for a queue (R9): nothing is made there."""

import os
import stat
from pathlib import Path

import pytest

from queuectl.engines.sqlite.location import locate, prepare
from queuectl.errors import Unusable
from queuectl.host import mounts, trust
from queuectl.host.mounts import filesystem
from queuectl.host.trust import is_private_group, objection
from tests.support.other_user import NOBODY, as_root, run


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "q.db"


def refusal(path: Path | str) -> str:
    with pytest.raises(Unusable) as caught:
        prepare(locate(str(path)))
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)
    return str(caught.value)


def never(*_: object) -> bool:
    return False


def test_a_directory_is_no_database(database: Path) -> None:
    database.mkdir()
    assert "is a directory" in refusal(database)
    assert os.listdir(database.parent) == ["q.db"]


def test_a_fifo_is_no_database(database: Path) -> None:
    os.mkfifo(database)
    assert "not a regular file" in refusal(database)


def test_a_file_is_no_folder(database: Path) -> None:
    database.touch()
    assert "is not a folder" in refusal(database / "q.db")
    assert "is not a folder" in refusal(database / "deep" / "q.db")


def test_a_file_instead_of_the_folder_is_refused(database: Path) -> None:
    Path(f"{database}.d").touch()
    assert "is not a folder, but the queue's folder goes there" in refusal(database)
    assert not database.exists()


@pytest.mark.parametrize("suffix", ["-wal", "-shm", "-journal", ".d"])
def test_a_symlinked_side_file_is_refused(database: Path, suffix: str) -> None:
    (database.parent / "elsewhere").mkdir()
    Path(f"{database}{suffix}").symlink_to(database.parent / "elsewhere")
    assert f"q.db{suffix}: is a symbolic link" in refusal(database)
    assert not database.exists()


def test_a_directory_as_side_file_is_refused(database: Path) -> None:
    Path(f"{database}-wal").mkdir()
    assert "not a regular file" in refusal(database)


@pytest.mark.parametrize("present", [True, False])
def test_a_wal_without_its_database_is_refused(database: Path, present: bool) -> None:
    prepare(locate(str(database)))
    if not present:
        database.unlink()
    wal = Path(f"{database}-wal")
    wal.write_bytes(b"committed")
    assert "put it back" in refusal(database)
    assert wal.read_bytes() == b"committed"
    assert database.exists() == present
    wal.write_bytes(b"")
    prepare(locate(str(database)))


def test_a_database_with_two_names_is_refused(database: Path) -> None:
    prepare(locate(str(database)))
    os.link(database, database.parent / "second.db")
    assert "has 2 names" in refusal(database)


@pytest.mark.parametrize("bits", [0o770, 0o720, 0o777, 0o702])
@pytest.mark.parametrize("where", ["parent", "side"])
def test_a_folder_others_can_write_is_refused(
    database: Path, bits: int, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust, "is_private_group", never)
    prepare(locate(str(database)))
    folder = database.parent if where == "parent" else f"{database}.d"
    os.chmod(folder, bits)
    assert "written by others" in refusal(database)


def test_no_folder_is_made_where_others_can_write(database: Path) -> None:
    database.parent.chmod(0o777)
    assert "written by others" in refusal(database.parent / "new" / "q.db")
    assert os.listdir(database.parent) == []


def test_sticky_folders_are_trusted_sticky_files_are_not(database: Path) -> None:
    database.parent.chmod(0o1777)
    prepare(locate(str(database)))
    database.chmod(0o1666)
    assert "written by others" in refusal(database)


@pytest.mark.parametrize("bits, refused", [(0o600, False), (0o644, False), (0o660, True), (0o602, True)])
def test_a_database_others_can_write_is_refused(
    database: Path, bits: int, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trust, "is_private_group", never)
    prepare(locate(str(database)))
    database.chmod(bits)
    if refused:
        assert "written by others" in refusal(database)
    else:
        prepare(locate(str(database)))


@as_root
@pytest.mark.parametrize("name", ["", "q.db", "q.db-wal", "q.db.d"])
def test_files_of_another_user_are_refused(database: Path, name: str) -> None:
    prepare(locate(str(database)))
    Path(f"{database}-wal").touch()
    os.chown(database.parent / name, NOBODY, NOBODY)
    assert "belongs to user nobody" in refusal(database)


@as_root
def test_a_user_may_use_files_of_root(open_folder: Path) -> None:
    script = f"""
os.mkdir("own")
os.chown("own", {NOBODY}, {NOBODY})
os.setuid({NOBODY})
prepare(locate("own/q.db"))  # the folder above is root's
"""
    run(script, open_folder)
    script = f"os.setuid({NOBODY})\nrefused('q.db')"
    assert run(script, open_folder).startswith(f"4 {open_folder}: is not writable")


def test_a_folder_without_write_permission_is_refused(open_folder: Path) -> None:
    run("become_nobody()\nprepare(locate('q.db'))", open_folder)
    (open_folder / "q.db").chmod(0o400)
    assert "q.db: is not writable" in run("become_nobody()\nrefused('q.db')", open_folder)
    (open_folder / "q.db").chmod(0o600)
    (open_folder / "q.db.d").chmod(0o500)
    assert "q.db.d: is not writable" in run("become_nobody()\nrefused('q.db')", open_folder)
    (open_folder / "q.db.d").chmod(0o700)
    open_folder.chmod(0o500)
    try:
        assert f"{open_folder}: is not writable" in run("become_nobody()\nrefused('new/q.db')", open_folder)
        assert f"{open_folder}: is not writable" in run("become_nobody()\nrefused('q.db')", open_folder)
    finally:
        open_folder.chmod(0o700)


def test_a_folder_that_cannot_be_entered_is_refused(open_folder: Path) -> None:
    (open_folder / "closed").mkdir(mode=0o000)
    try:
        told = run("become_nobody()\nrefused('closed/q.db')", open_folder)
    finally:
        (open_folder / "closed").chmod(0o700)
    assert told.startswith("4 ")
    assert "closed" in told


def test_a_message_stays_one_line_whatever_the_path(tmp_path: Path) -> None:
    odd = tmp_path / "a\nb\x1b[31m.db"
    odd.mkdir()
    assert "\\n" in refusal(odd)
    assert "\x1b" not in refusal(odd)


# The judgements, asked about machines we don't have


def found(mode: int, uid: int = 1000, gid: int = 1000) -> os.stat_result:
    return os.stat_result((mode, 1, 1, 1, uid, gid, 0, 0, 0, 0))


FILE, FOLDER = stat.S_IFREG, stat.S_IFDIR


@pytest.mark.parametrize(
    "what, user, private, trusted",
    [
        (found(FOLDER | 0o755), 1000, False, True),
        (found(FOLDER | 0o755, uid=0), 1000, False, True),
        (found(FOLDER | 0o755, uid=1001), 1000, False, False),
        (found(FOLDER | 0o755), 0, False, False),
        (found(FOLDER | 0o775), 1000, False, False),
        (found(FOLDER | 0o775), 1000, True, True),
        (found(FOLDER | 0o777), 1000, True, False),
        (found(FOLDER | 0o1777, uid=0), 1000, False, True),
        (found(FOLDER | 0o1777, uid=1001), 1000, False, False),
        (found(FILE | 0o644), 1000, False, True),
        (found(FILE | 0o664), 1000, True, True),
        (found(FILE | 0o664), 1000, False, False),
        (found(FILE | 0o1666), 1000, False, False),
    ],
)
def test_owners_and_modes_that_are_trusted(what: os.stat_result, user: int, private: bool, trusted: bool) -> None:
    assert (objection(what, user, private) is None) == trusted


def test_a_private_group_has_only_its_user(monkeypatch: pytest.MonkeyPatch) -> None:
    import grp
    import pwd

    def group(gid: int) -> grp.struct_group:
        name, members = {
            0: ("root", []),
            7: ("me", []),
            8: ("me8", ["other"]),
            9: ("users", list[str]()),
            10: ("me10", ["me10"]),
        }[gid]
        return grp.struct_group((name, "x", gid, members))

    def user(uid: int) -> pwd.struct_passwd:
        name = {0: "root", 7: "me", 8: "me8", 9: "me9", 10: "me10"}[uid]
        return pwd.struct_passwd((name, "x", uid, uid, "", "/", "/bin/sh"))

    monkeypatch.setattr(grp, "getgrgid", group)
    monkeypatch.setattr(pwd, "getpwuid", user)
    assert [uid for uid in (7, 8, 9, 10, 11) if is_private_group(uid, uid)] == [7, 10]
    assert not is_private_group(7, 8)
    assert not is_private_group(0, 0)


MOUNTS = """\
22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
23 22 0:21 / /proc rw,nosuid - proc proc rw
30 22 0:40 / /home rw shared:2 master:3 - nfs4 server:/home rw,vers=4.2
31 30 254:3 / /home/local rw - xfs /dev/vdb rw
32 22 0:41 / /mnt/my\\040share rw - cifs //server/share rw
33 22 0:42 / /mnt/ssh rw - fuse.sshfs me@host:/ rw
34 22 0:43 / /c rw - 9p C:\\134 rw
35 22 254:4 / /twice rw - ext4 /dev/vdc rw
36 35 0:44 / /twice rw - nfs server:/twice rw
a line that is none
"""


@pytest.mark.parametrize(
    "path, kind",
    [
        ("/var/q.db", "ext4"),
        ("/home/me/q.db", "nfs4"),
        ("/home", "nfs4"),
        ("/homes/q.db", "ext4"),
        ("/home/local/q.db", "xfs"),
        ("/mnt/my share/q.db", "cifs"),
        ("/mnt/ssh/deep/er/q.db", "fuse.sshfs"),
        ("/c/q.db", "9p"),
        ("/twice/q.db", "nfs"),
    ],
)
def test_the_file_system_of_a_path(path: str, kind: str) -> None:
    assert filesystem(MOUNTS, path) == kind
    assert filesystem("", path) == ""


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "9p", "fuse.sshfs"])
def test_a_network_file_system_is_refused(
    database: Path, kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    mountinfo = tmp_path_factory.mktemp("proc") / "mountinfo"
    mountinfo.write_text(f"1 0 1:1 / / rw - ext4 /dev/vda rw\n2 1 0:9 / {database.parent} rw - {kind} server:/x rw\n")
    monkeypatch.setattr(mounts, "MOUNTINFO", str(mountinfo))
    told = refusal(database)
    assert f"network file system ({kind})" in told
    assert "local disk, or PostgreSQL" in told
    assert os.listdir(database.parent) == []


@pytest.mark.parametrize("name", ["q.db", "q.db-wal"])
def test_a_single_mounted_file_is_refused(
    database: Path, name: str, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    mountinfo = tmp_path_factory.mktemp("proc") / "mountinfo"
    mountinfo.write_text(
        f"1 0 1:1 / / rw - ext4 /dev/vda rw\n2 1 1:1 /x {database.parent}/{name} rw - ext4 /dev/vda rw\n"
    )
    monkeypatch.setattr(mounts, "MOUNTINFO", str(mountinfo))
    assert f"{name}: is mounted as a single file" in refusal(database)
    assert os.listdir(database.parent) == []
