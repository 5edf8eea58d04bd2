"""`queuectl edit`: change what was asked of jobs."""

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from projections.job import STATES
from queuectl.admission import UNSTARTED
from queuectl.cli import job_editing, job_options, job_stdin, job_text, opening
from queuectl.cli import parameters as p
from queuectl.cli.job_selection import All, JobSelection, Yes, ids_of, print_changed, select
from queuectl.cli.ui import output
from queuectl.errors import Invalid
from queuectl.options import refuse_both

if TYPE_CHECKING:
    pass

Values = Annotated[
    list[str] | None,
    p.Parameter(
        name="--set",
        metavar="FIELD=VALUE",
        help="Set a field of a JSON spec: a value as it has there, or as the option has it. Of env and tags, to which "
        "the options add, it takes the place of all. May be repeated.",
        read_all=list,
    ),
]
Ids = Annotated[str, ids_of("unended")]


def edit(
    *ids: Ids,
    all: All = False,
    where: p.Where = None,
    yes: Yes = False,
    changes: job_options.EditOptions = None,
    values: Values = None,
    json: p.JsonLines = False,
    db: p.Database = None,
) -> None:
    """Change what was asked of jobs: nearly all of one that waits, a little of one that runs or has ended.

    $ queuectl edit 17 --priority 5 --timeout 2h
    $ queuectl edit 17 --command './train.sh --lr 3e-4'
    $ queuectl edit 17 --set 'tags={"exp": "4"}' --set max_retries=5
    $ queuectl edit --where 'tag:exp=3 -state:processing' --queue night
    $ queuectl edit 17                       on a terminal: opens $VISUAL or $EDITOR

    Of a job that runs --timeout (which counts from its start), --max-retries, --on-lost and --tag can be changed, of
    one that has ended --tag, and what it starts --after only while it is blocked. `hold` and `release` hold a job and
    let it go; `retry` changes one that has ended and runs it again. Options that are not given change nothing: the
    defaults below are those of a new job. --all and --where take those that wait, unless states are named. On a
    terminal it asks first, unless jobs are named.
    """
    selection = JobSelection(ids, all, None, yes, None, where)
    selection.check("edit", STATES, "--all or --where")
    fields, whole = _given(changes, values or ())
    with opening.open_queue(db) as q:
        if not fields.keys() - {"reason"}:
            changed = job_editing.edit_text(q.job(_one(ids)), fields, lambda id, changes: q.edit(id, **changes))
        elif (selected := select(q, selection, "edit", UNSTARTED)) is not None:
            if fields.get("stdin") == "-":
                job_stdin.wait_until_readable()
            changed = q.edit(*selected.ids, among=selected.among, whole=whole, **fields)
        else:
            return
        job_options.mention_locks(q, fields.get("needs", ()))
        print_changed(q, changed, json)
        if not changed:
            output.message("nothing was changed")


def _given(options: Mapping[str, Any] | None, words: Sequence[str]) -> tuple[dict[str, Any], list[str]]:
    """Return the fields of a Spec to change, and those of which the value takes the place of all that is there."""
    fields = job_options.given_fields(options)
    said = job_text.read_words(words)
    for name in fields.keys() & said.keys():
        raise Invalid(f"--set: {name} is given twice, also by its option")
    refuse_both({*fields, *said})
    return fields | said, [*said]


def _one(ids: Sequence[str]) -> str:
    """Return the id of the one job whose text is to be edited. Raises Invalid if there is no terminal, or none such."""
    if len({*ids}) == 1 and sys.stdin.isatty() and output.is_terminal():
        return ids[0]
    raise Invalid("edit needs something to change: an option, or --set; one job alone is opened on a terminal")
