"""`queuectl edit`: by options, by fields of a spec, and in an editor on a real terminal."""

import os
import pty
import re
import subprocess
from pathlib import Path

import msgspec
import pytest

from tests.support.shell import Shell


@pytest.fixture(autouse=True)
def jobs(queuectl: Shell) -> None:
    """A job that waits, one that waits for it, and one that was cancelled."""
    queuectl("enqueue", "--id", "a", "--tag", "exp=3", "--timeout", "5m", "sleep 1").ok()
    queuectl("enqueue", "--id", "b", "--after", "a", "--tag", "exp=3", "true").ok()
    queuectl("enqueue", "--id", "c", "true").ok()
    queuectl("cancel", "c").ok()


def job(queuectl: Shell, id: str) -> dict[str, object]:
    return queuectl("inspect", id, "--json").ok().json


def test_options_and_fields_go_together(queuectl: Shell) -> None:
    words = ("--priority", "5", "--set", "timeout=null", "--set", 'tags={"x": "1"}', "--reason", "typo")
    assert queuectl("edit", "a", *words).ok().out == "a  pending\n"
    found = job(queuectl, "a")
    assert (found["priority"], found["timeout"], found["tags"]) == (5, None, {"x": "1"})
    told = queuectl("events", "--job", "a", "--type", "edited").ok().out
    assert "edited: priority 0 → 5; timeout 5m → none; tags exp=3 → x=1 — typo" in told
    assert queuectl("edit", "a", "--priority", "5").ok().err == "queuectl: nothing was changed\n"


def test_json_has_the_changed_jobs(queuectl: Shell) -> None:
    found = queuectl("edit", "a", "b", "--nice", "3", "--json").ok().ndjson
    assert [(each["id"], each["nice"]) for each in found] == [("a", 3), ("b", 3)]
    assert queuectl("edit", "a", "--nice", "3", "--json").ok().out == ""


def test_those_that_wait_are_meant_by_all(queuectl: Shell) -> None:
    assert queuectl("edit", "--all", "--queue", "night").ok().out == "a  pending\nb  blocked\n"
    assert queuectl("edit", "--where", "tag:exp=3 state:pending", "--priority", "2").ok().lines == ["a  pending"]
    assert queuectl("edit", "--where", "state:cancelled", "--tag", "old").ok().lines == ["c  cancelled"]
    assert queuectl("edit", "--where", "queue:mail", "--priority", "2").ok().err == "queuectl: no job matches\n"


@pytest.mark.parametrize(
    "words, told",
    [
        (["a"], "edit needs something to change: an option, or --set; one job alone is opened on a terminal"),
        (["a", "--reason", "none"], "edit needs something to change"),
        ([], "edit needs an ID, or --all or --where"),
        (["a", "--all", "--priority", "1"], "give IDs or --all or --where, not both"),
        (["a", "--set", "priority"], "--set: 'priority' is not FIELD=VALUE"),
        (
            ["a", "--set", "prioritty=1"],
            "--set: 'prioritty' is no field that can be changed (did you mean ",
        ),
        (["a", "--set", "id=x"], "--set: 'id' is no field that can be changed; there are command, queue, "),
        (["a", "--set", "held=true"], "--set: a job is held by `queuectl hold`, and let go by `queuectl release`"),
        (["a", "--set", "priority=x"], "--set priority: 'x' is not a whole number from"),
        (["a", "--set", "keep_children=maybe"], "--set keep_children: 'maybe' is not true or false"),
        (["a", "--set", "priority=1", "--set", "priority=2"], "--set priority: is given twice"),
        (["a", "--set", "priority=1", "--priority", "2"], "--set: priority is given twice, also by its option"),
        (["a", "--set", "delay=1m", "--at", "2099-01-01"], "give delay or at, not both"),
        (["a", "--set", "command="], "the command is empty"),
        (["b", "--after", "nobody"], "after: there is no job 'nobody'"),
        (["b", "--after", "b"], "after: b -> b: it waits for itself"),
        (["a", "--hold"], "edit has no option --hold"),
    ],
)
def test_a_wrong_edit_is_one_line(queuectl: Shell, words: list[str], told: str) -> None:
    before = queuectl("list", "--all", "--json").ok().out
    assert queuectl("edit", *words).refused(2).startswith(told)
    assert queuectl("list", "--all", "--json").ok().out == before


def test_the_state_of_a_job_may_forbid_it(queuectl: Shell) -> None:
    assert "job a is pending: its after can't be changed any more" in queuectl("edit", "a", "--after", "c").refused(3)
    told = queuectl("edit", "c", "--command", "false").refused(3)
    assert told == (
        "job c is cancelled: its command can't be changed any more, only tag; "
        "`queuectl retry c --command …` runs it again so"
    )
    assert queuectl("edit", "gone", "--priority", "1").refused(1) == "no job 'gone'; see `queuectl list`"
    queuectl("retry", "c", "--command", "false").ok()
    assert job(queuectl, "c")["command"] == "false"


