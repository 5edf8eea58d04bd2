"""`enqueue --each`: a job for each argument, wherever the arguments come from."""

import json
import sys
from typing import Any

import pytest

from tests.support.shell import Shell

NAMES = ["a b", "it's", '"', "-rf", "--help", "a\nb", "$(touch ran)", "`touch ran`", "; touch ran #", "{}", "\\", "é"]
DUMP = "import json, sys; print(json.dumps(sys.argv[1:]))"


def planned(queuectl: Shell, *words: str, stdin: bytes = b"") -> list[Any]:
    """The commands that `enqueue --each` would add."""
    specs = queuectl("enqueue", "--dry-run", "--json", "--each", *words, stdin=stdin).ok().ndjson
    assert queuectl.total() == 0
    return [spec["command"] for spec in specs]


def test_arguments_are_the_lines_of_files(queuectl: Shell):
    (queuectl.folder / "one").write_text("a b\n\nit's")
    (queuectl.folder / "two").write_text("-c\r\n")
    commands = ["wc 'a b'", "wc ''", "wc 'it'\"'\"'s'"]
    assert planned(queuectl, "wc {}", "one") == commands
    assert planned(queuectl, "wc {}", "one", "two") == [*commands, "wc '-c\r'"]
    lines = (queuectl.folder / "one").read_bytes()
    for words in (["wc {}"], ["wc {}", "-"], ["wc {}", "-", "--priority", "-1"], ["-", "--", "wc", "{}"]):
        assert len(planned(queuectl, *words, stdin=lines)) == 3
    assert planned(queuectl, "wc {}", "--null", stdin=b"a\nb\0c\0") == ["wc 'a\nb'", "wc c"]
    assert planned(queuectl, "wc {}", "-0", "-", stdin=b"\0") == ["wc ''"]


def test_arguments_are_the_words_behind_three_colons(queuectl: Shell):
    assert planned(queuectl, "wc {}", ":::", "-l", "a b", "--", "--help") == ["wc -l", "wc 'a b'", "wc --", "wc --help"]
    assert planned(queuectl, "--", "wc", "{}", "--", "{.}.c", ":::", "a b.h", "-l") == [
        ["wc", "a b.h", "--", "a b.c"], ["wc", "-l", "--", "-l.c"],
    ]  # fmt: skip


def test_db_may_precede_the_command(queuectl: Shell):
    queuectl("--db", "a.db", "enqueue", "--each", "echo {}", ":::", "--db", "b").ok()
    assert queuectl("list", "--db", "a.db", "--json").ok().out.count('"echo ') == 2
    assert queuectl.total() == 0


def test_sources_are_combined_as_gnu_parallel_does(queuectl: Shell):
    (queuectl.folder / "n").write_text("1\n2\n")
    products = ["x a 1", "x a 2", "x b 1", "x b 2"]
    assert planned(queuectl, "x {1} {2}", ":::", "a", "b", ":::", "1", "2") == products
    assert planned(queuectl, "x {1} {2}", ":::", "a", "b", "::::", "n") == products
    assert planned(queuectl, "x {2} {1}", "n", ":::", "a") == ["x a 1", "x a 2"]
    assert planned(queuectl, "x {}", "::::", "n", "n", ":::+", "c", "d", "e") == [
        "x 1 1 c", "x 1 2 d", "x 2 1 c", "x 2 2 d",
    ]  # fmt: skip
    assert planned(queuectl, "x {} {3}", ":::", "a", "b", "::::+", "n", ":::", "-") == ["x a 1 - -", "x b 2 - -"]


def test_columns_of_a_csv_file_have_names(queuectl: Shell):
    (queuectl.folder / "t.csv").write_bytes(b'\xef\xbb\xbfname,a size\r\n"x, ""y""\nz",3\r\n\r\n-q,\r\n')
    assert planned(queuectl, "--csv", "c {name} {a size} {2} {#}", "t.csv") == [
        "c 'x, \"y\"\nz' 3 3 1", "c -q '' '' 2",
    ]  # fmt: skip


