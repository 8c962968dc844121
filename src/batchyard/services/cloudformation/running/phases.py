"""What an operation on a stack goes through, each phase a function that ends by naming the next one.

    build (create, update)   -> done, settle | undo_create, undo_update, delete, stay   all is made and changed, side by side
    settle                   -> done                                                    the old ones and the removed ones go
    undo_create              -> done | stay                                             all that was created goes
    undo_update (rollback)   -> settle_undo | stay                                      changed ones back to what they were
    settle_undo              -> done                                                    the new ones go
    delete (delete)          -> done | stay                                             all goes, what needs others first

After the bar: when something failed. Who stays has a status that says so, and waits for somebody to decide.
A phase may be entered anew after a crash: what it has done is noted in the resources, and steps under way are repeated.
"""

from __future__ import annotations

import copy
from collections.abc import Awaitable, Callable

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.planning import policies
from batchyard.services.cloudformation.running import steps, undoing
from batchyard.services.cloudformation.running.book import StackBook
from batchyard.services.cloudformation.running.doubt import in_doubt
from batchyard.services.cloudformation.running.finishing import failure_words, finish, is_other, operation_of, put_all
from batchyard.services.cloudformation.running.records import Failure, Operation, Physical, Resource
from batchyard.services.cloudformation.running.removing import EXCEPT_ON_CREATE, delete_in_order, standing, sweep, was_created_in_vain
from batchyard.services.cloudformation.running.run import Run, type_of
from batchyard.services.cloudformation.running.steps import StepFailed
from batchyard.services.cloudformation.running.target import Target
from batchyard.services.cloudformation.schemas.replacing import replacement

NESTED = "AWS::CloudFormation::Stack"
REPLACES = "Requested update requires the creation of a new physical resource; hence creating one."
RETYPES = "Requested update requires the replacement of a resource with another type; hence creating a new one."


async def drive(run: Run) -> None:
    """Phase after phase, until the operation is over."""
    while run.stack.operation is not None:
        await PHASES[run.stack.operation.phase](run)


_GIVEN_UP = {
    "undo_create": "ROLLBACK_FAILED",
    "undo_update": "UPDATE_ROLLBACK_FAILED",
    "settle": "UPDATE_COMPLETE",
    "settle_undo": "UPDATE_ROLLBACK_COMPLETE",
    "delete": "DELETE_FAILED",
}


async def give_up(run: Run, reason: str) -> None:
    """What cannot go on: what is being built turns back; what was on its way back already, or out, ends as failed."""
    operation = operation_of(run)
    if operation.phase != "build":
        await finish(run, _GIVEN_UP[operation.phase], reason, keep=operation.phase == "undo_update")
    elif operation.failure is None:
        await run.fail(reason)
    else:
        await finish(run, "CREATE_FAILED" if operation.old_template == 0 else "UPDATE_FAILED", reason, keep=True)


# --- forward ---


async def build(run: Run) -> None:
    """Create and update resources side by side, in the order of their needs, until the stack is as its template says."""
    operation = operation_of(run)
    try:
        target = await run.target(operation.template)
    except Fault as fault:  # an export that is gone since, a right that was taken away
        await _fail_without_target(run, operation, fault.message)
        return

    def is_settled(logical_id: str) -> bool:
        resource = run.resources.get(logical_id)
        return resource is not None and resource.settled_in == operation.token

    def ready() -> list[str]:
        if run.is_late() and operation.failure is None:
            operation.failure = Failure([], run.late_words())
        begun = [id for id, resource in run.resources.items() if resource.doing is not None]
        if operation.failure is not None:
            return begun
        waiting = (id for id in target.needs if not is_settled(id))
        return begun + [id for id in waiting if all(is_settled(need) for need in target.needs[id])]

    async def act(logical_id: str) -> None:
        await _settle_one(run, target, operation, logical_id)

    await run.each(ready, act)
    if operation.failure is None:
        await _refuse_removals(run, target)
    if operation.failure is None:
        await _outputs(run, target)
    await _after_build(run, operation, target)


async def _fail_without_target(run: Run, operation: Operation, reason: str) -> None:
    """Turn back from a template that cannot be read any more; steps under way come to their end first."""
    await run.fail(reason)
    for resource in list(run.resources.values()):
        if resource.doing is not None:
            await _let_end(run, resource)
    await _after_build(run, operation, None)


