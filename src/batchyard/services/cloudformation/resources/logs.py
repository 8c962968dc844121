"""AWS::Logs::LogGroup, LogStream, ResourcePolicy and QueryDefinition.

Tags: the stack's and its own; CloudWatch Logs refuses `aws:cloudformation:*` tags from everybody, so they are not put on.
"""

from __future__ import annotations

from typing import Any

from batchyard.model.fault import Fault
from batchyard.model.tags import LOG_GROUP
from batchyard.services.cloudformation.resources.acts import (
    changed,
    document_of,
    document_text,
    given,
    listed,
    own_tags,
    require_known,
)
from batchyard.services.cloudformation.resources.spelling import sent, shown
from batchyard.services.cloudformation.resources.standing import does_not_exist, given_name, refuse_taken, tag_changes_for, tags_for
from batchyard.services.cloudformation.resources.type import Asked, Hands, Kept, Made, NameRule, Properties, ResourceType

_GROUP = frozenset(
    ("LogGroupName", "LogGroupClass", "KmsKeyId", "RetentionInDays", "DeletionProtectionEnabled", "ResourcePolicyDocument", "Tags")
)
OF_JOBS = "/aws/batch/job"
_REFUSED = {
    "BearerTokenAuthenticationEnabled": "log groups take events by signed requests only",
    "DataProtectionPolicy": "nothing is masked",
    "FieldIndexPolicies": "queries use no indexes",
}


# ---- log groups -------------------------------------------------------------------------------------------------------------


async def create_group(hands: Hands, asked: Asked) -> Made:
    """Makes it; if its retention or policy is refused, it is not left. Ref is its name."""
    require_known(asked, _GROUP, _REFUSED)
    name = given_name(asked, "LogGroupName")
    group = await _group(hands, name)
    is_free = group is None or await _is_untouched(hands, group)
    await refuse_taken(hands, asked, name, not is_free)
    if group is not None and is_free:
        await _removed(hands, name)
    if is_free:
        members = given(asked.properties, "LogGroupClass", "KmsKeyId", "DeletionProtectionEnabled")
        tags = tags_for(LOG_GROUP, asked)
        params = {"LogGroupName": name, **members, **({"Tags": tags} if tags else {})}
        await hands.call("logs", "CreateLogGroup", sent("logs", "CreateLogGroup", params))
    try:
        if asked.properties.get("RetentionInDays") is not None:
            params = {"logGroupName": name, "retentionInDays": asked.properties["RetentionInDays"]}
            await hands.call("logs", "PutRetentionPolicy", params)
        await _put_group_policy(hands, name, asked.properties)
    except Fault:
        if asked.properties.get("DeletionProtectionEnabled"):
            await _protect(hands, name, False)
        await _removed(hands, name)
        raise
    return _of_group(hands, name)


async def update_group(hands: Hands, asked: Asked, kept: Kept) -> Made:
    """Changes what differs. A group keeps the class and the key that it was made with."""
    require_known(asked, _GROUP, _REFUSED)
    name, before, after = kept.physical_id, kept.properties, asked.properties
    there = await _group(hands, name) or {}
    for member, usual in (("LogGroupClass", "STANDARD"), ("KmsKeyId", "")):
        if (there.get(member[:1].lower() + member[1:]) or usual) != (after.get(member) or usual):
            raise Fault("InvalidRequest", f"{member} of a log group cannot be changed in this version of Batchyard.")
    if changed(before, after, "RetentionInDays"):
        if after.get("RetentionInDays") is None:
            await hands.call("logs", "DeleteRetentionPolicy", {"logGroupName": name})
        else:
            await hands.call("logs", "PutRetentionPolicy", {"logGroupName": name, "retentionInDays": after["RetentionInDays"]})
    if bool(before.get("DeletionProtectionEnabled")) != bool(after.get("DeletionProtectionEnabled")):
        await _protect(hands, name, bool(after.get("DeletionProtectionEnabled")))
    if changed(before, after, "ResourcePolicyDocument"):
        if after.get("ResourcePolicyDocument"):
            await _put_group_policy(hands, name, after)
        else:
            await _if_there(hands, "DeleteResourcePolicy", {"resourceArn": _arn(hands, name)})
    put, removed = tag_changes_for(LOG_GROUP, asked, kept)
    if removed:
        await hands.call("logs", "UntagResource", {"resourceArn": _arn(hands, name), "tagKeys": removed})
    if put:
        await hands.call("logs", "TagResource", {"resourceArn": _arn(hands, name), "tags": put})
    return _of_group(hands, name)


