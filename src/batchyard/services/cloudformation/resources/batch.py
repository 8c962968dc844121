"""AWS::Batch::JobQueue, SchedulingPolicy and ConsumableResource; all types of AWS Batch together are in `TYPES`.

Physical id and Ref are the ARN. Tags: the stack's and its own (see `batch_environments.py`).
"""

from __future__ import annotations

from typing import Any

from batchyard.model.fault import Fault
from batchyard.model.tags import CONSUMABLE, QUEUE
from batchyard.services.cloudformation.resources import batch_definitions, batch_environments
from batchyard.services.cloudformation.resources.spelling import essence, sent, shown, without_fillers
from batchyard.services.cloudformation.resources.standing import (
    does_not_exist,
    given_name,
    own_tag_map,
    refuse_taken,
    retag_in_batch,
    tags_for,
)
from batchyard.services.cloudformation.resources.type import Asked, Hands, Kept, Made, NameRule, Properties, ResourceType

STEADY_S = 600.0
_POLICY = "scheduling policy"


# ---- queues -----------------------------------------------------------------------------------------------------------------


async def create_queue(hands: Hands, asked: Asked) -> Made:
    """Makes it and waits until it is VALID. Ref is its ARN."""
    name = given_name(asked, "JobQueueName")
    await refuse_taken(hands, asked, name, await _queue(hands, name) is not None)
    if await _queue(hands, name) is None:
        properties = {**asked.properties, "JobQueueName": name, "Tags": tags_for(QUEUE, asked)}
        await hands.call("batch", "CreateJobQueue", sent("batch", "CreateJobQueue", properties))
    try:
        return _of_queue(await _valid_queue(hands, name))
    except Fault:
        await _queue_taken_away(hands, name)
        raise


async def update_queue(hands: Hands, asked: Asked, kept: Kept) -> Made:
    """Changes in place what differs; its jobs stay where they are."""
    arn = kept.physical_id
    await _settled_queue(hands, arn)
    changes = _changed(kept.properties, asked.properties, ("Tags", "JobQueueName", "JobQueueType"), _QUEUE_WITHOUT)
    if changes:
        await hands.call("batch", "UpdateJobQueue", {"jobQueue": arn, **sent("batch", "UpdateJobQueue", changes)})
    await retag_in_batch(QUEUE, hands, asked, kept)
    return _of_queue(await _valid_queue(hands, arn))


_QUEUE_WITHOUT = {"State": "ENABLED", "JobStateTimeLimitActions": [], "SchedulingPolicyArn": ""}


async def delete_queue(hands: Hands, kept: Kept) -> None:
    """Disables and deletes it, which ends its jobs, and waits until it is gone."""
    await _queue_taken_away(hands, kept.physical_id)


async def read_queue(hands: Hands, kept: Kept) -> Properties | None:
    """As it is now."""
    queue = await _queue(hands, kept.physical_id)
    if queue is None or queue["status"] == "DELETING":
        return None
    properties = shown("batch", "DescribeJobQueues", queue, "jobQueues", "[]")
    return _compared(properties, ("Status", "StatusReason"), queue, kept)


async def _queue(hands: Hands, name: str) -> dict[str, Any] | None:
    queues: list[dict[str, Any]] = (await hands.call("batch", "DescribeJobQueues", {"jobQueues": [name]}))["jobQueues"]
    return queues[0] if queues and queues[0]["status"] != "DELETED" else None


async def _settled_queue(hands: Hands, name: str) -> dict[str, Any]:
    async def settled() -> dict[str, Any] | None:
        queue = await _queue(hands, name)
        if queue is None or queue["status"] == "DELETING":
            raise Fault("NotFound", f"JobQueue {name} does not exist")
        return queue if queue["status"] in ("VALID", "INVALID") else None

    queue: dict[str, Any] = await hands.until(settled, patience_s=STEADY_S, what=f"job queue {name} to be VALID")
    return queue


