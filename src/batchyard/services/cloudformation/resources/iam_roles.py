"""AWS::IAM::Role, InstanceProfile and ServiceLinkedRole."""

from __future__ import annotations

from urllib.parse import unquote

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.resources.acts import (
    Steps,
    answer_if_there,
    call_if_there,
    changed,
    document_of,
    document_text,
    given,
    is_gone,
    listed,
    own_tags,
    require_known,
    tags_of,
)
from batchyard.services.cloudformation.resources.iam_bearers import ROLE, SERVICE
from batchyard.services.cloudformation.resources.type import Asked, Hands, Kept, Made, NameRule, Properties, ResourceType

SESSION_S = 3600  # IAM's own default
_ROLE = (
    "AssumeRolePolicyDocument",
    "Description",
    "ManagedPolicyArns",
    "MaxSessionDuration",
    "Path",
    "PermissionsBoundary",
    "Policies",
    "RoleName",
    "Tags",
)


# --- roles ---


async def create_role(hands: Hands, asked: Asked) -> Made:
    """A role with its policies. Ref is its name."""
    require_known(asked, _ROLE)
    properties = asked.properties
    name = properties.get("RoleName") or asked.name
    tags = tags_of(asked)
    async with Steps(hands, SERVICE) as steps:
        answer = await steps.call(
            "CreateRole",
            {
                "RoleName": name,
                "AssumeRolePolicyDocument": document_text(properties["AssumeRolePolicyDocument"]),
                **given(properties, "Path", "Description", "MaxSessionDuration", "PermissionsBoundary"),
                **({"Tags": listed(tags)} if tags else {}),
            },
        )
        steps.undo("DeleteRole", {"RoleName": name})
        await ROLE.give(steps, name, properties)
    return _made_role(answer["Role"])


def _made_role(role: Properties) -> Made:
    return Made(role["RoleName"], {"Arn": role["Arn"], "RoleId": role["RoleId"]})


async def update_role(hands: Hands, asked: Asked, kept: Kept) -> Made:
    """All but name and path, each where it differs."""
    require_known(asked, _ROLE)
    name, before, after = kept.physical_id, kept.properties, asked.properties
    async with Steps(hands, SERVICE) as steps:
        if changed(before, after, "Description", "MaxSessionDuration"):
            await steps.call("UpdateRole", _settings(name, after))
            steps.undo("UpdateRole", _settings(name, before))
        if changed(before, after, "AssumeRolePolicyDocument"):
            await steps.call("UpdateAssumeRolePolicy", _trust(name, after))
            steps.undo("UpdateAssumeRolePolicy", _trust(name, before))
        await ROLE.change_boundary(steps, name, before, after)
        await ROLE.change(steps, name, before, after)
        await ROLE.change_tags(steps, name, asked, kept)
    return Made(name, kept.attributes)


def _settings(name: str, properties: Properties) -> Properties:
    return {
        "RoleName": name,
        "Description": properties.get("Description") or "",
        "MaxSessionDuration": properties.get("MaxSessionDuration") or SESSION_S,
    }


def _trust(name: str, properties: Properties) -> Properties:
    return {"RoleName": name, "PolicyDocument": document_text(properties["AssumeRolePolicyDocument"])}


async def delete_role(hands: Hands, kept: Kept) -> None:
    """Without the policies that the stack gave it."""
    name = kept.physical_id
    await ROLE.take(hands, name, kept.properties)
    await call_if_there(hands, SERVICE, "DeleteRole", {"RoleName": name})


async def read_role(hands: Hands, kept: Kept) -> Properties | None:
    """The role as IAM has it."""
    answer = await answer_if_there(hands, SERVICE, "GetRole", {"RoleName": kept.physical_id})
    if answer is None:
        return None
    role = answer["Role"]
    found: Properties = {
        "RoleName": role["RoleName"],
        "Path": role["Path"],
        "AssumeRolePolicyDocument": document_of(unquote(role["AssumeRolePolicyDocument"])),
        "MaxSessionDuration": role["MaxSessionDuration"],
        **given(role, "Description"),
    }
    if role.get("PermissionsBoundary"):
        found["PermissionsBoundary"] = role["PermissionsBoundary"]["PermissionsBoundaryArn"]
    if tags := own_tags(role.get("Tags", []), kept):
        found["Tags"] = tags
    return {**found, **await ROLE.read(hands, kept)}


# --- instance profiles ---

_PROFILE = ("InstanceProfileName", "Path", "Roles")


async def create_profile(hands: Hands, asked: Asked) -> Made:
    """A profile with its role. Ref is its name."""
    require_known(asked, _PROFILE)
    name = asked.properties.get("InstanceProfileName") or asked.name
    async with Steps(hands, SERVICE) as steps:
        answer = await steps.call("CreateInstanceProfile", {"InstanceProfileName": name, **given(asked.properties, "Path")})
        steps.undo("DeleteInstanceProfile", {"InstanceProfileName": name})
        for role in asked.properties["Roles"]:
            await steps.call("AddRoleToInstanceProfile", {"InstanceProfileName": name, "RoleName": role})
            steps.undo("RemoveRoleFromInstanceProfile", {"InstanceProfileName": name, "RoleName": role})
    return Made(name, {"Arn": answer["InstanceProfile"]["Arn"]})


