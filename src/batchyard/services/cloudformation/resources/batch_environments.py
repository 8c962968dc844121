"""AWS::Batch::ComputeEnvironment, and how one is taken away under a live queue so that no job is lost.

A replacement is a new environment under a new name, then the queues' update (their order names the new one), then the deletion of the
old one. The old one is disabled first: it takes no more jobs, and those that run there may end, within UpdatePolicy's
JobExecutionTimeoutMinutes (30) unless TerminateJobsOnUpdate is true; whatever runs then is ended as at the loss of its instance, and is
tried again as its retry strategy says. A server that was killed meanwhile begins the time anew. Tags: the stack's and its own;
`aws:cloudformation:*` tags are not put on, since Batch refuses tags with that prefix from everybody.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from batchyard.model.fault import Fault
from batchyard.model.requests import Reclaim
from batchyard.model.tags import ENVIRONMENT
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

STEADY_S = 600.0  # how long an environment may take to become VALID, or to go once nothing runs on it
DEFAULT_MINUTES = 30
# What only says how CloudFormation itself is to update.
_UPDATE_ONLY = ("UpdatePolicy", "ReplaceComputeEnvironment")
# What UpdateComputeEnvironment cannot be told.
_NEVER_UPDATED = (*_UPDATE_ONLY, "ComputeEnvironmentName", "Type", "Tags", "EksConfiguration")
# What a member is set to that a template no longer has; an empty text or list takes the old value away.
_REMOVED: dict[str, Any] = {
    "BidPercentage": 100,
    "Ec2KeyPair": "",
    "ImageId": "",
    "LaunchTemplate": {"LaunchTemplateId": ""},
    "MinvCpus": 0,
    "PlacementGroup": "",
    "ScalingPolicy": {"MinScaleDownDelayMinutes": 0},
    "SecurityGroupIds": [],
    "Subnets": [],
    "Tags": {},
}
# Members that a template may stop to name without a change: Batch goes on from where it is.
_LEFT_ALONE = frozenset(("DesiredvCpus", "UpdateToLatestImageVersion"))
_NOT_INFRASTRUCTURE = frozenset(("MinvCpus", "MaxvCpus", "DesiredvCpus", "ScalingPolicy"))


async def create(hands: Hands, asked: Asked) -> Made:
    """Makes it and waits until it is VALID. Ref is its ARN. One that is INVALID is taken away again, and its reason is the refusal."""
    name = given_name(asked, "ComputeEnvironmentName")
    await refuse_taken(hands, asked, name, await found(hands, name) is not None)
    if await found(hands, name) is None:
        await hands.call("batch", "CreateComputeEnvironment", _creation(asked, name))
    try:
        if asked.properties.get("UpdatePolicy"):  # the API takes it in updates only
            await _steady(hands, name)
            policy = {"UpdatePolicy": asked.properties["UpdatePolicy"]}
            await hands.call(
                "batch", "UpdateComputeEnvironment", {"computeEnvironment": name, **sent("batch", "UpdateComputeEnvironment", policy)}
            )
        return _made(await _valid(hands, name))
    except Fault:
        await _taken_away(hands, name)
        raise


async def update(hands: Hands, asked: Asked, kept: Kept) -> Made:
    """Changes in place what differs, and waits until it is VALID again."""
    arn = kept.physical_id
    changes = _but_what_is_so(_changes(hands, kept.properties, asked.properties), await _steady(hands, arn))
    if changes:
        await hands.call(
            "batch", "UpdateComputeEnvironment", {"computeEnvironment": arn, **sent("batch", "UpdateComputeEnvironment", changes)}
        )
    await retag_in_batch(ENVIRONMENT, hands, asked, kept)
    return _made(await _valid(hands, arn))


async def delete(hands: Hands, kept: Kept) -> None:
    """Disables it, lets what runs there end in its time, and waits until it is gone."""
    arn = kept.physical_id
    environment = await found(hands, arn)
    if environment is None:
        return
    if environment["status"] != "DELETING":
        await _disabled(hands, arn)
        with contextlib.suppress(Gone):
            await _asked_to_go(hands, arn)
    if not await _is_gone_within(hands, arn, 60.0 * _minutes(kept.properties)):
        await _end_what_runs(hands, arn)
    await hands.until(lambda: _is_gone(hands, arn), patience_s=STEADY_S, what=f"deletion of compute environment {arn}")


async def read(hands: Hands, kept: Kept) -> Properties | None:
    """As it is now. UpdatePolicy is not among what AWS compares, nor is what only tells how to update."""
    environment = await found(hands, kept.physical_id)
    if environment is None or environment["status"] == "DELETING":
        return None
    whole = shown("batch", "DescribeComputeEnvironments", environment, "computeEnvironments", "[]")
    properties = {name: whole[name] for name in _READ if name in whole}
    properties["Tags"] = own_tag_map(environment.get("tags"), kept)
    for name in ("EcsSettings", "UnmanagedvCpus", "Context", "EksConfiguration"):
        if not properties.get(name):
            properties.pop(name, None)
    return dict(without_fillers(properties, kept.properties))


_READ = (
    "ComputeEnvironmentArn",
    "ComputeEnvironmentName",
    "ComputeResources",
    "Context",
    "EcsSettings",
    "EksConfiguration",
    "ServiceRole",
    "State",
    "Type",
    "UnmanagedvCpus",
)


async def found(hands: Hands, name_or_arn: str) -> dict[str, Any] | None:
    """The environment as Batch describes it; None if there is none."""
    answer = await hands.call("batch", "DescribeComputeEnvironments", {"computeEnvironments": [name_or_arn]})
    environments: list[dict[str, Any]] = answer["computeEnvironments"]
    return environments[0] if environments and environments[0]["status"] != "DELETED" else None


class Gone(Exception):
    """It is not there any more, although it was a moment ago."""


def _creation(asked: Asked, name: str) -> dict[str, Any]:
    properties = {key: value for key, value in asked.properties.items() if key not in _UPDATE_ONLY}
    properties |= {"ComputeEnvironmentName": name, "Tags": tags_for(ENVIRONMENT, asked)}
    if "ComputeResources" in properties:
        resources = properties["ComputeResources"]
        properties["ComputeResources"] = {key: value for key, value in resources.items() if key != "UpdateToLatestImageVersion"}
    return sent("batch", "CreateComputeEnvironment", properties)


def _changes(hands: Hands, before: Properties, after: Properties) -> Properties:
    """What UpdateComputeEnvironment is to be told, in CloudFormation's spelling: what differs, and nothing else."""
    changes: Properties = {}
    for name in {**before, **after}:
        if name in _NEVER_UPDATED or name == "ComputeResources" or essence(before.get(name)) == essence(after.get(name)):
            continue
        changes[name] = after[name] if after.get(name) is not None else _without(hands, name)
    resources = _resource_changes(before.get("ComputeResources") or {}, after.get("ComputeResources") or {})
    if resources:
        changes["ComputeResources"] = resources
    policy = after.get("UpdatePolicy")
    if policy != before.get("UpdatePolicy") or (policy and set(resources) - _NOT_INFRASTRUCTURE):
        changes["UpdatePolicy"] = {"TerminateJobsOnUpdate": False, "JobExecutionTimeoutMinutes": DEFAULT_MINUTES, **(policy or {})}
    return changes


