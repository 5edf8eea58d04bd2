"""Templates: what stands in the place of `{}`, and that it reaches a program as the word that it is."""

import json
import shutil
import subprocess
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from queuectl import Invalid, Spec, each
from queuectl.shell_quoting import unquotable

ARGUMENT = st.text(
    st.one_of(
        st.sampled_from(" \n\t'\"\\$`{}*?[]~#!&;|<>()-=%"), st.characters(codec="utf-8", exclude_characters="\0")
    ),
    max_size=12,
)
NASTY = [
    "a b",
    "'",
    '"',
    "-rf",
    "--",
    "\n",
    "$(id)",
    "`id`",
    "; id #",
    "{}",
    "\\",
    "",
    "*",
    "é\U0001f600",
    "a'b\"c d\\",
]

DUMP = "import json, sys; print(json.dumps(sys.argv[1:]))"


def commands(template: str, *arguments: str | tuple[str, ...] | dict[str, str]) -> list[str | None]:
    return [spec.command for spec in each(template, arguments)]


def words(line: str | None, shell: str = "/bin/sh") -> list[str]:
    """What a program is given that stands in a line of shell as `dump`."""
    done = subprocess.run(
        [shell, "-c", f'dump() {{ "{sys.executable}" -c \'{DUMP}\' "$@"; }}\n{line}'],
        capture_output=True, timeout=30, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    "placeholder,results",
    [
        ("{}", ["a b/c.d.e", ".x", "a/.b", "a/", "/", "a.b/c", "", "//a", "a//b"]),
        ("{.}", ["a b/c.d", "", "a/", "a/", "/", "a.b/c", "", "//a", "a//b"]),
        ("{/}", ["c.d.e", ".x", ".b", "", "", "c", "", "a", "b"]),
        ("{//}", ["a b", ".", "a", ".", "/", "a.b", ".", "/", "a"]),
        ("{/.}", ["c.d", "", "", "", "", "c", "", "a", "b"]),
        ("{1/.}", ["c.d", "", "", "", "", "c", "", "a", "b"]),
        ("{#}", list("123456789")),
    ],
)
def test_placeholders_are_those_of_gnu_parallel(placeholder: str, results: list[str]):
    given = ["a b/c.d.e", ".x", "a/.b", "a/", "/", "a.b/c", "", "//a", "a//b"]
    assert [spec.argv for spec in each(["echo", placeholder], given)] == [("echo", result) for result in results]
    if shutil.which("parallel"):
        done = subprocess.run(
            ["parallel", "-0", "-k", f"printf '%s|' {placeholder}"], input="\0".join(given).encode(),
            capture_output=True, timeout=60, check=True,
        )  # fmt: skip
        assert done.stdout.decode().split("|")[:-1] == results


def test_several_arguments_are_named_by_numbers():
    assert commands("cmp {1} {2.} x{1/}", ("a/b c", "d.e")) == ["cmp 'a/b c' d x'b c'"]
    assert commands("echo {}", ("a b", "c")) == ["echo 'a b' c"]
    [spec] = each(["echo", "{}", "{},{2}"], [("a b", "c")])
    assert spec.argv == ("echo", "a b", "c", "a b c,c")


def test_columns_are_named_by_their_names():
    rows = [{"name": "x y", "first name": "z.tar"}]
    assert commands("echo {name} {first name.} {2} ${name} {a,b}", *rows) == ["echo 'x y' z z.tar ${name} {a,b}"]
    assert commands("awk '{print}' {name}", *rows) == ["awk '{print}' 'x y'"]


def test_placeholders_stand_in_all_texts():
    [spec] = each(
        "./train", ["a/b 1.x"], id="t-{#}", tags={"of": "{/}", "n": "1"}, env={"SEED": "{}"}, after=("f-{/.}",),
        cwd="/{//}", unique="u{}", needs={"gpu": 2},
    )  # fmt: skip
    assert spec == Spec(
        command="./train", id="t-1", tags={"of": "b 1.x", "n": "1"}, env={"SEED": "a/b 1.x"}, after=("f-b 1",),
        cwd="/a", unique="ua/b 1.x", needs={"gpu": 2},
    )  # fmt: skip


def test_callbacks_are_lines_of_shell_too():
    [spec] = each("true", ["a'; id #"], on_complete="notify {}", on_end="echo {#}")
    assert (words(f'notify() {{ dump "$@"; }}; {spec.on_complete}'), spec.on_end) == (["a'; id #"], "echo 1")
    with pytest.raises(Invalid, match="in single quotes"):
        list(each("true", ["a"], on_failure="notify '{}'"))


def test_what_is_no_placeholder_stays():
    kept = "find . -exec ls \\{} \\; ${x} {a,b} {1..3} { echo; } {name} {{#}}"
    assert commands(f"{kept} {{}}", "a") == [f"{kept.replace('{#}', '1')} a"]


