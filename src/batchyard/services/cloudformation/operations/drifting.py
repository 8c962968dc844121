"""Drift: what was changed behind a stack's back. Found when asked, and shown as it was then."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Collection, Mapping
from typing import Any

from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.services.cloudformation.operations.requests import invalid, look, paged, resources_of, stack_named
from batchyard.services.cloudformation.planning import drift
from batchyard.services.cloudformation.planning.secrets import hidden, looked_up, whole_lists
from batchyard.services.cloudformation.resources import types
from batchyard.services.cloudformation.resources.type import Kept
from batchyard.services.cloudformation.running.book import StackBook, place_of
from batchyard.services.cloudformation.running.hands import StackHands
from batchyard.services.cloudformation.running.records import Resource, Stack
from batchyard.services.cloudformation.running.target import Target

DETECTION = "drift-detection"
SIDE_BY_SIDE = 8
_OVER = ("CREATE_COMPLETE", "UPDATE_COMPLETE", "ROLLBACK_FAILED", "UPDATE_ROLLBACK_COMPLETE", "UPDATE_ROLLBACK_FAILED", "UPDATE_FAILED",
         "CREATE_FAILED", "DELETE_FAILED", "IMPORT_COMPLETE", "IMPORT_ROLLBACK_COMPLETE")  # fmt: skip


async def detect_stack_drift(desk: Any, caller: Caller, params: Params) -> Params:
    """DetectStackDrift: reads every resource that can be read, as the caller. It is over when this answers; AWS's goes on meanwhile."""
    stack, resources = await _checkable(desk, caller, params)
    asked = set(params.get("LogicalResourceIds") or resources)
    if unknown := sorted(asked - resources.keys()):
        raise invalid(f"Resource {unknown[0]} does not exist for stack {stack.name}")
    found = await _checked(desk, caller, stack, {id: resource for id, resource in resources.items() if id in asked})
    detection = str(uuid.uuid4())
    await _keep(desk, caller, stack, found, detection)
    return {"StackDriftDetectionId": detection}


async def describe_stack_drift_detection_status(desk: Any, caller: Caller, params: Params) -> Params:
    """DescribeStackDriftDetectionStatus: what a detection found, as long as its stack's record is there."""
    id = str(params["StackDriftDetectionId"])
    kept = look(desk, caller, lambda book: book.drawer.get(DETECTION, id))
    if kept is None:
        raise invalid(f"Drift detection {id} does not exist")
    return {
        "StackId": kept["stack"],
        "StackDriftDetectionId": id,
        "StackDriftStatus": kept["status"],
        "DetectionStatus": "DETECTION_COMPLETE",
        "DriftedStackResourceCount": kept["count"],
        "Timestamp": kept["at_ms"] / 1000,
    }


async def detect_stack_resource_drift(desk: Any, caller: Caller, params: Params) -> Params:
    """DetectStackResourceDrift: one resource, at once."""
    stack, resources = await _checkable(desk, caller, params)
    id = str(params["LogicalResourceId"])
    if id not in resources:
        raise invalid(f"Resource {id} does not exist for stack {stack.name}")
    found = await _checked(desk, caller, stack, {id: resources[id]})
    if not found:
        raise invalid("Drift detection is not supported for the specified ResourceType")
    await _keep(desk, caller, stack, found, "")
    resources[id].drift = found[id]
    return {"StackResourceDrift": _shown(stack, resources[id])}


async def describe_stack_resource_drifts(desk: Any, caller: Caller, params: Params) -> Params:
    """DescribeStackResourceDrifts: the resources that were checked, as they were found last."""
    stack = stack_named(desk, caller, str(params["StackName"]))
    wanted = params.get("StackResourceDriftStatusFilters") or ()
    resources = await resources_of(desk, caller, stack)
    entries = [_shown(stack, resource) for _, resource in sorted(resources.items()) if resource.drift]
    shown, token = paged([one for one in entries if not wanted or one["StackResourceDriftStatus"] in wanted], params)
    return {"StackResourceDrifts": shown} | ({"NextToken": token} if token else {})


async def _checkable(desk: Any, caller: Caller, params: Params) -> tuple[Stack, dict[str, Resource]]:
    """The stack and its resources that are there. Raises ValidationError where something is being done to it."""
    stack = stack_named(desk, caller, str(params["StackName"]))
    if stack.operation is not None or stack.status not in _OVER:
        raise invalid(f"Drift detection cannot be performed on stack [{stack.arn}] while it is in {stack.status} state")
    resources: dict[str, Resource] = await resources_of(desk, caller, stack)
    return stack, {id: resource for id, resource in resources.items() if resource.current is not None}