async def delete_group(hands: Hands, kept: Kept) -> None:
    """Takes it away with its streams; refused while it is protected from deletion."""
    await _removed(hands, kept.physical_id)
    if kept.properties.get("ResourcePolicyDocument"):
        await _if_there(hands, "DeleteResourcePolicy", {"resourceArn": _arn(hands, kept.physical_id)})


async def read_group(hands: Hands, kept: Kept) -> Properties | None:
    """As it is now."""
    name = kept.physical_id
    group = await _group(hands, name)
    if group is None:
        return None
    members = ("logGroupName", "logGroupClass", "kmsKeyId", "retentionInDays", "deletionProtectionEnabled")
    described = {member: group[member] for member in members if member in group}
    properties = shown("logs", "DescribeLogGroups", described, "logGroups", "[]")
    tags = (await hands.call("logs", "ListTagsForResource", {"resourceArn": _arn(hands, name)}))["tags"]
    properties |= {"Tags": own_tags(listed(tags), kept), "Arn": f"{_arn(hands, name)}:*"}
    if kept.properties.get("ResourcePolicyDocument"):
        policies = (await hands.call("logs", "DescribeResourcePolicies", {"resourceArn": _arn(hands, name)}))["resourcePolicies"]
        if policies:
            properties["ResourcePolicyDocument"] = document_of(policies[0]["policyDocument"])
    return properties


async def _group(hands: Hands, name: str) -> dict[str, Any] | None:
    """The group as it is described; None if there is none."""
    params: dict[str, Any] = {"logGroupIdentifiers": [name]}
    groups: list[dict[str, Any]] = (await hands.call("logs", "DescribeLogGroups", params))["logGroups"]
    return groups[0] if groups else None


async def _is_untouched(hands: Hands, group: dict[str, Any]) -> bool:
    """Whether it is the group of jobs, which is always there, and nobody has used or set anything of it: as on AWS before the first job."""
    name = group["logGroupName"]
    if name != OF_JOBS or "retentionInDays" in group or group.get("deletionProtectionEnabled"):
        return False
    tags = (await hands.call("logs", "ListTagsForResource", {"resourceArn": _arn(hands, name)}))["tags"]
    streams = (await hands.call("logs", "DescribeLogStreams", {"logGroupName": name, "limit": 1}))["logStreams"]
    return not tags and not streams


async def _put_group_policy(hands: Hands, name: str, properties: Properties) -> None:
    if properties.get("ResourcePolicyDocument"):
        policy = document_text(properties["ResourcePolicyDocument"])
        await hands.call("logs", "PutResourcePolicy", {"resourceArn": _arn(hands, name), "policyDocument": policy})


async def _protect(hands: Hands, name: str, is_protected: bool) -> None:
    params = {"logGroupIdentifier": name, "deletionProtectionEnabled": is_protected}
    await hands.call("logs", "PutLogGroupDeletionProtection", params)


async def _removed(hands: Hands, name: str) -> None:
    await _if_there(hands, "DeleteLogGroup", {"logGroupName": name})


async def _if_there(hands: Hands, operation: str, params: dict[str, Any]) -> None:
    try:
        await hands.call("logs", operation, params)
    except Fault as fault:
        if not does_not_exist(fault):
            raise


def _arn(hands: Hands, name: str) -> str:
    return f"arn:{hands.partition}:logs:{hands.region}:{hands.account}:log-group:{name}"


def _of_group(hands: Hands, name: str) -> Made:
    return Made(name, {"Arn": f"{_arn(hands, name)}:*"})


# ---- log streams ------------------------------------------------------------------------------------------------------------


async def create_stream(hands: Hands, asked: Asked) -> Made:
    """Makes it. The physical id has the group's name before the stream's. Ref is the stream's name."""
    group, name = asked.properties["LogGroupName"], given_name(asked, "LogStreamName")
    is_there = await _stream_is_there(hands, group, name)
    await refuse_taken(hands, asked, f"{group}|{name}", is_there)
    if not is_there:
        await hands.call("logs", "CreateLogStream", {"logGroupName": group, "logStreamName": name})
    return Made(f"{group}|{name}", ref=name)


async def delete_stream(hands: Hands, kept: Kept) -> None:
    """Takes it away with its events; with its group it is gone already."""
    group, _, name = kept.physical_id.partition("|")
    await _if_there(hands, "DeleteLogStream", {"logGroupName": group, "logStreamName": name})


