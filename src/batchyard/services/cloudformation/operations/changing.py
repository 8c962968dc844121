"""CreateStack, UpdateStack, DeleteStack and what may be done to an operation under way."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from typing import Any

from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.services.cloudformation.operations.guarding import given_policy
from batchyard.services.cloudformation.operations.requests import (
    check_name,
    given_notifications,
    given_parameters,
    given_tags,
    invalid,
    look,
    resources_of,
    stack_named,
    template_text,
)
from batchyard.services.cloudformation.running import roles, stacks
from batchyard.services.cloudformation.running.aside import aside
from batchyard.services.cloudformation.running.book import StackBook, place_of
from batchyard.services.cloudformation.running.differences import changes, is_other_outside
from batchyard.services.cloudformation.running.preparing import Prepared, prepare, refuse_without_capabilities
from batchyard.services.cloudformation.running.records import Operation, Resource, Stack

UPDATABLE = frozenset(
    (
        "CREATE_COMPLETE",
        "UPDATE_COMPLETE",
        "UPDATE_ROLLBACK_COMPLETE",
        "IMPORT_COMPLETE",
        "IMPORT_ROLLBACK_COMPLETE",
        "CREATE_FAILED",
        "UPDATE_FAILED",
    )
)
LAST_RECORD_S = 60.0  # what an operation may still need for its last record; others may see it a moment before
NO_UPDATES = "No updates are to be performed."


async def create_stack(desk: Any, caller: Caller, params: Params) -> Params:
    """CreateStack: answers when the beginning is durable. A repeated ClientRequestToken answers the same stack."""
    name = str(params["StackName"])
    check_name(name)
    if params.get("DisableRollback") and params.get("OnFailure"):
        raise invalid("You cannot specify both DisableRollback and OnFailure")
    text, given = await template_text(desk, caller, params), given_parameters(params)
    arn = await begin_creation(desk, caller, name, text, given, given_tags(params), params)
    await desk.stacks.ended(arn.rpartition("/")[2], stacks.GRACE_S)
    return {"StackId": arn}


async def begin_creation(
    desk: Any,
    caller: Caller,
    name: str,
    text: str,
    given: dict[str, str],
    tags: dict[str, str],
    params: Params,
    *,
    parent_arn: str = "",
    root_arn: str = "",
) -> str:
    """Begin to create a stack; its ARN. Raises Fault for everything that can be known before anything is created."""
    roles.refuse_unusable(desk, caller.account, str(params.get("RoleARN") or ""))
    stack = stacks.new_stack(caller, name, str(params.get("RoleARN") or ""))
    stack.parent_arn, stack.root_arn = parent_arn, root_arn
    stack.notification_arns = given_notifications(params)
    prepared = await prepare(desk, stack, text, given, tags)
    refuse_without_capabilities(prepared.template, params.get("Capabilities", []))
    settle_options(stack, params)
    stack.policy = await given_policy(desk, caller, params)
    operation = building(stack, prepared, params, tags)
    taken: str | None = await desk.stacks.begin(stack, {}, lambda book: _begin_create(book, stack, operation, prepared, desk.now_ms()))
    return taken or stack.arn


def settle_options(stack: Stack, params: Params) -> None:
    """What a request says of a stack besides its template."""
    stack.capabilities = list(params.get("Capabilities", []))
    stack.disable_rollback = bool(params.get("DisableRollback"))
    stack.timeout_min = int(params.get("TimeoutInMinutes") or 0)
    stack.is_protected = bool(params.get("EnableTerminationProtection"))
    stack.retain_except_on_create = bool(params.get("RetainExceptOnCreate"))


def building(stack: Stack, prepared: Prepared, params: Params, tags: dict[str, str]) -> Operation:
    """The operation that makes `stack` what was prepared."""
    stack.templates += 1
    if not stack.template:
        stack.hidden, stack.looked_up = prepared.hidden, prepared.looked_up
        stack.parameters, stack.tags, stack.template = prepared.parameters, tags, stack.templates
        stack.description = str(prepared.template.content.get("Description") or "")
    failure = "DO_NOTHING" if params.get("DisableRollback") else str(params.get("OnFailure") or "ROLLBACK")
    return Operation(
        token=stacks.new_token(),
        phase="build",
        client_token=str(params.get("ClientRequestToken") or ""),
        on_failure=failure,
        template=stack.templates,
        parameters=prepared.parameters,
        looked_up=prepared.looked_up,
        hidden=prepared.hidden,
        tags=tags,
    )


def _begin_create(book: StackBook, stack: Stack, operation: Operation, prepared: Prepared, now_ms: int) -> str | None:
    there = book.find(stack.name)
    if there is not None:
        of_it = there.operation
        if of_it is not None and operation.client_token and of_it.client_token == operation.client_token:
            return there.arn
        raise Fault("AlreadyExistsException", f"Stack [{stack.name}] already exists")
    stack.created_ms = now_ms
    begin_build(book, stack, operation, prepared, "CREATE_IN_PROGRESS", now_ms)
    return None


def begin_build(book: StackBook, stack: Stack, operation: Operation, prepared: Prepared, status: str, now_ms: int) -> None:
    """Write down that a stack is being built."""
    if stack.timeout_min:
        operation.deadline_ms = now_ms + stack.timeout_min * 60_000
    book.put_template(stack.id, operation.template, prepared.text)
    stacks.began(stack, operation, book, status, "User Initiated", now_ms=now_ms)


async def update_stack(desk: Any, caller: Caller, params: Params) -> Params:
    """UpdateStack. Nothing to change is AWS's `No updates are to be performed.`"""
    stack = stack_named(desk, caller, str(params["StackName"]))
    previous = look(desk, caller, lambda book: book.template(stack.id, stack.template))
    text = await template_text(desk, caller, params, previous)
    tags = given_tags(params) if "Tags" in params else dict(stack.tags)
    await change_stack(desk, caller, stack.arn, text, given_parameters(params, stack.parameters), tags, params, templates=stack.templates)
    await desk.stacks.ended(stack.id, stacks.GRACE_S)
    return {"StackId": stack.arn}


