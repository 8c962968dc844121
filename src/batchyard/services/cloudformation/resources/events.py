"""AWS::Events::Rule with its targets, AWS::Events::Connection and AWS::Events::ApiDestination.

A rule of the default bus has its name as physical id, one of another bus the bus's name before it. Secrets of a connection are never
shown again, so they are no part of drift. Connections here keep what is secret themselves: there is no SecretArn to ask for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.resources.acts import (
    call_if_there,
    document_of,
    document_text,
    given,
    is_gone,
    listed,
    own_tags,
    require_known,
    tag_changes,
    tags_of,
)
from batchyard.services.cloudformation.resources.spelling import sent
from batchyard.services.cloudformation.resources.standing import already_exists, given_name, noted, refuse_taken
from batchyard.services.cloudformation.resources.type import Asked, Hands, Kept, Made, NameRule, Properties, ResourceType

_RULE = ("Description", "EventBusName", "RoleArn", "ScheduleExpression", "State")
# What CloudFormation spells otherwise within EcsParameters of a target.
_ECS = {"PlacementStrategies": "PlacementStrategy", "TagList": "Tags"}


# ---- rules ------------------------------------------------------------------------------------------------------------------


async def create_rule(hands: Hands, asked: Asked) -> Made:
    """Makes it with its targets; if one of these is refused, it is not left. Ref is its name, on another bus `BUS|NAME`."""
    name = given_name(asked, "Name")
    await refuse_taken(hands, asked, name, await _rule(hands, name, _bus(asked.properties)) is not None)
    arn = await _put_rule(hands, asked, name, tags_of(asked))
    try:
        await _put_targets(hands, name, asked.properties)
    except Fault:
        await _remove_rule(hands, name, _bus(asked.properties))
        raise
    return _of_rule(asked.properties, name, arn)


async def update_rule(hands: Hands, asked: Asked, kept: Kept) -> Made:
    """Puts it anew; targets that are no longer named are taken away."""
    name = kept.physical_id.rpartition("|")[2]
    arn = await _put_rule(hands, asked, name, {})
    left = {target["Id"] for target in asked.properties.get("Targets") or []}
    gone = [target["Id"] for target in kept.properties.get("Targets") or [] if target["Id"] not in left]
    if gone:
        await hands.call("events", "RemoveTargets", {"Rule": name, "Ids": gone, **_bus(asked.properties)})
    await _put_targets(hands, name, asked.properties)
    put, removed = tag_changes(asked, kept)
    if removed:
        await hands.call("events", "UntagResource", {"ResourceARN": arn, "TagKeys": removed})
    if put:
        await hands.call("events", "TagResource", {"ResourceARN": arn, "Tags": listed(put)})
    return _of_rule(asked.properties, name, arn)


async def delete_rule(hands: Hands, kept: Kept) -> None:
    """Takes it away with its targets."""
    await _remove_rule(hands, kept.physical_id.rpartition("|")[2], _bus(kept.properties))


async def read_rule(hands: Hands, kept: Kept) -> Properties | None:
    """As it is now, with all its targets."""
    name, bus = kept.physical_id.rpartition("|")[2], _bus(kept.properties)
    rule = await _rule(hands, name, bus)
    if rule is None:
        return None
    properties = given(rule, "Name", "Arn", *_RULE)
    if rule.get("EventPattern"):
        is_text = isinstance(kept.properties.get("EventPattern"), str)
        properties["EventPattern"] = rule["EventPattern"] if is_text else document_of(rule["EventPattern"])
    targets = await _targets(hands, name, bus)
    if targets:
        order = {target["Id"]: number for number, target in enumerate(kept.properties.get("Targets") or [])}
        properties["Targets"] = sorted(targets, key=lambda target: order.get(target["Id"], len(order)))
    tags = (await hands.call("events", "ListTagsForResource", {"ResourceARN": rule["Arn"]}))["Tags"]
    properties["Tags"] = own_tags(tags, kept)
    return properties


def _bus(properties: Mapping[str, Any]) -> dict[str, str]:
    return {"EventBusName": properties["EventBusName"]} if properties.get("EventBusName") else {}


async def _rule(hands: Hands, name: str, bus: dict[str, str]) -> dict[str, Any] | None:
    try:
        return await hands.call("events", "DescribeRule", {"Name": name, **bus})
    except Fault as fault:
        if is_gone(fault):
            return None
        raise


async def _put_rule(hands: Hands, asked: Asked, name: str, tags: dict[str, str]) -> str:
    params = {"Name": name, **given(asked.properties, *_RULE)}
    if asked.properties.get("EventPattern"):
        params["EventPattern"] = document_text(asked.properties["EventPattern"])
    if tags:
        params["Tags"] = listed(tags)
    return str((await hands.call("events", "PutRule", params))["RuleArn"])


async def _put_targets(hands: Hands, name: str, properties: Properties) -> None:
    targets = [_target(target) for target in properties.get("Targets") or []]
    if not targets:
        return
    params = sent("events", "PutTargets", {"Rule": name, "Targets": targets, **_bus(properties)})
    failed = (await hands.call("events", "PutTargets", params))["FailedEntries"]
    if failed:
        raise Fault("InvalidRequest", f"Target {failed[0].get('TargetId')}: {failed[0].get('ErrorMessage')}")


def _target(target: Properties) -> Properties:
    if not target.get("EcsParameters"):
        return target
    return {**target, "EcsParameters": {_ECS.get(name, name): value for name, value in target["EcsParameters"].items()}}


async def _targets(hands: Hands, name: str, bus: dict[str, str]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    token: dict[str, str] = {}
    while True:
        answer = await hands.call("events", "ListTargetsByRule", {"Rule": name, **bus, **token})
        found += answer["Targets"]
        if not answer.get("NextToken"):
            return found
        token = {"NextToken": answer["NextToken"]}


async def _remove_rule(hands: Hands, name: str, bus: dict[str, str]) -> None:
    try:
        ids = await noted(hands, [target["Id"] for target in await _targets(hands, name, bus)])  # so that a repeated step calls the same
        if ids:
            await hands.call("events", "RemoveTargets", {"Rule": name, "Ids": ids, **bus})
        await hands.call("events", "DeleteRule", {"Name": name, **bus})
    except Fault as fault:
        if not is_gone(fault):
            raise


def _of_rule(properties: Properties, name: str, arn: str) -> Made:
    bus = str(properties.get("EventBusName") or "default").rpartition("/")[2]
    return Made(name if bus == "default" else f"{bus}|{name}", {"Arn": arn, "RuleName": name})


# ---- connections and API destinations ---------------------------------------------------------------------------------------

_CONNECTION = ("AuthParameters", "AuthorizationType", "Description", "Name")
_REFUSALS = {
    "InvocationConnectivityParameters": "requests go out over the server's own network",
    "KmsKeyIdentifier": "what is secret is sealed in the store",
}


async def create_connection(hands: Hands, asked: Asked) -> Made:
    """Makes it. Ref is its name."""
    require_known(asked, _CONNECTION, _REFUSALS)
    name = given_name(asked, "Name")
    params = sent("events", "CreateConnection", {**asked.properties, "Name": name})
    return _with_arn(name, (await _created(hands, asked, name, "CreateConnection", params))["ConnectionArn"])


async def update_connection(hands: Hands, asked: Asked, kept: Kept) -> Made:
    """Changes it; it is authorized anew."""
    require_known(asked, _CONNECTION, _REFUSALS)
    name = kept.physical_id
    params = sent("events", "UpdateConnection", {"Description": "", **asked.properties, "Name": name})
    return _with_arn(name, (await hands.call("events", "UpdateConnection", params))["ConnectionArn"])


async def delete_connection(hands: Hands, kept: Kept) -> None:
    """Takes it away."""
    await call_if_there(hands, "events", "DeleteConnection", {"Name": kept.physical_id})


async def read_connection(hands: Hands, kept: Kept) -> Properties | None:
    """As it is now, without what is secret."""
    found = await _described(hands, "DescribeConnection", kept.physical_id)
    if found is None:
        return None
    return {
        **given(found, "Name", "Description", "AuthorizationType", "AuthParameters"),
        **_with_arn("", found["ConnectionArn"]).attributes,
    }


async def create_destination(hands: Hands, asked: Asked) -> Made:
    """Makes it. Ref is its name."""
    name = given_name(asked, "Name")
    params = sent("events", "CreateApiDestination", {**asked.properties, "Name": name})
    return _with_arn(name, (await _created(hands, asked, name, "CreateApiDestination", params))["ApiDestinationArn"])


async def update_destination(hands: Hands, asked: Asked, kept: Kept) -> Made:
    """Changes it; what a template no longer says is as AWS has it by itself."""
    name = kept.physical_id
    usual = {"Description": "", "InvocationRateLimitPerSecond": 300}
    params = sent("events", "UpdateApiDestination", {**usual, **asked.properties, "Name": name})
    return _with_arn(name, (await hands.call("events", "UpdateApiDestination", params))["ApiDestinationArn"])


async def delete_destination(hands: Hands, kept: Kept) -> None:
    """Takes it away."""
    await call_if_there(hands, "events", "DeleteApiDestination", {"Name": kept.physical_id})


async def read_destination(hands: Hands, kept: Kept) -> Properties | None:
    """As it is now."""
    found = await _described(hands, "DescribeApiDestination", kept.physical_id)
    if found is None:
        return None
    names = ("Name", "Description", "ConnectionArn", "InvocationEndpoint", "HttpMethod", "InvocationRateLimitPerSecond")
    return {**given(found, *names), **_with_arn("", found["ApiDestinationArn"]).attributes}


async def _created(hands: Hands, asked: Asked, name: str, operation: str, params: dict[str, Any]) -> dict[str, Any]:
    try:
        return await hands.call("events", operation, params)
    except Fault as fault:
        if fault.code == "ResourceAlreadyExistsException":
            raise already_exists(asked.type, name) from fault
        raise


async def _described(hands: Hands, operation: str, name: str) -> dict[str, Any] | None:
    try:
        return await hands.call("events", operation, {"Name": name})
    except Fault as fault:
        if is_gone(fault):
            return None
        raise


def _with_arn(name: str, arn: str) -> Made:
    return Made(name, {"Arn": arn, "ArnForPolicy": arn.rpartition("/")[0]})


TYPES = (
    ResourceType("AWS::Events::Rule", create_rule, update_rule, delete_rule, read_rule, named=NameRule("Name", 64), has_stack_tags=True),
    ResourceType(
        "AWS::Events::Connection", create_connection, update_connection, delete_connection, read_connection, named=NameRule("Name", 64)
    ),
    ResourceType(
        "AWS::Events::ApiDestination",
        create_destination,
        update_destination,
        delete_destination,
        read_destination,
        named=NameRule("Name", 64),
    ),
)
