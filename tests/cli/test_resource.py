"""`queuectl resource`, `enqueue --resource` and `worker start --resource`: answers, documents, refusals."""

import pytest

from tests.support.shell import Shell


def test_resources_are_set_listed_and_unset(queuectl: Shell) -> None:
    assert queuectl("resource", "set", "gpu", "--indices", "2,0-1").ok().lines == ["resource gpu: 3 (0-2)"]
    assert queuectl("resource", "set", "mem", "64G", "--reason", "new board").ok().lines == ["resource mem: 64 GiB"]
    gpu, mem = queuectl("resource", "list", "--json").ok().ndjson
    assert (gpu["resource"], gpu["capacity"], gpu["indices"], gpu["free"], gpu["home"]) == (
        "gpu",
        3,
        [0, 1, 2],
        3,
        None,
    )
    assert (mem["capacity"], mem["reason"], mem["held_by"]) == (64 << 30, "new board", [])
    assert queuectl("resource", "unset", "gpu").ok().lines == ["resource gpu: unset"]
    assert queuectl("resource", "unset", "gpu").ok().lines == []
    [left] = queuectl("resource", "list", "--json").ok().ndjson
    assert left["resource"] == "mem"
    then = queuectl("resource", "list", "--at", "seq:1", "--json").ok().ndjson
    assert [each["resource"] for each in then] == ["gpu"]


def test_the_first_use_of_a_lock_is_told(queuectl: Shell) -> None:
    told = "nobody has set the resource db: one job at a time has it (said once)"
    assert told in queuectl("enqueue", "--resource", "db", "true").ok().err
    assert told not in queuectl("enqueue", "--resource", "db", "true").ok().err
    queuectl("resource", "set", "gpu", "2").ok()
    assert queuectl("enqueue", "--resource", "gpu", "true").ok().err == ""


@pytest.mark.parametrize(
    "code, words, told",
    [
        (3, "enqueue --resource gpu=5 true", "gpu=5, and there are 4"),
        (3, "enqueue --resource db=2 true", "db=2, and there is 1"),
        (2, "enqueue --resource gpu=0 true", "gpu: '0' is not how much"),
        (2, "enqueue --resource gpu=-1 true", "gpu: '-1' is not how much"),
        (2, "enqueue --resource gpu --resource gpu=2 true", "gpu: is given twice"),
        (2, "enqueue --resource slots=2 true", "write --slots N"),
        (2, "enqueue --resource =2 true", "'' is no name"),
        (2, "enqueue --slots 0 true", "--slots"),
        (2, "enqueue --slots -2 true", "--slots"),
        (2, 'enqueue {"command":"true","needs":{"gpu":"x"}}', "'x' is not how much"),
        (2, "resource set gpu", "say how much there is"),
        (2, "resource set gpu 0", "'0' is not how much"),
        (2, "resource set gpu=1 2", "is no name of a resource"),
        (2, "resource set gpu 2 --indices 0-1", "not both"),
        (2, "resource set gpu --indices 0-x", "'0-x' is not a list of numbers"),
        (2, "resource set gpu --indices 3-1", "'3-1' is not a range from a number to a higher one"),
        (2, "resource set db --indices 0-1", "QUEUECTL_DB is a variable"),
        (2, "worker start --resource gpu=1- --for 1s", "'1-' is not a list of numbers"),
        (2, "worker start --resource gpu=0 --for 1s", "or the numbers of its pieces, as 0-1, or 0-0 for one"),
        (2, "worker start --resource gpu=1 --resource gpu=0-1 --for 1s", "offered twice"),
    ],
)
def test_bad_input_is_one_line_and_changes_nothing(queuectl: Shell, code: int, words: str, told: str) -> None:
    queuectl("resource", "set", "gpu", "4").ok()
    before = queuectl("events", "--json").ok().lines
    done = queuectl(*words.split(" "))
    assert done.code == code
    [line] = done.err.splitlines()
    assert told in line
    assert queuectl("events", "--json").ok().lines == before


def test_more_than_exists_may_be_held(queuectl: Shell) -> None:
    queuectl("enqueue", "--id", "big", "--resource", "gpu=2", "--hold", "true").ok()
    queuectl("release", "big").ok()
    first, *_ = queuectl("explain", "big", "--json").ok().ndjson
    assert (first["kind"], first["frees"]) == ("resource", "queuectl resource set gpu 2")
    assert (first["about"], first["behind"]) == ("gpu", [])
    queuectl(*first["frees"].split()[1:]).ok()
    assert [each["kind"] for each in queuectl("explain", "big", "--json").ok().ndjson] == ["no_worker"]


def test_run_obeys_resources(queuectl: Shell) -> None:
    queuectl("resource", "set", "gpu", "--indices", "3").ok()
    assert queuectl("run", "--resource", "gpu", "--slots", "3", "echo $QUEUECTL_GPU").ok().lines == ["3"]