def test_options_apply_to_each_job(queuectl: Shell):
    ids = queuectl(
        "enqueue", "--each", "--batch", "b", "--id", "{/.}-{#}", "--tag", "of={}", "--tag", "n=1", "--cwd", "/{//}",
        "--unique", "{/}", "--max-retries", "0", "--env", "N={#}", "true", ":::", "x/a.png", "x/b.png",
    ).ok().lines  # fmt: skip
    assert ids == ["a-1", "b-2"]
    job = queuectl("inspect", "b-2", "--json").ok().json
    assert [job[name] for name in ("tags", "cwd", "unique", "batch", "max_retries", "env")] == [
        {"of": "x/b.png", "n": "1"}, "/x", "b.png", "b", 0, {"N": "2"},
    ]  # fmt: skip


def test_a_spec_can_be_the_template(queuectl: Shell):
    spec = '{"command": ["echo", "{}", "x{}"], "tags": {"of": "{.}"}, "env": {}}'
    jobs = queuectl("enqueue", "--json", "--each", spec, ":::", "a b.c").ok().ndjson
    assert [(job["argv"], job["tags"]) for job in jobs] == [(["echo", "a b.c", "xa b.c"], {"of": "a b"})]
    assert queuectl("enqueue", "--dry-run", "--each", "{}", ":::", "./a b").ok().lines == ["'./a b'"]


def test_any_name_reaches_the_program(queuectl: Shell):
    line = f"{sys.executable} -c '{DUMP}' {{}}"
    queuectl("enqueue", "--each", line, ":::", *NAMES).ok()
    queuectl(
        "enqueue", "--each", "-0", "-", "--", sys.executable, "-c", DUMP, "{}", stdin="\0".join(NAMES).encode()
    ).ok()
    queuectl.drain()
    for first in (1, 1 + len(NAMES)):
        got = [json.loads(queuectl("logs", "--raw", str(first + n)).ok().out) for n in range(len(NAMES))]
        assert got == [[name] for name in NAMES]
    assert not (queuectl.folder / "ran").exists()


def test_a_dry_run_prints_what_file_takes(queuectl: Shell):
    options = ("--tag", "n={}", "--timeout", "none", "--at", "2099-01-01T00:00:00Z", "--ok-codes", "3")
    words = ("--each", "echo {}", *options, ":::", "a b", "c")
    assert queuectl("enqueue", "--dry-run", *words).ok().lines == ["echo 'a b'", "echo c"]
    specs = queuectl("enqueue", "--dry-run", "--json", *words).ok().raw
    assert queuectl.total() == 0
    taken = queuectl("enqueue", "--file", "-", "--json", stdin=specs).ok().ndjson
    added = queuectl("enqueue", "--json", *words).ok().ndjson
    own = {"id", "enqueued_at", "seq"}
    assert [{key: job[key] for key in job if key not in own} for job in taken] == [
        {key: job[key] for key in job if key not in own} for job in added
    ]


def test_one_job_can_be_a_dry_run(queuectl: Shell):
    assert queuectl("enqueue", "--dry-run", "--", "echo", "a b").ok().out == "echo 'a b'\n"
    assert queuectl("enqueue", "--dry-run", "--file", "-", stdin=b"true\n# x\nfalse\n").ok().lines == ["true", "false"]
    assert "priority" in queuectl("enqueue", "--dry-run", '{"command": "x", "priority": 3000000000}').refused(2)
    assert queuectl.total() == 0


def test_many_arguments_are_one_transaction(queuectl: Shell):
    answer = queuectl("enqueue", "--each", "echo {}", stdin="".join(f"{n}\n" for n in range(5000)).encode()).ok()
    assert answer.lines == [str(n) for n in range(1, 5001)]
    assert len({event["at"] for event in queuectl("events", "--json").ndjson}) == 1


def test_without_arguments_nothing_is_added(queuectl: Shell):
    for words in ([], [":::"], ["--csv"], [":::", "a", ":::"]):
        for dry in ([], ["--dry-run"]):
            stdin = b"name\n" if "--csv" in words else b""
            answer = queuectl("enqueue", *dry, "--each", "x {}", *words, stdin=stdin).ok()
            assert answer.out == ""
            assert answer.err.endswith("queuectl: --each: there is no argument\n")
    assert queuectl.total() == 0