async def read_stream(hands: Hands, kept: Kept) -> Properties | None:
    """Its names, if it is there."""
    group, _, name = kept.physical_id.partition("|")
    return {"LogGroupName": group, "LogStreamName": name} if await _stream_is_there(hands, group, name) else None


async def _stream_is_there(hands: Hands, group: str, name: str) -> bool:
    try:
        answer = await hands.call("logs", "DescribeLogStreams", {"logGroupName": group, "logStreamNamePrefix": name})
    except Fault as fault:
        if does_not_exist(fault):
            return False
        raise
    return any(stream["logStreamName"] == name for stream in answer["logStreams"])


# ---- resource policies and saved queries, which are on the shelf --------------------------------------------------------------


async def create_policy(hands: Hands, asked: Asked) -> Made:
    """Sets it under its name. Ref is its name."""
    name = asked.properties["PolicyName"]
    await refuse_taken(hands, asked, name, await _policy(hands, name) is not None)
    return await _put_policy(hands, asked)


async def update_policy(hands: Hands, asked: Asked, _: Kept) -> Made:
    """Sets it anew."""
    return await _put_policy(hands, asked)


async def delete_policy(hands: Hands, kept: Kept) -> None:
    """Takes it away."""
    await _if_there(hands, "DeleteResourcePolicy", {"policyName": kept.physical_id})


async def read_policy(hands: Hands, kept: Kept) -> Properties | None:
    """As it is now; its document is a text, as the schema has it, unless the template wrote an object."""
    policy = await _policy(hands, kept.physical_id)
    if policy is None:
        return None
    text = policy["policyDocument"]
    is_text = isinstance(kept.properties.get("PolicyDocument"), str)
    return {"PolicyName": kept.physical_id, "PolicyDocument": text if is_text else document_of(text)}


async def _put_policy(hands: Hands, asked: Asked) -> Made:
    name = asked.properties["PolicyName"]
    await hands.call("logs", "PutResourcePolicy", {"policyName": name, "policyDocument": document_text(asked.properties["PolicyDocument"])})
    return Made(name)


async def _policy(hands: Hands, name: str) -> dict[str, Any] | None:
    policies = (await hands.call("logs", "DescribeResourcePolicies"))["resourcePolicies"]
    return next((one for one in policies if one["policyName"] == name), None)


async def create_query(hands: Hands, asked: Asked) -> Made:
    """Saves it. Ref is its id, which the service makes."""
    return _of_query(await hands.call("logs", "PutQueryDefinition", sent("logs", "PutQueryDefinition", asked.properties)))


async def update_query(hands: Hands, asked: Asked, kept: Kept) -> Made:
    """Saves it anew under its id."""
    properties = {**asked.properties, "QueryDefinitionId": kept.physical_id}
    return _of_query(await hands.call("logs", "PutQueryDefinition", sent("logs", "PutQueryDefinition", properties)))


async def delete_query(hands: Hands, kept: Kept) -> None:
    """Takes it away."""
    await _if_there(hands, "DeleteQueryDefinition", {"queryDefinitionId": kept.physical_id})


async def read_query(hands: Hands, kept: Kept) -> Properties | None:
    """As it is now."""
    queries = (await hands.call("logs", "DescribeQueryDefinitions"))["queryDefinitions"]
    query = next((one for one in queries if one["queryDefinitionId"] == kept.physical_id), None)
    if query is None:
        return None
    properties = shown("logs", "DescribeQueryDefinitions", query, "queryDefinitions", "[]")
    properties.pop("LastModified", None)
    return properties


def _of_query(answer: dict[str, Any]) -> Made:
    return Made(answer["queryDefinitionId"], {"QueryDefinitionId": answer["queryDefinitionId"]})


TYPES = (
    ResourceType(
        "AWS::Logs::LogGroup",
        create_group,
        update_group,
        delete_group,
        read_group,
        named=NameRule("LogGroupName", 512),
        has_stack_tags=True,
    ),
    ResourceType("AWS::Logs::LogStream", create_stream, None, delete_stream, read_stream, named=NameRule("LogStreamName", 512)),
    ResourceType("AWS::Logs::ResourcePolicy", create_policy, update_policy, delete_policy, read_policy),
    ResourceType("AWS::Logs::QueryDefinition", create_query, update_query, delete_query, read_query),
)