async def _checked(desk: Any, caller: Caller, stack: Stack, resources: Mapping[str, Resource]) -> dict[str, dict[str, Any]]:
    """What was found of each resource whose type can be read."""
    target = await desk.stacks.target_now(stack) if stack.template else None
    turns = asyncio.Semaphore(SIDE_BY_SIDE)

    async def check(resource: Resource) -> dict[str, Any] | None:
        async with turns:
            return await _one(desk, caller, stack, resource, target)

    found = await asyncio.gather(*(check(resource) for resource in resources.values()))
    return {id: drifted for id, drifted in zip(resources, found, strict=True) if drifted is not None}


async def _one(desk: Any, caller: Caller, stack: Stack, resource: Resource, target: Target | None) -> dict[str, Any] | None:
    """The drift of a resource as it is kept: strings only, secrets hidden already. None for a type that cannot be read."""
    current = resource.current
    assert current is not None
    type = types().get(current.type)
    if type is None or type.read is None or current.is_inert:
        return None
    kept = Kept(
        stack_id=stack.arn,
        stack_name=stack.name,
        logical_id=resource.logical_id,
        type=current.type,
        physical_id=current.physical_id,
        properties=current.properties,
        attributes=current.attributes,
        tags=current.tags,
    )
    result: dict[str, Any] = {"at_ms": desk.now_ms()}
    fragment = target.fragment(resource.logical_id) if target is not None and resource.logical_id in target.needs else {}
    places = hidden(current.type, fragment.get("Properties"), current.properties, stack.hidden)
    places = whole_lists(places | looked_up(current.properties))
    try:
        actual = await type.read(StackHands(desk, caller), kept)
    except Fault as fault:
        return result | {"status": "UNKNOWN", "reason": fault.message}
    if actual is None:
        return result | {"status": drift.status(None)}
    found = drift.differences(current.type, current.properties, actual, stack_tags=current.tags)
    return result | {
        "status": drift.status(found),
        "expected": drift.told(current.type, current.properties, places),
        "actual": drift.told(current.type, _alike(current.properties, actual), places),
        "differences": drift.shown(found, places),
    }


def _alike(expected: Mapping[str, Any], actual: Mapping[str, Any]) -> dict[str, Any]:
    """Of what is there, the properties that the template speaks of."""
    return {name: actual[name] for name in expected if name in actual}


async def _keep(desk: Any, caller: Caller, stack: Stack, found: Mapping[str, dict[str, Any]], detection: str) -> None:
    """Write down what was found, for the resources that are still the ones that were looked at."""

    def change(book: StackBook) -> None:
        now = book.require(stack.arn)
        if now.operation is not None or now.templates != stack.templates:
            raise invalid(f"Drift detection cannot be performed on stack [{stack.arn}] while it is in {now.status} state")
        resources = book.resources(now.id)
        for id, drifted in found.items():
            resources[id].drift = drifted
            book.put_resource(now.id, resources[id])
        status = _of_all([resource.drift.get("status", drift.NOT_CHECKED) for resource in resources.values()])
        now.drift = {"StackDriftStatus": status, "LastCheckTimestamp": desk.now_ms() / 1000}
        book.put_stack(now)
        if detection:
            count = sum(one["status"] in (drift.MODIFIED, drift.DELETED) for one in found.values())
            kept = {"stack": now.arn, "status": status, "count": count, "at_ms": desk.now_ms()}
            book.drawer.put(DETECTION, detection, kept)

    await desk.stacks.change(place_of(caller.account, caller.region), change)


def _of_all(statuses: Collection[str]) -> str:
    """A stack's drift status from its resources'."""
    if any(status in (drift.MODIFIED, drift.DELETED) for status in statuses):
        return "DRIFTED"
    return "UNKNOWN" if "UNKNOWN" in statuses else "IN_SYNC"


def _shown(stack: Stack, resource: Resource) -> Params:
    found = resource.drift
    shown: Params = {
        "StackId": stack.arn,
        "LogicalResourceId": resource.logical_id,
        "PhysicalResourceId": resource.physical_id,
        "ResourceType": resource.type,
        "StackResourceDriftStatus": found["status"],
        "Timestamp": found["at_ms"] / 1000,
    }
    for member, key in (("ExpectedProperties", "expected"), ("ActualProperties", "actual"), ("DriftStatusReason", "reason")):
        if key in found:
            shown[member] = found[key]
    if found["status"] == drift.MODIFIED:
        shown["PropertyDifferences"] = found["differences"]
    return shown
