"""Change sets: what would change, looked at before it is done."""

from __future__ import annotations

import asyncio
import copy
import uuid
from typing import Any

from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.services.cloudformation.operations import changing
from batchyard.services.cloudformation.operations.existing import refuse_existing
from batchyard.services.cloudformation.operations.requests import (
    HIDDEN,
    check_name,
    given_notifications,
    given_parameters,
    given_tags,
    invalid,
    look,
    paged,
    resources_of,
    stack_named,
    template_text,
)
from batchyard.services.cloudformation.planning.rendering import shown
from batchyard.services.cloudformation.running import roles, stacks
from batchyard.services.cloudformation.running.aside import aside
from batchyard.services.cloudformation.running.book import StackBook, place_of
from batchyard.services.cloudformation.running.change_sets import ChangeSet, ChangeSetBook
from batchyard.services.cloudformation.running.differences import changes, is_other_outside
from batchyard.services.cloudformation.running.preparing import Prepared, prepare, refuse_without_capabilities
from batchyard.services.cloudformation.running.records import Resource, Stack

NO_CHANGES = "The submitted information didn't contain changes. Submit different information to create a change set."
REVIEW = "REVIEW_IN_PROGRESS"


async def create_change_set(desk: Any, caller: Caller, params: Params) -> Params:
    """CreateChangeSet: made at once, and then to be described. One without changes is FAILED, in the words that clients match."""
    name = str(params["ChangeSetName"])
    _refuse_unserved(params)
    roles.refuse_unusable(desk, caller.account, str(params.get("RoleARN") or ""))
    stack, kind = _stack_for(desk, caller, params)
    if look(desk, caller, lambda book: _is_taken(ChangeSetBook(book.drawer, desk.sealer), stack.id, name)):
        raise _taken(name, stack)
    is_new = stack.status == REVIEW
    previous = "" if is_new else look(desk, caller, lambda book: book.template(stack.id, stack.template))
    text = await template_text(desk, caller, params, previous)
    tags = given_tags(params) if "Tags" in params or is_new else dict(stack.tags)
    if "NotificationARNs" in params:
        stack.notification_arns = given_notifications(params)
    stack.actor = stacks.actor_of(caller, str(params.get("RoleARN") or stack.role_arn), stack.name)
    given = given_parameters(params, None if is_new else stack.parameters)
    prepared = await prepare(desk, stack, text, given, tags)
    # A change set shows what transforms made, before it is executed: AWS asks for no acknowledgement of them here.
    refuse_without_capabilities(prepared.template, [*params.get("Capabilities", []), "CAPABILITY_AUTO_EXPAND"])
    made = ChangeSet(
        name=name,
        arn=f"arn:aws:cloudformation:{caller.region}:{caller.account}:changeSet/{name}/{uuid.uuid4()}",
        stack_id=stack.id,
        stack_name=stack.name,
        stack_arn=stack.arn,
        type=kind,
        status="CREATE_COMPLETE",
        execution="AVAILABLE",
        created_ms=desk.now_ms(),
        description=str(params.get("Description") or ""),
        text=text,
        given=given,
        parameters=prepared.parameters,
        looked_up=prepared.looked_up,
        hidden=prepared.hidden,
        tags=tags,
        capabilities=list(params.get("Capabilities", [])),
        notification_arns=stack.notification_arns,
        role_arn=str(params.get("RoleARN") or ""),
        on_failure=str(params.get("OnStackFailure") or ""),
        stack_templates=stack.templates,
        client_token=str(params.get("ClientToken") or ""),
        includes_nested=bool(params.get("IncludeNestedStacks")),
        imports_existing=bool(params.get("ImportExistingResources")),
    )
    await _fill(desk, caller, stack, made, prepared)

    await desk.stacks.change(place_of(caller.account, caller.region), lambda book: _keep(desk, book, stack, made))
    return {"Id": made.arn, "StackId": stack.arn}


def _keep(desk: Any, book: StackBook, stack: Stack, made: ChangeSet) -> None:
    """Write a change set down, and the stack that comes into being with it. Raises Fault when somebody else was quicker."""
    now, sets = book.find(stack.name), ChangeSetBook(book.drawer, desk.sealer)
    is_new = stack.created_ms == 0
    if now is None and is_new:
        stack.created_ms = desk.now_ms()
        stack.change_set = made.arn
        book.put_stack(stack)
    elif now is None or now.id != stack.id or now.operation is not None or now.templates != stack.templates:
        raise stacks.busy(now) if now is not None else invalid(f"Stack [{stack.name}] does not exist")
    elif _is_taken(sets, stack.id, made.name):
        raise _taken(made.name, stack)
    sets.put(made)