async def _valid_queue(hands: Hands, name: str) -> dict[str, Any]:
    queue = await _settled_queue(hands, name)
    if queue["status"] == "INVALID":
        raise Fault("NotStabilized", f"Job queue {queue['jobQueueName']} is INVALID: {queue['statusReason']}")
    return queue


async def _queue_taken_away(hands: Hands, name: str) -> None:
    async def is_gone() -> bool:
        return await _queue(hands, name) is None

    queue = await _queue(hands, name)
    if queue is None:
        return
    try:
        if queue["status"] != "DELETING":
            if (await _settled_queue(hands, name))["state"] != "DISABLED":
                await hands.call("batch", "UpdateJobQueue", {"jobQueue": name, "state": "DISABLED"})
                await _settled_queue(hands, name)
            await hands.call("batch", "DeleteJobQueue", {"jobQueue": name})
    except Fault as fault:
        if not does_not_exist(fault):
            raise
    await hands.until(is_gone, patience_s=STEADY_S, what=f"deletion of job queue {name}")


def _of_queue(queue: dict[str, Any]) -> Made:
    return Made(queue["jobQueueArn"], {"JobQueueArn": queue["jobQueueArn"]})


# ---- scheduling policies ----------------------------------------------------------------------------------------------------


async def create_policy(hands: Hands, asked: Asked) -> Made:
    """Makes it. Ref is its ARN."""
    name = given_name(asked, "Name")
    arn = f"arn:{hands.partition}:batch:{hands.region}:{hands.account}:scheduling-policy/{name}"
    await refuse_taken(hands, asked, name, await _policy(hands, arn) is not None)
    if await _policy(hands, arn) is None:
        properties = {**asked.properties, "Name": name, "Tags": tags_for(_POLICY, asked)}
        arn = (await hands.call("batch", "CreateSchedulingPolicy", sent("batch", "CreateSchedulingPolicy", properties)))["arn"]
    return Made(arn, {"Arn": arn})


async def update_policy(hands: Hands, asked: Asked, kept: Kept) -> Made:
    """Changes it in place; it holds for jobs that wait already."""
    arn = kept.physical_id
    changes = _changed(kept.properties, asked.properties, ("Tags", "Name"), {"FairsharePolicy": {}, "QuotaSharePolicy": {}})
    if changes:
        await hands.call("batch", "UpdateSchedulingPolicy", {"arn": arn, **sent("batch", "UpdateSchedulingPolicy", changes)})
    await retag_in_batch(_POLICY, hands, asked, kept)
    return Made(arn, {"Arn": arn})


async def delete_policy(hands: Hands, kept: Kept) -> None:
    """Takes it away; refused while a queue uses it."""
    await _call_if_there(hands, "DeleteSchedulingPolicy", {"arn": kept.physical_id})


async def read_policy(hands: Hands, kept: Kept) -> Properties | None:
    """As it is now."""
    policy = await _policy(hands, kept.physical_id)
    if policy is None:
        return None
    return _compared(shown("batch", "DescribeSchedulingPolicies", policy, "schedulingPolicies", "[]"), (), policy, kept)


async def _policy(hands: Hands, arn: str) -> dict[str, Any] | None:
    policies: list[dict[str, Any]] = (await hands.call("batch", "DescribeSchedulingPolicies", {"arns": [arn]}))["schedulingPolicies"]
    return policies[0] if policies else None


# ---- consumable resources ---------------------------------------------------------------------------------------------------


async def create_consumable(hands: Hands, asked: Asked) -> Made:
    """Makes it. Ref is its ARN."""
    name = given_name(asked, "ConsumableResourceName")
    await refuse_taken(hands, asked, name, await _consumable(hands, name) is not None)
    if await _consumable(hands, name) is None:
        properties = {**asked.properties, "ConsumableResourceName": name, "Tags": tags_for(CONSUMABLE, asked)}
        await hands.call("batch", "CreateConsumableResource", sent("batch", "CreateConsumableResource", properties))
    return await _of_consumable(hands, name)


