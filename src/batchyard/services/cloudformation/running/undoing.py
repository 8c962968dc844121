"""The way back: what was created goes, what was changed is changed back."""

from __future__ import annotations

import copy

import msgspec

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.running import steps
from batchyard.services.cloudformation.running.book import StackBook
from batchyard.services.cloudformation.running.finishing import failure_words, finish, is_other, operation_of, put_all
from batchyard.services.cloudformation.running.records import Operation, Resource
from batchyard.services.cloudformation.running.removing import EXCEPT_ON_CREATE, delete_in_order, standing
from batchyard.services.cloudformation.running.run import Run
from batchyard.services.cloudformation.running.steps import StepFailed


async def undo_create(run: Run) -> None:
    """All that was created goes again."""
    for resource in run.resources.values():
        if resource.current is not None and resource.current.deletion_policy == EXCEPT_ON_CREATE:
            resource.current.deletion_policy = "Delete"
        if resource.current is not None and run.stack.retain_except_on_create:
            resource.current.deletion_policy = "Delete"
    failed = await delete_in_order(run, standing(run))
    if failed:
        await finish(run, "ROLLBACK_FAILED", failure_words(failed, "", "delete"))
    else:
        await finish(run, "ROLLBACK_COMPLETE")


async def undo_update(run: Run) -> None:
    """What was changed is changed back, what was replaced is put back; what is new goes later."""
    operation = operation_of(run)
    touched = {id: resource for id, resource in run.resources.items() if resource.touched_in == operation.token}
    mark = f"undo {operation.token}"
    failed_before: set[str] = set()

    def is_back(id: str) -> bool:
        return id not in touched or touched[id].settled_in == mark

    def ready() -> list[str]:
        found = []
        for id, resource in touched.items():
            needs = resource.before.needs if resource.before is not None else []
            if not is_back(id) and not failed_before and all(is_back(need) for need in needs):
                found.append(id)
        return found

    async def act(id: str) -> None:
        try:
            await _put_back(run, touched[id], id in operation.skip)
        except StepFailed:
            failed_before.add(id)
            raise
        touched[id].settled_in = mark
        await run.note(touched[id])

    failed = await run.each(ready, act)
    if failed:
        await finish(run, "UPDATE_ROLLBACK_FAILED", failure_words(failed, "", "update"), keep=True)
        return
    await _restore(run, operation)
    operation.phase = "settle_undo"
    await run.turn("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS", also=lambda book: put_all(run, book))


async def _put_back(run: Run, resource: Resource, is_skipped: bool) -> None:
    before, current = resource.before, resource.current
    if before is None:
        if current is not None:
            resource.leftovers, resource.current = [*resource.leftovers, current], None
            await run.note(resource)
        return
    if before.is_gone:
        again = resource.doing.wanted if resource.doing is not None else msgspec.structs.replace(copy.deepcopy(before), is_gone=False)
        await steps.create(run, resource, again, "UPDATE")
        return
    if current is None or is_other(before, current):
        if current is not None:
            resource.leftovers = [*resource.leftovers, current]
        resource.current, resource.type = copy.deepcopy(before), before.type
        await run.note(resource, ("UPDATE_COMPLETE", ""))
        return
    if is_skipped:
        resource.current = copy.deepcopy(before)
        await run.note(resource, ("UPDATE_COMPLETE", "Resource was skipped during rollback"))
        return
    if resource.doing is None and current == before:
        resource.type = before.type
        if resource.status.endswith("FAILED"):
            await run.note(resource, ("UPDATE_COMPLETE", ""))
        return
    await steps.update(run, resource, copy.deepcopy(before), undoes=True)


async def _restore(run: Run, operation: Operation) -> None:
    """Outputs and exports as the old template has them."""
    for resource in run.resources.values():
        resource.before = None
    try:
        target = await run.target(operation.old_template)
        outputs = target.outputs(target.scope(run.resources))
        exported = {output["ExportName"]: output["OutputValue"] for output in outputs if "ExportName" in output}
        imported = target.imported(target.scope(run.resources))
        run.stack.outputs = outputs

        def change(book: StackBook) -> None:
            book.set_exports(run.stack, exported)
            book.set_imports(run.stack.id, imported)
            book.put_stack(run.stack)

        await run.change(change)
    except Fault as fault:
        run.stack.reason = fault.message
