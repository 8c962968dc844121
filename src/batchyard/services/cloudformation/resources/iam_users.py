"""AWS::IAM::User, Group, UserToGroupAddition and AccessKey."""

from __future__ import annotations

from batchyard.services.cloudformation.resources.acts import (
    Steps,
    answer_if_there,
    call_if_there,
    changed,
    given,
    listed,
    own_tags,
    require_known,
    tags_of,
)
from batchyard.services.cloudformation.resources.iam_bearers import GROUP, SERVICE, USER
from batchyard.services.cloudformation.resources.type import Asked, Hands, Kept, Made, NameRule, Properties, ResourceType

# --- users ---

_USER = ("Groups", "ManagedPolicyArns", "Path", "PermissionsBoundary", "Policies", "Tags", "UserName")
_REFUSALS = {"LoginProfile": "there is no console to log in to: users have access keys"}


async def create_user(hands: Hands, asked: Asked) -> Made:
    """A user with policies, in its groups. Ref is its name."""
    require_known(asked, _USER, _REFUSALS)
    properties, tags = asked.properties, tags_of(asked)
    name = properties.get("UserName") or asked.name
    async with Steps(hands, SERVICE) as steps:
        answer = await steps.call(
            "CreateUser",
            {"UserName": name, **given(properties, "Path", "PermissionsBoundary"), **({"Tags": listed(tags)} if tags else {})},
        )
        steps.undo("DeleteUser", {"UserName": name})
        await USER.give(steps, name, properties)
        await _join(steps, name, [], _groups(properties))
    return Made(name, {"Arn": answer["User"]["Arn"]})


def _groups(properties: Properties) -> list[str]:
    return list(dict.fromkeys(properties.get("Groups") or []))


async def _join(steps: Steps, user: str, before: list[str], after: list[str]) -> None:
    """Leave the groups that are not wanted any more, and join the others."""
    for group in before:
        params = {"GroupName": group, "UserName": user}
        if group not in after and await steps.call_if_there("RemoveUserFromGroup", params):
            steps.undo("AddUserToGroup", params)
    for group in after:
        if group not in before:
            await steps.call("AddUserToGroup", {"GroupName": group, "UserName": user})
            steps.undo("RemoveUserFromGroup", {"GroupName": group, "UserName": user})


async def update_user(hands: Hands, asked: Asked, kept: Kept) -> Made:
    """All but the name, each where it differs. Another path is another ARN."""
    require_known(asked, _USER, _REFUSALS)
    name, before, after = kept.physical_id, kept.properties, asked.properties
    async with Steps(hands, SERVICE) as steps:
        if changed(before, after, "Path"):
            await steps.call("UpdateUser", {"UserName": name, "NewPath": after.get("Path") or "/"})
            steps.undo("UpdateUser", {"UserName": name, "NewPath": before.get("Path") or "/"})
        await USER.change_boundary(steps, name, before, after)
        await USER.change(steps, name, before, after)
        await USER.change_tags(steps, name, asked, kept)
        await _join(steps, name, _groups(before), _groups(after))
        answer = await steps.call("GetUser", {"UserName": name})
    return Made(name, {"Arn": answer["User"]["Arn"]})


async def delete_user(hands: Hands, kept: Kept) -> None:
    """Without the policies and groups that the stack gave it."""
    name = kept.physical_id
    for group in _groups(kept.properties):
        await call_if_there(hands, SERVICE, "RemoveUserFromGroup", {"GroupName": group, "UserName": name})
    await USER.take(hands, name, kept.properties)
    await call_if_there(hands, SERVICE, "DeleteUser", {"UserName": name})


async def read_user(hands: Hands, kept: Kept) -> Properties | None:
    """The user as IAM has it."""
    answer = await answer_if_there(hands, SERVICE, "GetUser", {"UserName": kept.physical_id})
    if answer is None:
        return None
    user = answer["User"]
    found: Properties = {"UserName": user["UserName"], "Path": user["Path"]}
    if user.get("PermissionsBoundary"):
        found["PermissionsBoundary"] = user["PermissionsBoundary"]["PermissionsBoundaryArn"]
    if tags := own_tags(user.get("Tags", []), kept):
        found["Tags"] = tags
    if _groups(kept.properties):
        groups = (await hands.call(SERVICE, "ListGroupsForUser", {"UserName": kept.physical_id}))["Groups"]
        names = [group["GroupName"] for group in groups]
        found["Groups"] = [group for group in _groups(kept.properties) if group in names]
    return {**found, **await USER.read(hands, kept)}


# --- groups ---

_GROUP = ("GroupName", "ManagedPolicyArns", "Path", "Policies")


async def create_group(hands: Hands, asked: Asked) -> Made:
    """A group with policies. Ref is its name."""
    require_known(asked, _GROUP)
    name = asked.properties.get("GroupName") or asked.name
    async with Steps(hands, SERVICE) as steps:
        answer = await steps.call("CreateGroup", {"GroupName": name, **given(asked.properties, "Path")})
        steps.undo("DeleteGroup", {"GroupName": name})
        await GROUP.give(steps, name, asked.properties)
    return Made(name, {"Arn": answer["Group"]["Arn"]})


async def update_group(hands: Hands, asked: Asked, kept: Kept) -> Made:
    """Path and policies, where they differ."""
    require_known(asked, _GROUP)
    name, before, after = kept.physical_id, kept.properties, asked.properties
    async with Steps(hands, SERVICE) as steps:
        if changed(before, after, "Path"):
            await steps.call("UpdateGroup", {"GroupName": name, "NewPath": after.get("Path") or "/"})
            steps.undo("UpdateGroup", {"GroupName": name, "NewPath": before.get("Path") or "/"})
        await GROUP.change(steps, name, before, after)
        answer = await steps.call("GetGroup", {"GroupName": name})
    return Made(name, {"Arn": answer["Group"]["Arn"]})


