"""`queuectl replay`: fold the log anew, or compare what it says with what the tables say."""

from typing import Annotated

from cyclopts import Parameter

from queuectl.cli import output, session
from queuectl.cli import parameters as p


def replay(
    *names: Annotated[
        str,
        Parameter(name="NAME", help="Only these projections: jobs, attempts, counts, workers, config, or your own."),
    ],
    check: Annotated[
        bool, Parameter(name="--check", help="Compare and touch nothing; exit 1 with the differences, if any.")
    ] = False,
    json: p.Json = False,
    db: p.Database = None,
) -> int:
    """Rebuild the tables from the log of events.

    $ queuectl replay
    $ queuectl replay counts
    $ queuectl replay --check
    """
    from queuectl.errors import Invalid

    if check and names:
        raise Invalid("--check compares all projections; leave the names out")
    with session.opened(db) as q:
        if check:
            differences = q.check(progress=output.progress("Comparing"))
            if json:
                output.document({"ok": not differences, "differences": differences})
            else:
                for difference in differences:
                    output.line(output.safe(difference))
                if not differences:
                    output.line("the tables say what the log says")
            return 1 if differences else 0
        count = q.replay(*names, progress=output.progress("Replaying"))
        if json:
            output.document({"events": count})
        else:
            output.line(f"replayed {count:,} events")
        return 0