async def _settle_one(run: Run, target: Target, operation: Operation, logical_id: str) -> None:
    """Bring one resource to what is wanted of it."""
    resource = run.resources.get(logical_id)
    verb = "CREATE" if operation.old_template == 0 or resource is None or resource.current is None else "UPDATE"
    if resource is None:
        resource = run.resources[logical_id] = Resource(logical_id=logical_id, type=str(target.fragment(logical_id)["Type"]))
    scope = target.scope(run.resources)
    if resource.doing is not None:
        wanted = resource.doing.wanted
        is_replacing = resource.doing.verb == "create" and resource.current is not None
    else:
        try:
            wanted = target.wanted(logical_id, scope)
            resource.metadata = target.metadata(logical_id, scope)
            if wanted.type == NESTED:
                wanted.inner_template = await run.lookups.template(str(wanted.properties.get("TemplateURL", "")))
        except Fault as fault:
            await run.note(resource, (f"{verb}_FAILED", fault.message), fails=True)
            raise StepFailed(fault.message) from fault
        is_replacing = False
        if resource.touched_in != operation.token:
            resource.before, resource.touched_in = copy.deepcopy(resource.current), operation.token
        _doubt(resource, wanted)
    reason = ""
    if resource.doing is None and resource.current is not None:
        how = change_of(resource.current, wanted)
        if how == "none":
            _adopt(resource, wanted)
            resource.settled_in = operation.token
            await run.note(resource)
            return
        is_replacing = how in ("replace", "retype")
        reason = {"replace": REPLACES, "retype": RETYPES}.get(how, "")
        await _refuse_guarded(run, resource, wanted, policies.REPLACE if is_replacing else policies.MODIFY)
        if is_replacing:
            await _refuse_named(run, resource, wanted)
    if resource.current is None or is_replacing:
        await steps.create(run, resource, wanted, verb, reason)
    else:
        await steps.update(run, resource, wanted)
    resource.settled_in = operation.token
    await run.note(resource)


def _doubt(resource: Resource, wanted: Physical) -> None:
    """Make what an earlier update, which failed and was not taken back, may not have come to differ from what is wanted: it is set now."""
    former, current = resource.before, resource.current
    if resource.status != "UPDATE_FAILED" or former is None or current is None or former.physical_id != current.physical_id:
        return
    current.properties = in_doubt(former.properties, current.properties, wanted.properties)
    current.tags = former.tags if current.tags == wanted.tags else current.tags


async def _refuse_guarded(run: Run, resource: Resource, wanted: Physical, action: str) -> None:
    """The stack policy says what an update may do to a resource that is there. A stack within, of which nothing changes, is not touched."""
    current, operation = resource.current, operation_of(run)
    assert current is not None
    if wanted.type == NESTED and (current.properties, current.inner_template) == (wanted.properties, wanted.inner_template):
        return
    message = policies.refusal(operation.policy or run.stack.policy, action, resource.logical_id, current.type)
    if message and operation.old_template:
        await run.note(resource, ("UPDATE_FAILED", message), fails=True)
        raise StepFailed(message)


async def _refuse_removals(run: Run, target: Target) -> None:
    """As `_refuse_guarded`, of what the new template has no longer."""
    operation = operation_of(run)
    for id, resource in run.resources.items():
        if id not in target.needs and resource.current is not None and operation.old_template:
            message = policies.refusal(operation.policy or run.stack.policy, policies.DELETE, id, resource.type)
            if message:
                await run.fail(message)
                return


async def _refuse_named(run: Run, resource: Resource, wanted: Physical) -> None:
    """A replaced resource exists beside the old one for a while: not under one name."""
    rule = run.type_of(wanted).named
    assert resource.current is not None
    if rule is None or resource.current.type != wanted.type:
        return
    name = wanted.properties.get(rule.property)
    if name is not None and name == resource.current.properties.get(rule.property):
        message = (
            "CloudFormation cannot update a stack when a custom-named resource requires replacing. "
            f"Rename {name} and update the stack again."
        )
        await run.note(resource, ("UPDATE_FAILED", message), fails=True)
        raise StepFailed(message)


def change_of(current: Physical, wanted: Physical) -> str:
    """How what is there becomes what is wanted: none, update, replace, retype."""
    if current.type != wanted.type or current.is_inert != wanted.is_inert:
        return "retype"
    type = type_of(wanted)
    is_tagged = type.has_stack_tags and current.tags != wanted.tags
    if current.properties == wanted.properties and not is_tagged and current.type != NESTED:
        return "none"
    if wanted.is_inert:
        return "update"
    found = replacement(wanted.type, current.properties, wanted.properties)
    further = type.replaces(current.properties, wanted.properties) if type.replaces is not None else ()
    return "replace" if further or "Always" in found.values() else "update"


def _adopt(resource: Resource, wanted: Physical) -> None:
    """What a change without an act leaves: who needs whom, and the policies."""
    assert resource.current is not None
    resource.current.needs = wanted.needs
    resource.current.tags = wanted.tags
    resource.current.deletion_policy, resource.current.update_replace_policy = wanted.deletion_policy, wanted.update_replace_policy