def test_the_command_of_what_runs_stays(queuectl: Shell) -> None:
    os.mkfifo(queuectl.folder / "go")
    queuectl("edit", "a", "--command", "read line < go").ok()
    worker = queuectl.start("worker", "start", "--drain")
    assert any(job(queuectl, "a")["state"] == "processing" for _ in range(1000))
    before = job(queuectl, "a")
    told = queuectl("edit", "a", "--command", "false").refused(3)
    assert told.startswith("job a is processing: its command can't be changed while it runs, only max-retries, timeout")
    assert job(queuectl, "a") == before
    queuectl("edit", "a", "--timeout", "1h", "--max-retries", "0", "--on-lost", "dead", "--tag", "x").ok()
    Path(queuectl.folder, "go").write_text("go\n", encoding="utf-8")
    assert worker.communicate(timeout=50)[1] == b""
    assert job(queuectl, "a")["state"] == "completed"


def test_what_a_job_depends_on_is_taken_away(queuectl: Shell) -> None:
    assert queuectl("edit", "b", "--after", "").refused(2) == "--after: an id is empty"
    assert queuectl("edit", "b", "--set", "after=").ok().out == "b  pending\n"


def test_a_command_may_be_words(queuectl: Shell) -> None:
    queuectl("edit", "a", "--set", 'command=["echo", "a b"]').ok()
    assert job(queuectl, "a")["argv"] == ["echo", "a b"]
    queuectl("edit", "a", "--set", 'command="a b" c').ok()
    assert (job(queuectl, "a")["argv"], job(queuectl, "a")["command"]) == (None, '"a b" c')
    told = queuectl("events", "--job", "a", "--type", "edited").ok().out
    assert re.search(r"""command sleep 1 → echo 'a b'.*\n.*command echo 'a b' → "a b" c""", told)


# -- in an editor ----------------------------------------------------------------------------------------------------


class Editor:
    """`queuectl edit` on a terminal, with a shell script as the editor."""

    def __init__(self, queuectl: Shell) -> None:
        self._queuectl = queuectl
        self.shown = queuectl.folder / "shown"

    def __call__(self, script: str, *words: str, **env: str) -> tuple[int, str]:
        """Exit code, and what stood on the terminal. The script edits `$1`, a copy of which is `shown`."""
        path = self._queuectl.folder / "editor.sh"
        path.write_text(f'cp "$1" {self.shown}\n{script}', encoding="utf-8")
        ours, theirs = pty.openpty()
        own = {"EDITOR": f"sh {path}", "TMPDIR": str(self._queuectl.folder), "NO_COLOR": "1"}
        with os.fdopen(ours, "rb", buffering=0) as screen:
            done = subprocess.run(
                self._queuectl.command("edit", *words), cwd=self._queuectl.folder, stdin=theirs, stdout=theirs,
                stderr=theirs, env=self._queuectl.env | own | env, check=False, timeout=50,
            )  # fmt: skip
            os.write(theirs, b"end\n")
            os.close(theirs)
            shown = b""
            while not shown.endswith(b"end\r\n"):
                shown += screen.read(65536)
            return done.returncode, shown.decode().replace("\r\n", "\n").removesuffix("end\n")

    @property
    def fields(self) -> dict[str, object]:
        """What stood in the text before it was edited."""
        return msgspec.json.decode(self.shown.read_bytes())

    @property
    def kept(self) -> list[Path]:
        """The texts that were kept."""
        return sorted(self._queuectl.folder.glob("queuectl-*.json"))


@pytest.fixture
def editor(queuectl: Shell) -> Editor:
    return Editor(queuectl)


def test_a_text_becomes_the_job(queuectl: Shell, editor: Editor) -> None:
    script = 'sed -i -e \'s/"priority": 0/"priority": 7/\' -e \'s/"exp": "3"/"x": "1"/\' "$1"'
    assert editor(script, "b", "--reason", "in vi") == (0, "b  blocked\n")
    assert editor.fields.items() >= {
        "command": "true", "queue": "default", "priority": 0, "timeout": 60, "after": ["a"], "tags": {"exp": "3"},
    }.items()  # fmt: skip
    assert not editor.fields.keys() & {"id", "held", "secrets", "stdin", "reason", "unique", "backoff"}
    assert editor.shown.read_text(encoding="utf-8").startswith('{\n  "command": "true",\n')
    found = job(queuectl, "b")
    assert (found["priority"], found["tags"], found["state"]) == (7, {"x": "1"}, "blocked")
    [edited] = queuectl("events", "--job", "b", "--type", "edited", "--json").ok().ndjson
    assert edited["data"] == {"changes": {"priority": [0, 7], "tags": [{"exp": "3"}, {"x": "1"}]}, "reason": "in vi"}
    assert editor.kept == []