@pytest.mark.parametrize(
    "template,told",
    [
        ("gzip", "no placeholder in 'gzip'"),
        ("gzip {name}", "{NAME} is for --csv"),
        ("gzip {2}", "{2}: there is 1 argument for each job"),
        ("gzip {0}", "{0}: there is 1 argument for each job"),
        ("gzip {%} {}", "{%}: which slot runs a job is known only once it starts"),
        ("echo '{}'", "in single quotes"),
        ('echo "a {.}"', "in double quotes"),
        ("echo `ls {}`", "in backquotes"),
        ("echo $(( {} + 1 ))", "in an arithmetic expression"),
        ("ls # {}", "in a comment"),
        ("cat <<E\n{}\nE", "behind <<"),
        ("echo ${x:-{}}", "in ${…}"),
        ("echo `echo $(ls {})`", "in backquotes"),
        ("echo $(( $(ls {}) ))", "in an arithmetic expression"),
        ('echo "${x:-"a}" {}', "behind quotes that shells understand in different ways"),
        ("echo $'a\\'b {}", "behind quotes that shells"),
        ('echo "$(case a in a) echo "{}";; esac)"', "behind quotes that shells"),
    ],
)
def test_templates_that_are_refused(template: str, told: str):
    with pytest.raises(Invalid) as refusal:
        commands(template, "a")
    assert told in str(refusal.value)


def test_an_unknown_column_is_named():
    with pytest.raises(
        Invalid, match=r"\{nmae\}: there is no such column \(did you mean 'name'\?\); there are name, b"
    ):
        commands("echo {nmae}", {"name": "a", "b": "c"})


def test_a_job_that_cannot_be_names_its_argument():
    with pytest.raises(Invalid, match=r"^argument 2 \('a/b'\): id: 'a/b' may have no '/'"):
        list(each("echo {}", ["a", "a/b"], id="{}"))
    with pytest.raises(Invalid, match=r"^argument 2: is not of the same parts"):
        list(each("echo {}", ["a", ("a", "b")]))


TEMPLATES = [
    "dump {}", "dump x{}y {#}", 'dump "$(printf %s. {})"',
    "dump {}; # it's", "X=1; dump \"${X}\"{} 'it'", "dump {} && :",
    "(dump {})", "if :; then dump \\\n {}; fi", 'dump "a\\"" {}', "dump 'a\\' {}", "dump `echo a` {}",
    "dump $((1+2)) {}", "dump ${X:-'a b'} {}",
]  # fmt: skip


@given(ARGUMENT, st.sampled_from(TEMPLATES), st.sampled_from(["/bin/sh", "/bin/bash"]))
@example("-", TEMPLATES[0], "/bin/sh")
@settings(max_examples=60)
def test_any_argument_reaches_a_program_whole(argument: str, template: str, shell: str):
    [line] = commands(template, argument)
    [harmless] = commands(template, "HERE")
    there = words(harmless, shell)
    expected = [word.replace("HERE", argument) for word in there]
    assert "HERE" in "".join(there)
    assert words(line, shell) == expected


@pytest.mark.parametrize("shell", ["/bin/sh", "bash"])
@pytest.mark.parametrize("word", ["A=b", "if", "while", "for", "select", "function", "coproc", "esac"])
def test_a_word_is_the_name_of_a_command(word: str, shell: str):
    [line] = commands("{} true", word)
    done = subprocess.run([shell, "-c", line or ""], capture_output=True, timeout=30, check=False)
    assert done.returncode == 127, "there is no such command"


@pytest.mark.skipif(shutil.which("parallel") is None, reason="GNU parallel is not installed")
def test_gnu_parallel_hands_over_the_same():
    given = [text for text in NASTY if text]  # of an empty one it makes no word
    done = subprocess.run(
        ["parallel", "-0", "-k", sys.executable, "-c", f"'{DUMP}'", "{}"],
        input="\0".join(given).encode(), capture_output=True, timeout=60, check=True,
    )  # fmt: skip
    theirs = [json.loads(line) for line in done.stdout.splitlines()]
    assert [words(line) for line in commands("dump {}", *given)] == theirs == [[text] for text in given]


PIECES = [
    "'", '"', "`", "\\", "$(", "(", ")", "$((", "))", "${", "}", "#", "<<", "<<<", " ", "a", "\n", "$'", "case",
]  # fmt: skip


@given(st.lists(st.sampled_from(PIECES), max_size=9))
@settings(max_examples=200)
def test_a_quoted_word_stays_one_where_allowed(pieces: list[str]):
    line = f"{''.join(pieces)} @"
    if unquotable(line)[-1]:
        return
    quoted = line[:-1] + "'\n$(echo ran >&2)`echo ran >&2`;echo ran >&2;#'"
    for shell in ("/bin/sh", "/bin/bash"):
        done = subprocess.run(
            [shell, "-c", quoted], stdin=subprocess.DEVNULL, capture_output=True, timeout=10, check=False
        )
        assert b"ran" not in done.stderr.splitlines(), quoted


def test_a_word_can_follow_a_here_string():
    [line] = commands("dump <<< {}; cat <<< {}", "a 'b")
    done = subprocess.run(["/bin/bash", "-c", line or ""], capture_output=True, timeout=10, check=False)
    assert done.stdout == b"a 'b\n"