async def change_stack(
    desk: Any, caller: Caller, name: str, text: str, given: dict[str, str], tags: dict[str, str], params: Params, *, templates: int = 0
) -> None:
    """Begin to update a stack. Raises Fault, as when there is nothing to change. `templates`: how many it had when what is wanted of it
    was put together, if that was before."""
    stack = stack_named(desk, caller, name)
    if stack.status not in UPDATABLE or (templates and stack.templates != templates):
        raise stacks.busy(stack)
    as_read = copy.deepcopy(stack)
    resources = await resources_of(desk, caller, stack)
    if params.get("RoleARN"):
        stack.role_arn = str(params["RoleARN"])
    roles.refuse_unusable(desk, caller.account, stack.role_arn)
    stack.actor = stacks.actor_of(caller, stack.role_arn, stack.name)
    if "NotificationARNs" in params:
        stack.notification_arns = given_notifications(params)
    prepared = await prepare(desk, stack, text, given, tags)
    refuse_without_capabilities(prepared.template, params.get("Capabilities", []))
    stack.policy = await given_policy(desk, caller, params) or stack.policy
    during = await given_policy(desk, caller, params, "StackPolicyDuringUpdate")
    old = await desk.stacks.target_now(stack)
    found = await aside(text, changes, prepared.target, stack, resources, old, hidden=prepared.hidden)
    if stack.stuck is None and not found and not is_other_outside(prepared.target, stack, resources):
        raise invalid(NO_UPDATES)
    stack.capabilities = list(params.get("Capabilities", []))
    await begin_update(desk, caller, as_read, stack, resources, prepared, params, tags, policy=during)


