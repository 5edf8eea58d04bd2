"""`queuectl replay`: fold the log anew, or compare what it says with what the tables say."""

from typing import Annotated

from queuectl.cli import opening
from queuectl.cli import parameters as p
from queuectl.cli.completion import values as v
from queuectl.cli.ui import output, progress, signals
from queuectl.units import counted


def replay(
    *names: Annotated[
        str,
        p.Parameter(
            name="NAME",
            help="Only these projections: jobs, attempts, counts, workers, config, or your own.",
            values=v.PROJECTIONS,
        ),
    ],
    check: Annotated[
        bool, p.Parameter(name="--check", help="Compare and touch nothing; exit 1 with the differences, if any.")
    ] = False,
    into: Annotated[
        str | None,
        p.Parameter(
            name="--into", help="A new database to rebuild all of it in; this one stays as it is.", values=v.FILES
        ),
    ] = None,
    json: p.Json = False,
    db: p.Database = None,
) -> int:
    """Rebuild the tables from the log of events.

    $ queuectl replay
    $ queuectl replay counts
    $ queuectl replay --check
    $ queuectl replay --into mended.db
    """
    from queuectl.errors import Invalid

    if check and names:
        raise Invalid("--check compares all projections; leave the names out")
    if into is not None and (check or names):
        raise Invalid("--into rebuilds everything elsewhere; leave out --check and the names")
    with signals.interruptible(), opening.open_queue(db) as q:
        if check:
            differences = q.check(progress=progress.bar("Comparing"))
            if json:
                output.document({"ok": not differences, "differences": differences})
            else:
                for difference in differences:
                    output.line(output.escape(difference))
                if not differences:
                    output.line("the tables say what the log says")
            return 1 if differences else 0
        bar = progress.bar("Replaying")
        if into is not None:
            from queuectl.audit.import_log import rebuild

            count = rebuild(q, into, bar)
        else:
            count = q.replay(*names, progress=bar)
        if json:
            output.document({"events": count})
        else:
            output.line(f"replayed {counted(count, 'event')}")
        return 0
