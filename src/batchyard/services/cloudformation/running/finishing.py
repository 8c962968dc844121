"""How an operation on a stack ends, and what phases share."""

from __future__ import annotations

from collections.abc import Callable

from batchyard.services.cloudformation.running.book import StackBook
from batchyard.services.cloudformation.running.records import Operation, Physical
from batchyard.services.cloudformation.running.run import Run


async def finish(run: Run, status: str, reason: str = "", *, keep: bool = False, also: Callable[[StackBook], None] | None = None) -> None:
    """The operation is over. With `keep`, what each resource was before is kept: the way back is still open."""
    gone = []
    for resource in run.resources.values():
        if not keep:
            resource.before, resource.touched_in = None, ""
            if not status.endswith("FAILED"):
                resource.leftovers = []
        if status.startswith("UPDATE") and not keep and resource.current is None:
            gone.append(resource.logical_id)
    for id in gone:
        run.resources.pop(id)

    def change(book: StackBook) -> None:
        if also is not None:
            also(book)
        put_all(run, book)
        for id in gone:
            book.delete_resource(run.stack.id, id)
        run.stack.stuck = run.stack.operation if keep else None
        run.stack.operation = None

    await run.turn(status, reason, also=change)


def put_all(run: Run, book: StackBook) -> None:
    for resource in run.resources.values():
        book.put_resource(run.stack.id, resource)


def operation_of(run: Run) -> Operation:
    operation = run.stack.operation
    assert operation is not None
    return operation


def failure_words(resources: list[str], reason: str, verb: str) -> str:
    """Why a stack turns back: a reason of its own, or the resources that failed."""
    if reason:
        return reason
    return f"The following resource(s) failed to {verb}: [{', '.join(resources)}]."


def is_other(one: Physical, another: Physical) -> bool:
    return one.physical_id != another.physical_id or one.type != another.type