def _but_what_is_so(changes: Properties, environment: Mapping[str, Any]) -> Properties:
    """The changes without what the environment is already, as when an update that was refused is undone."""
    there = shown("batch", "DescribeComputeEnvironments", environment, "computeEnvironments", "[]")
    resources = there.get("ComputeResources") or {}
    left = {name: value for name, value in changes.items() if name == "ComputeResources" or essence(there.get(name)) != essence(value)}
    if "ComputeResources" in left:
        inner = {name: value for name, value in left["ComputeResources"].items() if essence(resources.get(name)) != essence(value)}
        left["ComputeResources"] = inner
    return {name: value for name, value in left.items() if name != "ComputeResources" or value}


def _resource_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Properties:
    changes: Properties = {}
    for name in {**before, **after}:
        if essence(before.get(name)) == essence(after.get(name)) or (name in _LEFT_ALONE and after.get(name) is None):
            continue
        if after.get(name) is not None:
            changes[name] = after[name]
        elif name in _REMOVED:
            changes[name] = _REMOVED[name]
        else:
            raise Fault(
                "InvalidRequest",
                f"ComputeResources.{name} cannot be taken away by an update: AWS Batch knows no empty value of it. Give it a new value.",
            )
    if str(after.get("Type", "")).upper().startswith("FARGATE"):
        changes.pop("UpdateToLatestImageVersion", None)  # the AWS CDK says it of Fargate as well, where there is no image to choose
    elif after.get("UpdateToLatestImageVersion") and set(changes) - _NOT_INFRASTRUCTURE:
        changes["UpdateToLatestImageVersion"] = True  # with every infrastructure update, as AWS has it
    return changes


