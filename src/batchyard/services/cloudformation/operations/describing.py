"""What there is to see of stacks: themselves, their resources, events, templates and exports."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.services.cloudformation.operations import change_sets
from batchyard.services.cloudformation.operations.requests import (
    HIDDEN,
    PAGE,
    invalid,
    look,
    paged,
    resources_of,
    stack_named,
    template_text,
)
from batchyard.services.cloudformation.running.aside import aside
from batchyard.services.cloudformation.running.book import StackBook
from batchyard.services.cloudformation.running.preparing import read
from batchyard.services.cloudformation.running.records import Resource, Stack
from batchyard.services.cloudformation.template import checking, loops, parameters, reading, summary


async def describe_stacks(desk: Any, caller: Caller, params: Params) -> Params:
    """DescribeStacks: one by name or ARN (deleted ones by ARN alone), or all that are there."""
    name = params.get("StackName")
    if name:
        return {"Stacks": [shown_stack(stack_named(desk, caller, str(name)))]}
    found: list[Stack] = look(desk, caller, lambda book: book.stacks())
    there = [shown_stack(stack) for stack in _newest(found) if stack.status != "DELETE_COMPLETE"]
    shown, token = paged(there, params)
    return {"Stacks": shown} | ({"NextToken": token} if token else {})


def _newest(stacks: list[Stack]) -> list[Stack]:
    return sorted(stacks, key=lambda stack: (-stack.created_ms, stack.id))


def shown_stack(stack: Stack) -> Params:
    """A stack as DescribeStacks shows it."""
    operation = stack.operation
    shown: Params = {
        "StackId": stack.arn,
        "StackName": stack.name,
        "CreationTime": stack.created_ms / 1000,
        "StackStatus": stack.status,
        "DisableRollback": stack.disable_rollback,
        "NotificationARNs": stack.notification_arns,
        "Tags": [{"Key": key, "Value": value} for key, value in stack.tags.items()],
        "EnableTerminationProtection": stack.is_protected,
        "DriftInformation": {"StackDriftStatus": "NOT_CHECKED"} | stack.drift,
        "RollbackConfiguration": stack.rollback_triggers,
    }
    parameters, looked_up = stack.parameters, stack.looked_up
    if operation is not None and operation.template == stack.template:
        parameters, looked_up = operation.parameters, operation.looked_up
    if parameters:
        shown["Parameters"] = [
            {"ParameterKey": name, "ParameterValue": HIDDEN if name in stack.hidden else value}
            | ({"ResolvedValue": HIDDEN if name in stack.hidden else looked_up[name]} if name in looked_up else {})
            for name, value in parameters.items()
        ]
    if stack.outputs and not stack.status.startswith("DELETE"):
        shown["Outputs"] = stack.outputs
    if stack.capabilities:
        shown["Capabilities"] = stack.capabilities
    for member, value in (
        ("StackStatusReason", stack.reason),
        ("Description", stack.description),
        ("RoleARN", stack.role_arn),
        ("TimeoutInMinutes", stack.timeout_min),
        ("ChangeSetId", stack.change_set),
        ("ParentId", stack.parent_arn),
        ("RootId", stack.root_arn),
        ("LastUpdatedTime", stack.updated_ms / 1000),
        ("DeletionTime", stack.deleted_ms / 1000),
    ):
        if value:
            shown[member] = value
    if stack.retain_except_on_create:
        shown["RetainExceptOnCreate"] = True
    return shown


async def list_stacks(desk: Any, caller: Caller, params: Params) -> Params:
    """ListStacks: also deleted ones, unless a filter leaves them out."""
    wanted = set(params.get("StackStatusFilter", []))
    found: list[Stack] = look(desk, caller, lambda book: book.stacks())
    summaries = [_summary(stack) for stack in _newest(found) if not wanted or stack.status in wanted]
    shown, token = paged(summaries, params)
    return {"StackSummaries": shown} | ({"NextToken": token} if token else {})


def _summary(stack: Stack) -> Params:
    whole = shown_stack(stack)
    members = (
        "StackId",
        "StackName",
        "CreationTime",
        "LastUpdatedTime",
        "DeletionTime",
        "StackStatus",
        "StackStatusReason",
        "ParentId",
        "RootId",
    )
    drift = {"StackDriftStatus": "NOT_CHECKED"} | stack.drift
    shown = {member: whole[member] for member in members if member in whole} | {"DriftInformation": drift}
    return shown | ({"TemplateDescription": stack.description} if stack.description else {})


# --- events ---


async def describe_stack_events(desk: Any, caller: Caller, params: Params) -> Params:
    """DescribeStackEvents, the newest first."""
    if not params.get("StackName"):
        raise invalid("StackName is required")
    stack = stack_named(desk, caller, str(params["StackName"]))
    # A page goes on below the last event of the one before: what happens meanwhile moves nothing.
    below = _number_in(stack, params.get("NextToken"))
    page: list[tuple[int, Params]] = look(desk, caller, lambda book: book.events_below(stack.id, below, PAGE))
    lowest = max(below - PAGE, 1)
    token = base64.urlsafe_b64encode(f"{stack.id}/{lowest}".encode()).decode()
    return {"StackEvents": [_shown_event(stack, event, n) for n, event in page]} | ({"NextToken": token} if lowest > 1 else {})


def _number_in(stack: Stack, token: str | None) -> int:
    """The number that a page of events stays below. Raises ValidationError for a token of another list."""
    if not token:
        return stack.events + 1
    try:
        id, _, number = base64.b64decode(token, altchars=b"-_", validate=True).decode().partition("/")
    except ValueError:
        id, number = "", ""
    if id != stack.id or not number.isdecimal() or not 1 < int(number) <= stack.events:
        raise invalid("The NextToken is not one of this list")
    return int(number)


def _shown_event(stack: Stack, event: dict[str, Any], number: int) -> Params:
    at_ms = event["TimestampMs"]
    shown = {name: value for name, value in event.items() if name != "TimestampMs"}
    own = event["PhysicalResourceId"] == stack.arn
    id = f"{stack.id[:-12]}{number:012x}" if own else f"{event['LogicalResourceId']}-{event['ResourceStatus']}-{at_ms}-{number}"
    return shown | {"StackId": stack.arn, "StackName": stack.name, "EventId": id, "Timestamp": at_ms / 1000}


# --- resources ---


async def describe_stack_resources(desk: Any, caller: Caller, params: Params) -> Params:
    """DescribeStackResources: by stack, or the stack that a physical id belongs to."""
    logical = params.get("LogicalResourceId")
    if params.get("StackName"):
        stack = stack_named(desk, caller, str(params["StackName"]))
    elif params.get("PhysicalResourceId"):
        stack = look(desk, caller, lambda book: _stack_of(book, str(params["PhysicalResourceId"])))
    else:
        raise invalid("Either StackName or PhysicalResourceId must be specified.")
    found = await _resources(desk, caller, stack)
    if logical:
        found = [resource for resource in found if resource.logical_id == logical]
    return {"StackResources": [_shown_resource(stack, resource) | {"Timestamp": resource.updated_ms / 1000} for resource in found]}


def _stack_of(book: StackBook, physical_id: str) -> Stack:
    for stack in book.stacks():
        if stack.status != "DELETE_COMPLETE" and any(r.physical_id == physical_id for r in book.resources(stack.id).values()):
            return stack
    raise invalid(f"Stack for {physical_id} does not exist")


async def _resources(desk: Any, caller: Caller, stack: Stack) -> list[Resource]:
    found = await resources_of(desk, caller, stack)
    return sorted((resource for resource in found.values() if resource.status), key=lambda resource: resource.logical_id)


def _shown_resource(stack: Stack, resource: Resource) -> Params:
    shown: Params = {
        "StackName": stack.name,
        "StackId": stack.arn,
        "LogicalResourceId": resource.logical_id,
        "ResourceType": resource.type,
        "ResourceStatus": resource.status,
        "DriftInformation": {"StackResourceDriftStatus": resource.drift.get("status", "NOT_CHECKED")},
    }
    if resource.physical_id:
        shown["PhysicalResourceId"] = resource.physical_id
    if resource.reason:
        shown["ResourceStatusReason"] = resource.reason
    return shown


async def describe_stack_resource(desk: Any, caller: Caller, params: Params) -> Params:
    """DescribeStackResource."""
    stack = stack_named(desk, caller, str(params["StackName"]))
    logical = str(params["LogicalResourceId"])
    found = next((resource for resource in await _resources(desk, caller, stack) if resource.logical_id == logical), None)
    if found is None:
        raise invalid(f"Resource {logical} does not exist for stack {stack.name}")
    shown = _shown_resource(stack, found) | {"LastUpdatedTimestamp": found.updated_ms / 1000}
    return {"StackResourceDetail": shown | ({"Metadata": found.metadata} if found.metadata else {})}


async def list_stack_resources(desk: Any, caller: Caller, params: Params) -> Params:
    """ListStackResources."""
    stack = stack_named(desk, caller, str(params["StackName"]))
    members = ("LogicalResourceId", "PhysicalResourceId", "ResourceType", "ResourceStatus", "ResourceStatusReason", "DriftInformation")
    summaries = []
    for resource in await _resources(desk, caller, stack):
        whole = _shown_resource(stack, resource)
        summaries.append({m: whole[m] for m in members if m in whole} | {"LastUpdatedTimestamp": resource.updated_ms / 1000})
    shown, token = paged(summaries, params)
    return {"StackResourceSummaries": shown} | ({"NextToken": token} if token else {})


# --- templates ---


async def get_template(desk: Any, caller: Caller, params: Params) -> Params:
    """GetTemplate: as it was sent (Original), or with transforms carried out (Processed)."""
    if params.get("ChangeSetName"):
        text, given = change_sets.text_of(desk, caller, params)
    else:
        stack = stack_named(desk, caller, str(params.get("StackName") or ""))
        text, given = look(desk, caller, lambda book: book.template(stack.id, stack.template)), stack.parameters
    if params.get("TemplateStage") == "Processed":
        text = await aside(text, lambda: msgspec.json.encode(read(text, given).content).decode())
    return {"TemplateBody": text, "StagesAvailable": ["Original", "Processed"]}


async def get_template_summary(desk: Any, caller: Caller, params: Params) -> Params:
    """GetTemplateSummary, of a stack or of a template."""
    if params.get("StackName"):
        stack = stack_named(desk, caller, str(params["StackName"]))
        text = look(desk, caller, lambda book: book.template(stack.id, stack.template))
    else:
        text = await template_text(desk, caller, params)
    return await aside(text, lambda: summary.summary(reading.read(text)))


async def validate_template(desk: Any, caller: Caller, params: Params) -> Params:
    """ValidateTemplate: what can be known without parameters, with the line of what is wrong."""
    text = await template_text(desk, caller, params)
    found = await aside(text, _validated, text)
    declared = [
        {name: value for name, value in parameter.items() if name in ("ParameterKey", "DefaultValue", "NoEcho", "Description")}
        for parameter in found.get("Parameters", [])
    ]
    kept = ("Description", "Capabilities", "CapabilitiesReason", "DeclaredTransforms")
    return {"Parameters": declared} | {name: found[name] for name in kept if name in found}


def _validated(text: str) -> Params:
    template = reading.read(text)
    checking.check(loops.expanded(template, parameters.placeholders(template)))
    return summary.summary(template)


# --- exports ---


async def list_exports(desk: Any, caller: Caller, params: Params) -> Params:
    """ListExports of the region."""
    exports = look(desk, caller, lambda book: book.exports())
    entries = [{"ExportingStackId": export["stack"], "Name": name, "Value": export["value"]} for name, export in exports.items()]
    shown, token = paged(entries, params)
    return {"Exports": shown} | ({"NextToken": token} if token else {})


async def list_imports(desk: Any, caller: Caller, params: Params) -> Params:
    """ListImports: which stacks use an export."""
    name = str(params["ExportName"])

    def users(book: StackBook) -> list[str]:
        stacks = [book.stack(id) for id in book.importers(name)]
        return sorted(stack.name for stack in stacks if stack is not None)

    found = look(desk, caller, users)
    if not found:
        raise Fault("ValidationError", f"Export '{name}' is not imported by any stack.")
    shown, token = paged(found, params)
    return {"Imports": shown} | ({"NextToken": token} if token else {})