async def _outputs(run: Run, target: Target) -> None:
    """The stack's outputs, exports and imports, in one transaction."""
    operation = operation_of(run)
    try:
        scope = target.scope(run.resources)
        outputs = target.outputs(scope)
        exported = {output["ExportName"]: output["OutputValue"] for output in outputs if "ExportName" in output}
        imported = target.imported(scope)

        def change(book: StackBook) -> None:
            book.refuse_if_gone(run.stack, {name: target.exports.get(name, "") for name in imported})
            book.set_exports(run.stack, exported)
            book.set_imports(run.stack.id, imported)
            run.stack.outputs = outputs
            book.put_stack(run.stack)

        await run.change(change)
    except Fault as fault:
        await run.fail(fault.message)
        assert operation.failure is not None


async def _after_build(run: Run, operation: Operation, target: Target | None) -> None:
    is_create, failure = operation.old_template == 0, operation.failure
    if failure is None:
        assert target is not None
        _take_over(run, operation, target)
        if is_create:
            await finish(run, "CREATE_COMPLETE")
            return
        operation.phase = "settle"
        _doom_removed(run, target)
        await run.turn("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", also=lambda book: put_all(run, book))
        return
    reason = failure_words(failure.resources, failure.reason, "create" if is_create else "update")
    if operation.then_delete:
        operation.phase = "delete"
        run.act_as(operation.deleter)
        await run.turn("DELETE_IN_PROGRESS", "User Initiated")
    elif operation.on_failure == "DO_NOTHING":
        await finish(run, "CREATE_FAILED" if is_create else "UPDATE_FAILED", reason, keep=True)
    elif is_create and operation.on_failure == "DELETE":
        operation.phase = "delete"
        await run.turn("DELETE_IN_PROGRESS", reason)
    elif is_create:
        operation.phase = "undo_create"
        await run.turn("ROLLBACK_IN_PROGRESS", f"{reason} Rollback requested by user." if not failure.reason else reason)
    else:
        operation.phase = "undo_update"
        await run.turn("UPDATE_ROLLBACK_IN_PROGRESS", reason)


def _take_over(run: Run, operation: Operation, target: Target) -> None:
    stack = run.stack
    stack.template, stack.parameters, stack.tags = operation.template, operation.parameters, operation.tags
    stack.hidden, stack.looked_up = operation.hidden, operation.looked_up
    stack.description = str(target.template.content.get("Description") or "")


def _doom_removed(run: Run, target: Target) -> None:
    """What the new template has no longer, and what was replaced, goes at the end."""
    for id, resource in run.resources.items():
        if id not in target.needs:
            if resource.current is not None:
                if resource.current.deletion_policy == EXCEPT_ON_CREATE:
                    resource.current.deletion_policy = "Retain"
                resource.leftovers = [*resource.leftovers, resource.current]
                resource.current = None
        elif resource.before is not None and resource.current is not None and is_other(resource.before, resource.current):
            resource.before.deletion_policy = "Retain" if resource.current.keeps_former else resource.before.update_replace_policy
            resource.leftovers = [*resource.leftovers, *([] if resource.before.is_gone else [resource.before])]
        resource.before = None


# --- the last phases ---


async def settle(run: Run) -> None:
    """The last phase of an update: what is not needed any more goes. What cannot be taken away is named, and left."""
    await sweep(run)
    await finish(run, "UPDATE_COMPLETE")


async def settle_undo(run: Run) -> None:
    """The last phase of an update that was undone."""
    await sweep(run)
    await finish(run, "UPDATE_ROLLBACK_COMPLETE")


async def delete(run: Run) -> None:
    """All goes, what needs others first."""
    operation = operation_of(run)
    for id in operation.retain:
        resource = run.resources.get(id)
        if resource is not None and resource.current is not None and resource.doing is None:
            resource.current.deletion_policy = "Retain"
    in_vain = was_created_in_vain(run.stack, lambda arn: run.desk.stacks.look(run.place, lambda book: book.find(arn)))
    for resource in run.resources.values():
        if resource.doing is not None and resource.doing.verb != "delete":
            # a stack that is deleted while it is created: what is under way comes to its end first
            await _let_end(run, resource)
        if resource.current is not None and resource.current.deletion_policy == EXCEPT_ON_CREATE:
            resource.current.deletion_policy = "Delete" if in_vain else "Retain"
    failed = await delete_in_order(run, standing(run))
    if failed:
        await finish(run, "DELETE_FAILED", failure_words(failed, "", "delete"))
        return

    def change(book: StackBook) -> None:
        book.set_exports(run.stack, {})
        book.set_imports(run.stack.id, set())

    await finish(run, "DELETE_COMPLETE", also=change)


async def _let_end(run: Run, resource: Resource) -> None:
    doing = resource.doing
    assert doing is not None
    try:
        if doing.verb == "create":
            await steps.create(run, resource, doing.wanted)
        else:
            await steps.update(run, resource, doing.wanted)
    except StepFailed:
        return


PHASES: dict[str, Callable[[Run], Awaitable[None]]] = {
    "build": build,
    "settle": settle,
    "undo_create": undoing.undo_create,
    "undo_update": undoing.undo_update,
    "settle_undo": settle_undo,
    "delete": delete,
}