def test_an_unchanged_text_changes_nothing(queuectl: Shell, editor: Editor) -> None:
    for script in ("", 'echo "{}" > "$1"', 'sed -i "s/: 60,/: 60.0,/" "$1"'):
        assert editor(script, "b") == (0, "queuectl: nothing was changed\n")
    assert queuectl("events", "--type", "edited").ok().out == ""
    assert editor.kept == []


def test_the_visual_editor_comes_first(editor: Editor) -> None:
    assert editor("exit 9", "a", VISUAL="true") == (0, "queuectl: nothing was changed\n")


def test_a_text_tells_only_what_can_change(queuectl: Shell, editor: Editor) -> None:
    assert editor("", "c")[0] == 0
    assert editor.fields == {"tags": {}}
    queuectl("edit", "a", "--set", 'command=["sleep", "60"]', "--backoff", "5s,1m").ok()
    assert editor("", "a")[0] == 0
    assert editor.fields["command"] == ["sleep", "60"]
    assert editor.fields["backoff"] == [5, 60]
    assert not editor.fields.keys() & {"shell", "after", "backoff_base", "backoff_max"}


@pytest.mark.parametrize(
    "script, code, told",
    [
        ('echo "{" > "$1"', 2, "the spec is not valid JSON: "),
        ('printf "\\377" > "$1"', 2, "the spec is not valid"),
        ('echo "{\\"prioritty\\": 3}" > "$1"', 2, "unknown field 'prioritty' in the spec (did you mean 'priority'?)"),
        ('echo "{\\"priority\\": \\"high\\"}" > "$1"', 2, "priority: must be a whole number, not a string"),
        ('echo "{\\"id\\": \\"z\\"}" > "$1"', 2, "id can't be changed; what can: "),
        ('echo "{\\"after\\": [\\"c\\"]}" > "$1"', 3, "job a is pending: its after can't be changed any more"),
        ('queuectl edit a --priority 1 >&2; echo "{\\"nice\\": 1}" > "$1"', 3, "job a has changed since it was read"),
        ('echo "{\\"nice\\": 1}" > "$1"; exit 4', 2, "the editor "),
    ],
)
def test_a_text_that_fails_is_kept(queuectl: Shell, editor: Editor, script: str, code: int, told: str) -> None:
    program = queuectl.folder / "bin" / "queuectl"
    program.parent.mkdir()
    words = " ".join(map(os.fsdecode, queuectl.command()))
    program.write_text(f'#!/bin/sh\nexec {words} "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    found = editor(script, "a", PATH=f"{program.parent}:{os.environ['PATH']}")
    line = found[1].removeprefix("a  pending\n")
    [kept] = editor.kept
    assert (found[0], line.count("\n")) == (code, 1)
    assert line.startswith(f"queuectl: {told}")
    assert line.endswith(f"; your text is kept in {kept}\n")
    assert kept.read_bytes() != editor.shown.read_bytes()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert job(queuectl, "a")["nice"] == 0


def test_several_jobs_are_not_opened(editor: Editor) -> None:
    assert editor("", "a", "b") == (
        2, "queuectl: edit needs something to change: an option, or --set; one job alone is opened on a terminal\n",
    )  # fmt: skip
    assert not editor.shown.exists()


def test_inspect_tells_what_was_edited(queuectl: Shell) -> None:
    assert "\nedited" not in queuectl("inspect", "a").ok().out
    queuectl("edit", "a", "--priority", "5").ok()
    told = queuectl("inspect", "a").ok().out
    assert re.search(r"^edited +20.* by cli:\S+: priority 0 → 5$", told, re.MULTILINE)
    queuectl("edit", "a", "--after", "c").refused(3)
    queuectl("edit", "a", "--delay", "1h", "--nice", "2", "--reason", "later").ok()
    told = queuectl("inspect", "a").ok().out
    assert re.search(r"^edited +2 times, last .* by cli:\S+: due \S+ → .*; nice 0 → 2 — later$", told, re.MULTILINE)
    assert re.search(r"^edited +20.*: priority 0 → 5$", queuectl("inspect", "a", "--version", "2").out, re.MULTILINE)
    timeline = queuectl("inspect", "a", "--events").ok().out
    assert re.search(r"● edited: priority 0 → 5\n +│ pending · cli:", timeline)
    assert [each["type"] for each in queuectl("inspect", "a", "--events", "--json").ok().ndjson] == [
        "enqueued", "edited", "edited",
    ]  # fmt: skip