async def begin_update(
    desk: Any,
    caller: Caller,
    as_read: Stack,
    stack: Stack,
    resources: dict[str, Resource],
    prepared: Prepared,
    params: Params,
    tags: dict[str, str],
    *,
    policy: str = "",
    also: Callable[[StackBook], None] | None = None,
) -> None:
    """Write down that a stack, which was `as_read`, is being updated, and drive it; `also` in the same transaction. Raises Fault when
    something else was quicker."""
    old_looked_up = stack.looked_up
    operation = building(stack, prepared, params, tags)
    stuck = stack.stuck
    operation.policy = policy
    operation.old_template = stuck.old_template if stuck is not None and stuck.old_template else stack.template
    operation.old_parameters, operation.old_tags = stack.parameters, stack.tags
    operation.old_looked_up = old_looked_up
    if stuck is not None:
        operation.old_parameters, operation.old_tags = stuck.old_parameters or stack.parameters, stuck.old_tags or stack.tags
        for resource in resources.values():
            if resource.touched_in == stuck.token:
                resource.touched_in = operation.token
    stack.stuck = None

    def change(book: StackBook) -> None:
        stacks.refuse_other(book, as_read)
        for resource in resources.values():
            book.put_resource(stack.id, resource)
        begin_build(book, stack, operation, prepared, "UPDATE_IN_PROGRESS", desk.now_ms())
        if also is not None:
            also(book)

    await desk.stacks.begin(stack, resources, change)


async def delete_stack(desk: Any, caller: Caller, params: Params) -> Params:
    """DeleteStack: of a stack that is not there, no error. A stack that is being created is deleted once what is under way has ended."""
    stack: Stack | None = look(desk, caller, lambda book: book.find(str(params["StackName"])))
    if stack is None or stack.status in ("DELETE_COMPLETE", "DELETE_IN_PROGRESS"):
        return {}
    if stack.is_protected:
        raise invalid(f"Stack [{stack.name}] cannot be deleted while TerminationProtection is enabled")
    if params.get("RetainResources") and stack.status != "DELETE_FAILED":
        raise invalid("RetainResources can only be specified when the stack is in the DELETE_FAILED state")
    look(desk, caller, lambda book: _refuse_imported(book, stack.arn))
    run = desk.stacks.runs.get(stack.id)
    if run is not None:
        if not run.stack.status.endswith("_IN_PROGRESS"):  # it is over, but for its last record
            await desk.stacks.ended(stack.id, LAST_RECORD_S)
            if desk.stacks.runs.get(stack.id) is not run:
                return await delete_stack(desk, caller, params)
        operation = run.stack.operation
        if run.stack.status != "CREATE_IN_PROGRESS" or operation is None:
            raise invalid(f"Stack [{stack.name}] cannot be deleted while in status {run.stack.status}")
        role_arn = str(params.get("RoleARN") or run.stack.role_arn)
        roles.refuse_unusable(desk, caller.account, role_arn)
        operation.then_delete, operation.deleter = True, stacks.actor_of(caller, role_arn, stack.name)
        stacks.cancel(run, "User Initiated")
        await run.save()
        return {}
    resources = await resources_of(desk, caller, stack)
    as_read = copy.deepcopy(stack)
    role_arn = str(params.get("RoleARN") or stack.role_arn)
    roles.refuse_unusable(desk, caller.account, role_arn)
    stack.actor = stacks.actor_of(caller, role_arn, stack.name)
    operation = Operation(
        token=stacks.new_token(),
        phase="delete",
        client_token=str(params.get("ClientRequestToken") or ""),
        template=stack.template,
        parameters=stack.parameters,
        looked_up=stack.looked_up,
        tags=stack.tags,
        retain=list(params.get("RetainResources", [])),
    )

    def change(book: StackBook) -> None:
        stacks.refuse_other(book, as_read)
        _refuse_imported(book, stack.arn)
        stacks.began(stack, operation, book, "DELETE_IN_PROGRESS", "User Initiated", now_ms=desk.now_ms())

    await desk.stacks.begin(stack, resources, change)
    await desk.stacks.ended(stack.id, stacks.GRACE_S)
    return {}


def _refuse_imported(book: StackBook, stack_arn: str) -> None:
    for name, export in book.exports().items():
        if export["stack"] == stack_arn:
            book.refuse_if_imported(name, "deleted")