def _without(hands: Hands, name: str) -> Any:
    """What an environment has of which a template no longer says anything."""
    linked = f"arn:{hands.partition}:iam::{hands.account}:role/aws-service-role/batch.amazonaws.com/AWSServiceRoleForBatch"
    return {
        "Context": "",
        "EcsSettings": {"ContainerInsights": "DISABLED"},
        "ServiceRole": linked,
        "State": "ENABLED",
        "UnmanagedvCpus": 0,
    }.get(name)


def _made(environment: Mapping[str, Any]) -> Made:
    arn = environment["computeEnvironmentArn"]
    return Made(arn, {"ComputeEnvironmentArn": arn})


async def _steady(hands: Hands, name: str) -> dict[str, Any]:
    """The environment once it is neither CREATING nor UPDATING. Raises a Fault if it is not there."""

    async def settled() -> dict[str, Any] | None:
        environment = await found(hands, name)
        if environment is None or environment["status"] == "DELETING":
            raise Fault("NotFound", f"ComputeEnvironment {name} does not exist")
        return environment if environment["status"] in ("VALID", "INVALID") else None

    environment: dict[str, Any] = await hands.until(settled, patience_s=STEADY_S, what=f"compute environment {name} to be VALID")
    return environment


async def _valid(hands: Hands, name: str) -> dict[str, Any]:
    environment = await _steady(hands, name)
    if environment["status"] == "INVALID":
        raise Fault(
            "NotStabilized", f"Compute environment {environment['computeEnvironmentName']} is INVALID: {environment['statusReason']}"
        )
    return environment


async def _disabled(hands: Hands, arn: str) -> None:
    with contextlib.suppress(Fault):  # on its way out already: what follows finds out
        environment = await _steady(hands, arn)
        if environment["state"] != "DISABLED":
            await hands.call("batch", "UpdateComputeEnvironment", {"computeEnvironment": arn, "state": "DISABLED"})
            await _steady(hands, arn)


async def _asked_to_go(hands: Hands, arn: str) -> None:
    try:
        await hands.call("batch", "DeleteComputeEnvironment", {"computeEnvironment": arn})
    except Fault as fault:
        if does_not_exist(fault):
            raise Gone from fault
        raise


async def _is_gone(hands: Hands, arn: str) -> bool:
    return await found(hands, arn) is None


async def _is_gone_within(hands: Hands, arn: str, patience_s: float) -> bool:
    if await _is_gone(hands, arn):
        return True
    if patience_s <= 0:
        return False
    try:
        await hands.until(lambda: _is_gone(hands, arn), patience_s=patience_s, what=f"the jobs of {arn} to end")
    except Fault as fault:
        if fault.code != "NotStabilized":
            raise
        return await _is_gone(hands, arn)
    return True


async def _end_what_runs(hands: Hands, arn: str) -> None:
    """End the environment's instances now; their jobs are tried again as at any loss of a host. No operation of AWS says so."""
    desk = hands.desk
    for instance in [one for one in desk.read.instances.values() if one.environment == arn]:
        with contextlib.suppress(Fault):  # it ended by itself meanwhile
            await desk.ask(Reclaim(instance.id, 0.0))


async def _taken_away(hands: Hands, name: str) -> None:
    """Nothing may be left of an environment that did not come to be."""
    if await found(hands, name) is None:
        return
    await _disabled(hands, name)
    with contextlib.suppress(Gone):
        await _asked_to_go(hands, name)
    await hands.until(lambda: _is_gone(hands, name), patience_s=STEADY_S, what=f"deletion of compute environment {name}")


def _minutes(properties: Properties) -> float:
    policy = properties.get("UpdatePolicy") or {}
    return 0.0 if policy.get("TerminateJobsOnUpdate") is True else float(policy.get("JobExecutionTimeoutMinutes", DEFAULT_MINUTES))


TYPES = (
    ResourceType(
        "AWS::Batch::ComputeEnvironment",
        create,
        update,
        delete,
        read,
        named=NameRule("ComputeEnvironmentName", 128),
        has_stack_tags=True,
    ),
)
