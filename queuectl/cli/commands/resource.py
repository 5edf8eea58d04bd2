"""`queuectl resource`: what there is of each resource, and who has it."""

from typing import TYPE_CHECKING, Annotated, Any

from queuectl import amounts, units
from queuectl.cli import opening
from queuectl.cli import parameters as p
from queuectl.cli.completion import values as v
from queuectl.cli.ui import output
from queuectl.errors import Invalid

if TYPE_CHECKING:
    from queuectl.resource_control import ResourceSummary

HEADS = ("RESOURCE", "WHERE", "FREE", "OF", "INDICES", "HELD BY")

Name = Annotated[str, p.Parameter(name="NAME", help="The resource.", values=v.RESOURCES)]


def list_resources(*, at: p.At = None, json: p.JsonLines = False, db: p.Database = None) -> None:
    """List the resources: how much there is of each, how much is free, and which jobs have the rest.

    $ queuectl resource list
    $ queuectl resource list --at -10m

    It has what is set, offered by workers, or held just now. A job may ask for any other: of that there is one.
    """
    from queuectl.cli.ui import progress

    with opening.open_queue(db) as q:
        found = q.resources(then=at, progress=progress.bar("Folding the log"))
    if json:
        output.documents(each.json() for each in found)
        return
    if not output.table(HEADS, [_row(each) for each in found], right=("FREE", "OF")):
        output.message("no resource is set, and none is held; `queuectl resource set NAME N` sets one")


def _row(resource: "ResourceSummary") -> tuple[Any, ...]:
    from queuectl.stock import holders

    pool = resource.pool
    return (
        pool.resource, ",".join(resource.hosts) or "the queue", amounts.text(pool.free), amounts.text(pool.capacity),
        amounts.ranges(pool.indices) if pool.indices is not None else "", units.listed(holders(pool.grants)),
    )  # fmt: skip


def set_resource(
    name: Name,
    amount: Annotated[str | None, p.Parameter(name="N|SIZE", help="How much there is: 2, 64G.")] = None,
    /,
    *,
    indices: Annotated[
        str | None,
        p.option("--indices", "LIST", "The numbers of the pieces, which jobs are told: 0-3, or 0,2,5-7."),
    ] = None,
    reason: p.Reason = None,
    json: p.Json = False,
    db: p.Database = None,
) -> None:
    """Say how much there is of a resource, over all workers together.

    $ queuectl resource set mem 64G
    $ queuectl resource set gpu --indices 0-3
    $ queuectl enqueue --resource gpu=2 --resource mem=8G ./train.sh

    A job starts when all that it needs is free, and has it until its attempt has ended. Who has more than there is by
    now keeps it. What workers offer themselves (`worker start --resource`) is counted apart, at their host.
    """
    amounts.check_resource(name)
    if amount is not None and indices is not None:
        raise Invalid("give how much there is or --indices, not both")
    if indices is not None:
        _named(name, lambda: amounts.indices(indices))
        amounts.check_indexed(name)
    elif amount is None:
        raise Invalid(f"resource set {name}: say how much there is, as 2 or 64G, or which --indices")
    capacity = _named(name, lambda: amounts.amount(amount)) if amount is not None else None
    with opening.open_queue(db, create=True) as q:
        state = q.set_resource(name, capacity, indices=indices, reason=reason)
        if json:
            output.documents(each.json() for each in q.resources() if each.pool.resource == name)
            return
    which = f" ({state.indices})" if state.indices is not None else ""
    output.line(f"resource {name}: {amounts.text(state.capacity or 0)}{which}")


def _named(name: str, read: Any) -> Any:
    """Return what `read` returns; what it raises names the resource."""
    try:
        return read()
    except Invalid as error:
        raise Invalid(f"resource {name}: {error}") from None


def unset_resource(name: Name, /, *, reason: p.Reason = None, db: p.Database = None) -> None:
    """Take back what was said of a resource: there is one of it then.

    $ queuectl resource unset gpu
    """
    amounts.check_resource(name)
    with opening.open_queue(db) as q:
        if q.unset_resource(name, reason=reason):
            output.line(f"resource {name}: unset")
        else:
            output.message(f"resource {name} was not set")