def _is_taken(sets: ChangeSetBook, stack_id: str, name: str) -> bool:
    """Whether a change set stands in the way of another of its name. One that failed does not: the AWS CLI names them by the second, and
    here two deployments of one second are possible."""
    found = sets.find(stack_id, name)
    return found is not None and found.status != "FAILED"


def _taken(name: str, stack: Stack) -> Fault:
    return Fault("AlreadyExistsException", f"ChangeSet {name} already exists for stack {stack.name}")


def _refuse_unserved(params: Params) -> None:
    if params.get("ResourcesToImport"):
        raise invalid("ResourcesToImport is not available in this version of Batchyard: leave it out.")


def _stack_for(desk: Any, caller: Caller, params: Params) -> tuple[Stack, str]:
    """The stack that the change set is for; of type CREATE, one that is made with it, or waits for a first change set."""
    name, kind = str(params["StackName"]), str(params.get("ChangeSetType") or "UPDATE")
    found: Stack | None = look(desk, caller, lambda book: book.find(name))
    if kind == "IMPORT":
        raise invalid("ChangeSetType IMPORT is not available in this version of Batchyard: use CREATE or UPDATE.")
    if kind == "CREATE":
        check_name(name)
        if found is not None and found.status != REVIEW:
            raise invalid(f"Stack [{name}] already exists and cannot be created again with the changeSet [{params['ChangeSetName']}].")
        return found or stacks.new_stack(caller, name, str(params.get("RoleARN") or "")), kind
    if found is None or found.status == "DELETE_COMPLETE":
        raise invalid(f"Stack [{name}] does not exist")
    if found.status == REVIEW or found.status not in changing.UPDATABLE:
        raise invalid(f"Stack:{found.arn} is in {found.status} state and can not be updated.")
    return found, kind


async def _fill(desk: Any, caller: Caller, stack: Stack, made: ChangeSet, prepared: Prepared) -> None:
    """What would change; FAILED where that is nothing."""
    resources: dict[str, Resource] = await resources_of(desk, caller, stack) if stack.template else {}
    old = await desk.stacks.target_now(stack) if stack.template and stack.status != REVIEW else None
    found = await aside(made.text, changes, prepared.target, stack, resources, old, hidden=prepared.hidden)
    if made.imports_existing:
        await refuse_existing(desk, caller, stack.name, found)
    made.changes = await aside(made.text, shown, found, with_values=False)
    made.changes_in_full = await aside(made.text, shown, found, with_values=True)
    if not found and stack.status != REVIEW and not is_other_outside(prepared.target, stack, resources):
        made.status, made.reason, made.execution = "FAILED", NO_CHANGES, "UNAVAILABLE"


def _named(desk: Any, caller: Caller, params: Params) -> ChangeSet:
    """The change set of a request, by ARN or by its stack and name."""
    name, stack_name = str(params["ChangeSetName"]), params.get("StackName")

    def find(book: StackBook) -> ChangeSet | None:
        sets = ChangeSetBook(book.drawer, desk.sealer)
        if name.startswith("arn:"):
            return sets.by_arn(name)
        if not stack_name:
            raise invalid("StackName must be specified if ChangeSetName is not specified as an ARN.")
        return sets.find(book.require(str(stack_name)).id, name)

    found: ChangeSet | None = look(desk, caller, find)
    if found is None:
        raise Fault("ChangeSetNotFoundException", f"ChangeSet [{name}] does not exist")
    return found


async def describe_change_set(desk: Any, caller: Caller, params: Params) -> Params:
    """DescribeChangeSet, with the values of properties where they are asked for."""
    made = await asyncio.to_thread(_named, desk, caller, params)  # it may hold all properties of five hundred resources twice
    entries = made.changes_in_full if params.get("IncludePropertyValues") else made.changes
    changes_shown, token = paged(entries, params)
    answer = _summary(made) | {
        "NotificationARNs": made.notification_arns,
        "Capabilities": made.capabilities,
        "Tags": [{"Key": key, "Value": value} for key, value in made.tags.items()],
        "Changes": changes_shown,
        "RollbackConfiguration": {},
    }
    if made.parameters:
        answer["Parameters"] = [
            {"ParameterKey": name, "ParameterValue": HIDDEN if name in made.hidden else value}
            | ({"ResolvedValue": HIDDEN if name in made.hidden else made.looked_up[name]} if name in made.looked_up else {})
            for name, value in made.parameters.items()
        ]
    if made.on_failure:
        answer["OnStackFailure"] = made.on_failure
    return answer | ({"NextToken": token} if token else {})