@pytest.mark.parametrize(
    "words,told",
    [
        (["x {}", "none"], "--each: 'none': No such file"),
        (["x {}", "."], "--each: '.' is a folder"),
        (["x {}", "latin"], "--each: latin: line 2: not valid UTF-8"),
        (["x {}", "long"], "--each: long: line 2: is longer than 131071 bytes"),
        (["x {}", "nul"], "--each: argument 2 ('a\\x00b'): the command: has a NUL"),
        (["x", ":::", "a"], "no placeholder in 'x'"),
        (["x '{}'", ":::", "a"], "in single quotes"),
        (["--on-end", "y '{}'", "x {}", ":::", "a"], "--each: on-end: {} stands in single quotes"),
        (["--env", "A={2}", "x {}", ":::", "a"], "--each: env: {2}: there is 1 argument"),
        (["x {%}", ":::", "a"], "--resource slot"),
        (["x {2}", ":::", "a"], "{2}: there is 1 argument"),
        (["x {nome}", "--csv", "table"], "{nome}: there is no such column (did you mean 'name'?)"),
        (["x {name}", "table"], "({NAME} is for --csv)"),
        (["x {name}", "--csv", "ragged"], "ragged: line 3: has 1 columns, the first line 2"),
        (["x {name}", "--csv", "open"], "open: line 2: "),
        (["x {name}", "--csv", "twice"], "twice: the column 'a' is there twice"),
        (["x {1}", "--csv", "digits"], "'1' is no name"),
        (["x {1}", "--csv", "nothing"], "nothing: there is no line in it that names the columns"),
        (["x {1}", "--csv", "table", ":::", "a"], "--csv: the arguments are those of one file"),
        (["x {}", ":::", *["a"] * 1001, ":::", *["b"] * 1000], "1001 x 1000 arguments are 1,001,000 jobs; at most"),
        (["x {}", ":::+", "a"], ":::+ has no source before it"),
        (["x {}", "::::"], ":::: needs a FILE"),
        ([":::", "a"], "--each needs a template"),
        (["--id", "a", "x {}", ":::", "a", "b"], "--id: an id names one job: put {#} or {} into 'a'"),
        (["--id", "{}", "x", ":::", "a", "b/c"], "argument 2 ('b/c'): id: 'b/c' may have no '/'"),
        (["--after", "none", "x {}", ":::", "a"], "argument 1: after: there is no job 'none'"),
        (["--stdin", "-", "x {}"], "--stdin -: stdin can't be both"),
        (["--file", "table", "x {}"], "--file and a command"),
        (["x {}", "-x", ":::", "a"], "has no option -x"),
    ],
)  # fmt: skip
def test_bad_arguments_change_nothing(queuectl: Shell, words: list[str], told: str):
    for name, text in {
        "latin": b"a\n\xff\n", "nul": b"a\na\0b\n", "long": b"a\n" + b"x" * 200_000 + b"\nb\n", "table": b"name\na\n",
        "ragged": b"name,b\na,b\nc\n", "open": b'name\n"a\n', "twice": b"a,a\n", "digits": b"1\n", "nothing": b"",
    }.items():  # fmt: skip
        (queuectl.folder / name).write_bytes(text)
    line = queuectl("enqueue", "--each", *words, stdin=b"a\n").refused(2)
    assert told in line
    assert len(line) < 400
    assert queuectl.total() == 0


def test_each_belongs_to_its_options(queuectl: Shell):
    assert "--null goes with --each" in queuectl("enqueue", "-0", "true").refused(2)
    assert "--csv goes with --each" in queuectl("enqueue", "--csv", "true").refused(2)
    assert "::: goes with --each" in queuectl("enqueue", "gzip {}", ":::", "a").refused(2)


def test_at_a_terminal_arguments_are_asked_for(queuectl: Shell, terminal: Any):
    assert "there are no arguments: name a FILE" in terminal("enqueue", "--each", "x {}")
    assert "echo '\\x1b[2J'" in terminal("enqueue", "--each", "echo {}", "--dry-run", ":::", "\x1b[2J")