async def update_consumable(hands: Hands, asked: Asked, kept: Kept) -> Made:
    """Sets its total; what jobs hold of it stays theirs."""
    if asked.properties.get("TotalQuantity") != kept.properties.get("TotalQuantity"):
        total = {"operation": "SET", "quantity": asked.properties["TotalQuantity"], "clientToken": asked.token or None}
        params = {"consumableResource": kept.physical_id, **{name: value for name, value in total.items() if value is not None}}
        await hands.call("batch", "UpdateConsumableResource", params)
    await retag_in_batch(CONSUMABLE, hands, asked, kept)
    return await _of_consumable(hands, kept.physical_id)


async def delete_consumable(hands: Hands, kept: Kept) -> None:
    """Takes it away; jobs that hold some of it run on."""
    await _call_if_there(hands, "DeleteConsumableResource", {"consumableResource": kept.physical_id})


async def read_consumable(hands: Hands, kept: Kept) -> Properties | None:
    """As it is now."""
    consumable = await _consumable(hands, kept.physical_id)
    if consumable is None:
        return None
    return _compared(shown("batch", "DescribeConsumableResource", consumable), (), consumable, kept)


async def _consumable(hands: Hands, name: str) -> dict[str, Any] | None:
    try:
        return await hands.call("batch", "DescribeConsumableResource", {"consumableResource": name})
    except Fault as fault:
        if does_not_exist(fault):
            return None
        raise


async def _of_consumable(hands: Hands, name: str) -> Made:
    consumable = await hands.call("batch", "DescribeConsumableResource", {"consumableResource": name})
    names = ("AvailableQuantity", "ConsumableResourceArn", "CreatedAt", "InUseQuantity")
    whole = shown("batch", "DescribeConsumableResource", consumable)
    return Made(consumable["consumableResourceArn"], {name: whole[name] for name in names})


# ---- all of them ------------------------------------------------------------------------------------------------------------


def _changed(before: Properties, after: Properties, never: tuple[str, ...], without: Properties) -> Properties:
    """What differs, in CloudFormation's spelling; of what a template no longer has, what it is `without` it."""
    changes: Properties = {}
    for name in {**before, **after}:
        if name in never or essence(before.get(name)) == essence(after.get(name)):
            continue
        changes[name] = after[name] if after.get(name) is not None else without.get(name, [])
    return changes


async def _call_if_there(hands: Hands, operation: str, params: dict[str, Any]) -> None:
    try:
        await hands.call("batch", operation, params)
    except Fault as fault:
        if not does_not_exist(fault):
            raise


def _compared(properties: Properties, inner: tuple[str, ...], described: dict[str, Any], kept: Kept) -> Properties:
    """Properties for drift: without what is Batch's own business, and without the stack's tags."""
    result = {name: value for name, value in properties.items() if name not in inner}
    result["Tags"] = own_tag_map(described.get("tags"), kept)
    return dict(without_fillers(result, kept.properties))


TYPES = (
    *batch_environments.TYPES,
    *batch_definitions.TYPES,
    ResourceType(
        "AWS::Batch::JobQueue",
        create_queue,
        update_queue,
        delete_queue,
        read_queue,
        named=NameRule("JobQueueName", 128),
        has_stack_tags=True,
    ),
    ResourceType(
        "AWS::Batch::SchedulingPolicy",
        create_policy,
        update_policy,
        delete_policy,
        read_policy,
        named=NameRule("Name", 128),
        has_stack_tags=True,
    ),
    ResourceType(
        "AWS::Batch::ConsumableResource",
        create_consumable,
        update_consumable,
        delete_consumable,
        read_consumable,
        named=NameRule("ConsumableResourceName", 128),
        has_stack_tags=True,
    ),
)