def _summary(made: ChangeSet) -> Params:
    summary: Params = {
        "StackId": made.stack_arn,
        "StackName": made.stack_name,
        "ChangeSetId": made.arn,
        "ChangeSetName": made.name,
        "ExecutionStatus": made.execution,
        "Status": made.status,
        "CreationTime": made.created_ms / 1000,
        "IncludeNestedStacks": made.includes_nested,
        "ImportExistingResources": made.imports_existing,
    }
    for member, value in (("StatusReason", made.reason), ("Description", made.description)):
        if value:
            summary[member] = value
    return summary


async def list_change_sets(desk: Any, caller: Caller, params: Params) -> Params:
    """ListChangeSets of a stack."""
    stack = stack_named(desk, caller, str(params["StackName"]))
    found = look(desk, caller, lambda book: ChangeSetBook(book.drawer, desk.sealer).of_stack(stack.id))
    summaries, token = paged([_summary(made) for made in found], params)
    return {"Summaries": summaries} | ({"NextToken": token} if token else {})


async def delete_change_set(desk: Any, caller: Caller, params: Params) -> Params:
    """DeleteChangeSet: one that is not there is no error."""
    try:
        made = _named(desk, caller, params)
    except Fault as fault:
        if fault.code == "ChangeSetNotFoundException":
            return {}
        raise
    await desk.stacks.change(place_of(caller.account, caller.region), lambda book: ChangeSetBook(book.drawer, desk.sealer).delete(made))
    return {}


async def execute_change_set(desk: Any, caller: Caller, params: Params) -> Params:
    """ExecuteChangeSet: begins the creation or the update, durable when it answers. The stack's other change sets go."""
    made = _named(desk, caller, params)
    stack = stack_named(desk, caller, made.stack_arn)
    if made.execution != "AVAILABLE" or made.stack_templates != stack.templates:
        status = made.execution if made.execution != "AVAILABLE" else "OBSOLETE"
        words = f"ChangeSet [{made.arn}] cannot be executed in its current execution status of [{status}]"
        raise Fault("InvalidChangeSetStatus", words)
    is_create, as_read = stack.status == REVIEW, copy.deepcopy(stack)
    if not is_create and stack.status not in changing.UPDATABLE:
        raise stacks.busy(stack)
    if made.role_arn:
        stack.role_arn = made.role_arn
    roles.refuse_unusable(desk, caller.account, stack.role_arn)
    stack.actor = stacks.actor_of(caller, stack.role_arn, stack.name)
    stack.notification_arns, stack.change_set = made.notification_arns, made.arn
    prepared = await prepare(desk, stack, made.text, made.parameters, made.tags)
    options: Params = {"ClientRequestToken": params.get("ClientRequestToken"), "DisableRollback": params.get("DisableRollback")}
    if made.on_failure:
        options["OnFailure"] = made.on_failure
    stack.retain_except_on_create = bool(params.get("RetainExceptOnCreate"))
    stack.capabilities = made.capabilities
    resources = {} if is_create else await resources_of(desk, caller, stack)
    if is_create:
        operation = changing.building(stack, prepared, options, made.tags)
        stack.disable_rollback = bool(params.get("DisableRollback"))

        def change(book: StackBook) -> None:
            stacks.refuse_other(book, as_read)
            changing.begin_build(book, stack, operation, prepared, "CREATE_IN_PROGRESS", desk.now_ms())
            _forget_all(desk, book, stack)

        await desk.stacks.begin(stack, resources, change)
        await desk.stacks.ended(stack.id, stacks.GRACE_S)
        return {}
    await changing.begin_update(
        desk, caller, as_read, stack, resources, prepared, options, made.tags, also=lambda book: _forget_all(desk, book, stack)
    )
    await desk.stacks.ended(stack.id, stacks.GRACE_S)
    return {}


def _forget_all(desk: Any, book: StackBook, stack: Stack) -> None:
    """A change set that is executed takes all of the stack's with it."""
    sets = ChangeSetBook(book.drawer, desk.sealer)
    for made in sets.of_stack(stack.id):
        sets.delete(made)


def text_of(desk: Any, caller: Caller, params: Params) -> tuple[str, dict[str, str]]:
    """The template of a change set, and its parameters."""
    found = _named(desk, caller, params)
    return found.text, found.parameters
