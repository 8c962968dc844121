"""Takes resources of a stack away: what needs others first."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from batchyard.services.cloudformation.running import steps
from batchyard.services.cloudformation.running.finishing import operation_of
from batchyard.services.cloudformation.running.records import Physical, Resource, Stack
from batchyard.services.cloudformation.running.run import Run
from batchyard.services.cloudformation.running.steps import StepFailed

EXCEPT_ON_CREATE = "RetainExceptOnCreate"
# What an outer stack is about when it takes away a stack within that it has just made.
_BACK_FROM_CREATION = (
    "CREATE_IN_PROGRESS",
    "ROLLBACK_IN_PROGRESS",
    "UPDATE_IN_PROGRESS",
    "UPDATE_ROLLBACK_IN_PROGRESS",
    "UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS",
)


def was_created_in_vain(stack: Stack, find: Callable[[str], Stack | None]) -> bool:
    """Whether the deletion of `stack` takes its creation back, so that what is retained except on create goes too: the creation failed
    with OnFailure=DELETE, or that of a stack around it (`find` gives a stack by its ARN) is rolled back."""
    operation = stack.operation
    if operation is not None and operation.failure is not None and operation.on_failure == "DELETE" and not operation.then_delete:
        return True
    parent = find(stack.parent_arn) if stack.parent_arn else None
    if parent is None:
        return False
    return parent.status in _BACK_FROM_CREATION or (parent.status == "DELETE_IN_PROGRESS" and was_created_in_vain(parent, find))


async def sweep(run: Run) -> list[str]:
    """Deletes leftovers, the ones that need others first. The logical ids that could not be."""
    return await delete_in_order(run, {id: list(resource.leftovers) for id, resource in run.resources.items() if resource.leftovers})


async def delete_in_order(run: Run, doomed: dict[str, list[Physical]]) -> list[str]:
    """Deletes what stands under each logical id, when nothing that is left needs it. The logical ids that failed."""
    left = dict(doomed)
    blocked: set[str] = set()  # what may not go, because something that needs it stayed

    def ready() -> Iterable[str]:
        busy = blocked | {need for id, physicals in left.items() for physical in physicals for need in physical.needs if need != id}
        return [id for id in left if id not in busy]

    async def act(id: str) -> None:
        resource = run.resources[id]
        physicals = sorted(left[id], key=lambda physical: not _is_being_deleted(resource, physical))
        try:
            for physical in physicals:
                await steps.delete(run, resource, physical, physical.deletion_policy)
        except StepFailed:
            blocked.update(need for physical in left.pop(id) for need in physical.needs)
            raise
        left.pop(id)
        if resource.current is None and not resource.leftovers:
            await _note_gone(run, resource)

    return await run.each(ready, act)


def _is_being_deleted(resource: Resource, physical: Physical) -> bool:
    """Whether a step that a crash left behind was about this one."""
    return resource.doing is not None and resource.doing.wanted.physical_id == physical.physical_id


async def _note_gone(run: Run, resource: Resource) -> None:
    """A resource that is gone stands in the list of a stack that is deleted; an updated stack knows it no more."""
    if operation_of(run).phase in ("settle", "settle_undo"):
        run.resources.pop(resource.logical_id, None)
        await run.note(resource, gone=True)


def standing(run: Run) -> dict[str, list[Physical]]:
    """All that there is, by logical id."""
    there = {
        id: ([resource.current] if resource.current is not None else []) + resource.leftovers for id, resource in run.resources.items()
    }
    return {id: physicals for id, physicals in there.items() if physicals}