async def cancel_update_stack(desk: Any, caller: Caller, params: Params) -> Params:
    """CancelUpdateStack: an update under way turns back."""
    stack = stack_named(desk, caller, str(params["StackName"]))
    run = desk.stacks.runs.get(stack.id)
    if run is None or run.stack.status != "UPDATE_IN_PROGRESS":
        raise invalid("CancelUpdateStack cannot be called from current stack status")
    stacks.cancel(run, "User Initiated")
    await run.save()
    return {}


async def continue_update_rollback(desk: Any, caller: Caller, params: Params) -> Params:
    """ContinueUpdateRollback: the way back again, without the resources to skip."""
    stack = stack_named(desk, caller, str(params["StackName"]))
    if stack.status != "UPDATE_ROLLBACK_FAILED" or stack.stuck is None:
        raise invalid(f"Stack:{stack.arn} is in {stack.status} state and can not continue update rollback.")
    resources = await resources_of(desk, caller, stack)
    skip = list(params.get("ResourcesToSkip", []))
    unknown = [id for id in skip if id not in resources]
    if unknown:
        raise invalid(f"Resources [{', '.join(unknown)}] do not exist in stack {stack.name}")
    await _go_back(desk, caller, stack, resources, skip, params, "undo_update", "UPDATE_ROLLBACK_IN_PROGRESS")
    return {}


async def rollback_stack(desk: Any, caller: Caller, params: Params) -> Params:
    """RollbackStack: back from CREATE_FAILED or UPDATE_FAILED."""
    stack = stack_named(desk, caller, str(params["StackName"]))
    if stack.status not in ("CREATE_FAILED", "UPDATE_FAILED") or stack.stuck is None:
        raise invalid(f"Stack:{stack.arn} is in {stack.status} state and can not be rolled back.")
    resources = await resources_of(desk, caller, stack)
    is_create = stack.status == "CREATE_FAILED"
    phase, status = ("undo_create", "ROLLBACK_IN_PROGRESS") if is_create else ("undo_update", "UPDATE_ROLLBACK_IN_PROGRESS")
    await _go_back(desk, caller, stack, resources, [], params, phase, status)
    return {"StackId": stack.arn}


async def _go_back(
    desk: Any, caller: Caller, stack: Stack, resources: dict[str, Resource], skip: list[str], params: Params, phase: str, status: str
) -> None:
    as_read, operation, before = copy.deepcopy(stack), stack.stuck, stack.status
    assert operation is not None
    stack.role_arn = str(params.get("RoleARN") or stack.role_arn)
    roles.refuse_unusable(desk, caller.account, stack.role_arn)
    stack.actor = stacks.actor_of(caller, stack.role_arn, stack.name)
    operation.phase, operation.skip = phase, skip
    if before != "UPDATE_ROLLBACK_FAILED":  # RollbackStack says it anew
        stack.retain_except_on_create = bool(params.get("RetainExceptOnCreate"))
    operation.client_token = str(params.get("ClientRequestToken") or "")
    stack.stuck = None

    def change(book: StackBook) -> None:
        stacks.refuse_other(book, as_read)
        stacks.began(stack, operation, book, status, "User Initiated", now_ms=desk.now_ms())

    await desk.stacks.begin(stack, resources, change)
    await desk.stacks.ended(stack.id, stacks.GRACE_S)


async def update_termination_protection(desk: Any, caller: Caller, params: Params) -> Params:
    """UpdateTerminationProtection."""
    stack = stack_named(desk, caller, str(params["StackName"]))
    wanted = bool(params["EnableTerminationProtection"])

    def change(book: StackBook) -> bool:
        now = book.require(stack.arn)
        if now.operation is None:
            now.is_protected = wanted
            book.put_stack(now)
        return now.operation is None

    # What is being done to a stack writes its record as it knows it: then it must be told.
    for _ in range(10):
        run = desk.stacks.runs.get(stack.id)
        if run is not None:
            run.stack.is_protected = wanted
            await run.save()
            return {"StackId": stack.arn}
        if await desk.stacks.change(place_of(caller.account, caller.region), change):
            return {"StackId": stack.arn}
        await asyncio.sleep(0.01)  # begun in the meantime
    raise stacks.busy(stack_named(desk, caller, stack.arn))