async def update_profile(hands: Hands, asked: Asked, kept: Kept) -> Made:
    """Another role."""
    require_known(asked, _PROFILE)
    name, before, after = kept.physical_id, kept.properties["Roles"], asked.properties["Roles"]
    async with Steps(hands, SERVICE) as steps:
        for role in before:
            params = {"InstanceProfileName": name, "RoleName": role}
            if role not in after and await steps.call_if_there("RemoveRoleFromInstanceProfile", params):
                steps.undo("AddRoleToInstanceProfile", params)
        for role in after:
            params = {"InstanceProfileName": name, "RoleName": role}
            if role in before:
                continue
            if await steps.call_unless("LimitExceeded", "AddRoleToInstanceProfile", params):
                steps.undo("RemoveRoleFromInstanceProfile", params)
            else:
                await _require_in(steps, name, role)
    return Made(name, kept.attributes)


async def _require_in(steps: Steps, name: str, role: str) -> None:
    """A profile that is full must have this role in it."""
    profile = (await steps.call("GetInstanceProfile", {"InstanceProfileName": name}))["InstanceProfile"]
    if role not in [one["RoleName"] for one in profile["Roles"]]:
        raise Fault("LimitExceeded", "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1")


async def delete_profile(hands: Hands, kept: Kept) -> None:
    """Without the role that the stack put in."""
    name = kept.physical_id
    for role in kept.properties.get("Roles", []):
        await call_if_there(hands, SERVICE, "RemoveRoleFromInstanceProfile", {"InstanceProfileName": name, "RoleName": role})
    await call_if_there(hands, SERVICE, "DeleteInstanceProfile", {"InstanceProfileName": name})


async def read_profile(hands: Hands, kept: Kept) -> Properties | None:
    """The profile as IAM has it."""
    answer = await answer_if_there(hands, SERVICE, "GetInstanceProfile", {"InstanceProfileName": kept.physical_id})
    if answer is None:
        return None
    profile = answer["InstanceProfile"]
    return {
        "InstanceProfileName": profile["InstanceProfileName"],
        "Path": profile["Path"],
        "Roles": [role["RoleName"] for role in profile["Roles"]],
    }


# --- roles of services ---

_LINKED = ("AWSServiceName", "CustomSuffix", "Description")
_PATIENCE_S = 300.0


async def create_linked(hands: Hands, asked: Asked) -> Made:
    """The role of a service. Ref is its name."""
    require_known(asked, _LINKED)
    answer = await hands.call(SERVICE, "CreateServiceLinkedRole", given(asked.properties, *_LINKED))
    name = answer["Role"]["RoleName"]
    return Made(name, {"RoleName": name})


async def update_linked(hands: Hands, asked: Asked, kept: Kept) -> Made:
    """Another description."""
    require_known(asked, _LINKED)
    if changed(kept.properties, asked.properties, "Description"):
        description = asked.properties.get("Description") or ""
        await hands.call(SERVICE, "UpdateRoleDescription", {"RoleName": kept.physical_id, "Description": description})
    return Made(kept.physical_id, kept.attributes)


async def delete_linked(hands: Hands, kept: Kept) -> None:
    """Deletes it, and waits until the service has let it go."""
    try:
        answer = await hands.call(SERVICE, "DeleteServiceLinkedRole", {"RoleName": kept.physical_id})
    except Fault as fault:
        if is_gone(fault):
            return
        raise

    async def is_over() -> bool:
        status = await hands.call(SERVICE, "GetServiceLinkedRoleDeletionStatus", {"DeletionTaskId": answer["DeletionTaskId"]})
        if status["Status"] == "FAILED":
            raise Fault("GeneralServiceException", f"The role {kept.physical_id} is in use by its service.")
        return bool(status["Status"] == "SUCCEEDED")

    await hands.until(is_over, patience_s=_PATIENCE_S, what=f"the role {kept.physical_id} to be deleted")


async def read_linked(hands: Hands, kept: Kept) -> Properties | None:
    """The role as IAM has it; of which service it is stands in its path."""
    answer = await answer_if_there(hands, SERVICE, "GetRole", {"RoleName": kept.physical_id})
    if answer is None:
        return None
    role = answer["Role"]
    return {"RoleName": role["RoleName"], **given(role, "Description")}


TYPES = (
    ResourceType("AWS::IAM::Role", create_role, update_role, delete_role, read_role, named=NameRule("RoleName", 64), has_stack_tags=True),
    ResourceType(
        "AWS::IAM::InstanceProfile",
        create_profile,
        update_profile,
        delete_profile,
        read_profile,
        named=NameRule("InstanceProfileName", 128),
    ),
    ResourceType("AWS::IAM::ServiceLinkedRole", create_linked, update_linked, delete_linked, read_linked),
)
