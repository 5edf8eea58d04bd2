"""`backup`, `import` and `replay --into` as a user types them."""

from tests.support.shell import Shell


def test_a_log_goes_from_one_queue_to_another_and_a_copy_of_it_is_the_same(queuectl: Shell):
    queuectl("enqueue", "--id", "one", "true").ok()
    queuectl("export", "-o", "log.ndjson").ok()
    answer = queuectl("import", "--db", "other.db", "log.ndjson").ok()
    assert answer.out == "took in 1 event\n"
    assert queuectl("inspect", "one", "--db", "other.db", "--json").ok().json["state"] == "pending"
    assert queuectl("backup", "copy.db", "--json").ok().json["file"] == "copy.db"
    assert queuectl("status", "--db", "copy.db").ok().json["total"] == 1
    assert queuectl("replay", "--into", "anew.db", "--json").ok().json == {"events": 1}
    assert queuectl("export", "--db", "anew.db").ok().out == queuectl("export").ok().out


def test_what_can_not_be_done_is_told_in_a_line(queuectl: Shell):
    queuectl("enqueue", "true").ok()
    assert queuectl("import", "missing").code == 2
    for words in (["backup"], ["import"]):
        said = queuectl(*words)
        assert (said.code, said.err) == (2, f"queuectl: {words[0]} needs a FILE; see queuectl {words[0]} --help\n")
    queuectl("export", "-o", "log.ndjson").ok()
    refused = queuectl("import", "log.ndjson")
    assert (refused.code, refused.err) == (3, "queuectl: there is a log here already: name a new database with --db\n")
    assert queuectl("replay", "--into", "new.db", "counts").code == 2
    assert queuectl("replay", "--into", "new.db", "--check").code == 2