async def delete_group(hands: Hands, kept: Kept) -> None:
    """Without the policies that the stack gave it."""
    await GROUP.take(hands, kept.physical_id, kept.properties)
    await call_if_there(hands, SERVICE, "DeleteGroup", {"GroupName": kept.physical_id})


async def read_group(hands: Hands, kept: Kept) -> Properties | None:
    """The group as IAM has it."""
    answer = await answer_if_there(hands, SERVICE, "GetGroup", {"GroupName": kept.physical_id})
    if answer is None:
        return None
    group = answer["Group"]
    return {"GroupName": group["GroupName"], "Path": group["Path"], **await GROUP.read(hands, kept)}


# --- users in a group ---

_ADDITION = ("GroupName", "Users")


def _pairs(properties: Properties) -> list[Properties]:
    return [{"GroupName": properties["GroupName"], "UserName": user} for user in dict.fromkeys(properties["Users"])]


async def create_addition(hands: Hands, asked: Asked) -> Made:
    """Users that join a group. Ref is a name of its own."""
    require_known(asked, _ADDITION)
    async with Steps(hands, SERVICE) as steps:
        for params in _pairs(asked.properties):
            await steps.call("AddUserToGroup", params)
            steps.undo("RemoveUserFromGroup", params)
    return Made(asked.name, {"Id": asked.name})


async def update_addition(hands: Hands, asked: Asked, kept: Kept) -> Made:
    """Those who are not named any more leave, the new ones join."""
    require_known(asked, _ADDITION)
    before, after = _pairs(kept.properties), _pairs(asked.properties)
    async with Steps(hands, SERVICE) as steps:
        for params in before:
            if params not in after and await steps.call_if_there("RemoveUserFromGroup", params):
                steps.undo("AddUserToGroup", params)
        for params in after:
            if params not in before:
                await steps.call("AddUserToGroup", params)
                steps.undo("RemoveUserFromGroup", params)
    return Made(kept.physical_id, kept.attributes)


async def delete_addition(hands: Hands, kept: Kept) -> None:
    """They all leave."""
    for params in _pairs(kept.properties):
        await call_if_there(hands, SERVICE, "RemoveUserFromGroup", params)


async def read_addition(hands: Hands, kept: Kept) -> Properties | None:
    """Who of them is in the group."""
    group = kept.properties["GroupName"]
    answer = await answer_if_there(hands, SERVICE, "GetGroup", {"GroupName": group})
    if answer is None:
        return None
    users = answer["Users"]
    names = [user["UserName"] for user in users]
    there = [user for user in kept.properties["Users"] if user in names]
    return {"GroupName": group, "Users": there} if there else None


# --- access keys ---

_KEY = ("Serial", "Status", "UserName")


async def create_key(hands: Hands, asked: Asked) -> Made:
    """A key that signs for a user. Ref is its id; its secret is told to GetAtt, and to nobody later. Another Serial is another key."""
    require_known(asked, _KEY)
    user, status = asked.properties["UserName"], asked.properties.get("Status") or "Active"
    async with Steps(hands, SERVICE) as steps:
        key = (await steps.call("CreateAccessKey", {"UserName": user}))["AccessKey"]
        steps.undo("DeleteAccessKey", {"UserName": user, "AccessKeyId": key["AccessKeyId"]})
        if status != "Active":
            await steps.call("UpdateAccessKey", {"UserName": user, "AccessKeyId": key["AccessKeyId"], "Status": status})
    return Made(key["AccessKeyId"], {"Id": key["AccessKeyId"], "SecretAccessKey": key["SecretAccessKey"]})


async def update_key(hands: Hands, asked: Asked, kept: Kept) -> Made:
    """Active or not."""
    require_known(asked, _KEY)
    if changed(kept.properties, asked.properties, "Status"):
        params = {"UserName": asked.properties["UserName"], "AccessKeyId": kept.physical_id}
        await hands.call(SERVICE, "UpdateAccessKey", {**params, "Status": asked.properties.get("Status") or "Active"})
    return Made(kept.physical_id, kept.attributes)


async def delete_key(hands: Hands, kept: Kept) -> None:
    """It signs nothing any more."""
    params = {"UserName": kept.properties["UserName"], "AccessKeyId": kept.physical_id}
    await call_if_there(hands, SERVICE, "DeleteAccessKey", params)


async def read_key(hands: Hands, kept: Kept) -> Properties | None:
    """Whose it is, and whether it signs."""
    answer = await answer_if_there(hands, SERVICE, "ListAccessKeys", {"UserName": kept.properties["UserName"]})
    if answer is None:
        return None
    keys = answer["AccessKeyMetadata"]
    for key in keys:
        if key["AccessKeyId"] == kept.physical_id:
            return {"UserName": key["UserName"], "Status": key["Status"]}
    return None


TYPES = (
    ResourceType("AWS::IAM::User", create_user, update_user, delete_user, read_user, named=NameRule("UserName", 64), has_stack_tags=True),
    ResourceType("AWS::IAM::Group", create_group, update_group, delete_group, read_group, named=NameRule("GroupName", 128)),
    ResourceType(
        "AWS::IAM::UserToGroupAddition", create_addition, update_addition, delete_addition, read_addition, named=NameRule("Id", 64)
    ),
    ResourceType("AWS::IAM::AccessKey", create_key, update_key, delete_key, read_key),
)
