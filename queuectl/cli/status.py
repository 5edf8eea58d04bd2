"""`queuectl status`: how many jobs are in which state."""

from queuectl.cli import output, session
from queuectl.cli import parameters as p


def status(*, queue: p.Queue = None, json: p.Json = False, db: p.Database = None) -> None:
    """Count the jobs by state.

    $ queuectl status
    $ queuectl status --queue mail --json

    Piped, the answer is the JSON document too; `as_of` names the last event that it knows of.
    """
    with session.opened(db) as q:
        found = q.status(queue)
        if json or not output.terminal():
            output.document(found.json())
            return
        from queuectl.cli import people

        space = max(len(f"{count:,}") for count in (*found.counts.values(), found.total))
        for state, count in found.counts.items():
            style = state if count else "dim"
            output.line(output.paint(f"{state:<11} {count:>{space},}", style))
        output.line(output.paint(f"{'total':<11} {found.total:>{space},}", "bold"))
        up = f"{found.workers} worker{'' if found.workers == 1 else 's'} up"
        as_of = f"as of event {found.seq:,}, {people.full(found.at)}" if found.seq else "nothing has happened yet"
        output.line(f"\n{up}; {as_of}")
