"""AWS::IAM::Policy, RolePolicy, UserPolicy, GroupPolicy and ManagedPolicy."""

from __future__ import annotations

from collections.abc import Iterator
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
    require_known,
)
from batchyard.services.cloudformation.resources.iam_bearers import SERVICE, read_inline
from batchyard.services.cloudformation.resources.type import Asked, Hands, Kept, Made, NameRule, Properties, ResourceType

_TITLES = (("Groups", "Group"), ("Roles", "Role"), ("Users", "User"))


def _bearers(properties: Properties) -> Iterator[tuple[str, str]]:
    """(title, name) of all that a policy is on."""
    for member, title in _TITLES:
        for name in dict.fromkeys(properties.get(member) or []):
            yield title, name


# --- one inline policy on several bearers ---

_POLICY = ("Groups", "PolicyDocument", "PolicyName", "Roles", "Users")


async def create_policy(hands: Hands, asked: Asked) -> Made:
    """The policy put on each of its roles, users and groups. Ref is a name of its own."""
    _require_policy(asked)
    async with Steps(hands, SERVICE) as steps:
        for title, name in _bearers(asked.properties):
            await steps.call(f"Put{title}Policy", _put(title, name, asked.properties))
            steps.undo(f"Delete{title}Policy", _named(title, name, asked.properties))
    return Made(asked.name, {"Id": asked.name})


def _require_policy(asked: Asked) -> None:
    require_known(asked, _POLICY)
    if not list(_bearers(asked.properties)):
        raise Fault("ValidationError", "At least one of [Groups,Roles,Users] must be non-empty.")


def _named(title: str, name: str, properties: Properties) -> Properties:
    return {f"{title}Name": name, "PolicyName": properties["PolicyName"]}


def _put(title: str, name: str, properties: Properties) -> Properties:
    return {**_named(title, name, properties), "PolicyDocument": document_text(properties["PolicyDocument"])}


async def update_policy(hands: Hands, asked: Asked, kept: Kept) -> Made:
    """Taken from those it leaves, put on those it reaches, and put again where it says something else."""
    _require_policy(asked)
    before, after = kept.properties, asked.properties
    old, new = list(_bearers(before)), list(_bearers(after))
    is_renamed = before["PolicyName"] != after["PolicyName"]
    async with Steps(hands, SERVICE) as steps:
        for title, name in old:
            goes = is_renamed or (title, name) not in new
            if goes and await steps.call_if_there(f"Delete{title}Policy", _named(title, name, before)):
                steps.undo(f"Put{title}Policy", _put(title, name, before))
        for title, name in new:
            is_there = not is_renamed and (title, name) in old
            if not is_there or changed(before, after, "PolicyDocument"):
                await steps.call(f"Put{title}Policy", _put(title, name, after))
                undo = (
                    (f"Put{title}Policy", _put(title, name, before)) if is_there else (f"Delete{title}Policy", _named(title, name, after))
                )
                steps.undo(*undo)
    return Made(kept.physical_id, kept.attributes)


async def delete_policy(hands: Hands, kept: Kept) -> None:
    """From all that it is on."""
    for title, name in _bearers(kept.properties):
        await call_if_there(hands, SERVICE, f"Delete{title}Policy", _named(title, name, kept.properties))


async def read_policy(hands: Hands, kept: Kept) -> Properties | None:
    """The policy where it still is; its text is that of the first that has it."""
    found: Properties = {"PolicyName": kept.properties["PolicyName"]}
    for title, name in _bearers(kept.properties):
        try:
            document = await read_inline(hands, title, name, kept.properties["PolicyName"])
        except Fault as fault:
            if is_gone(fault):
                continue
            raise
        found.setdefault("PolicyDocument", document)
        found.setdefault(f"{title}s", []).append(name)
    return found if "PolicyDocument" in found else None


# --- one inline policy on one bearer ---


def _single(title: str) -> ResourceType:
    """AWS::IAM::RolePolicy and its like: Ref is the policy's name and the bearer's."""
    member = f"{title}Name"
    known = (member, "PolicyDocument", "PolicyName")

    def put(properties: Properties) -> Properties:
        if not properties.get("PolicyDocument"):
            raise Fault("InvalidRequest", "PolicyDocument: a policy must have one.")
        return _put(title, properties[member], properties)

    async def create(hands: Hands, asked: Asked) -> Made:
        """The policy put on its bearer. Ref is `POLICY|BEARER`."""
        require_known(asked, known)
        params = put(asked.properties)
        name, policy = params[member], params["PolicyName"]
        if not asked.is_repeat:
            try:
                await read_inline(hands, title, name, policy)
            except Fault as fault:
                if not is_gone(fault):
                    raise
            else:
                raise Fault("AlreadyExists", f"The {title.lower()} {name} has a policy {policy} already.")
        await hands.call(SERVICE, f"Put{title}Policy", params)
        return Made(f"{policy}|{name}")

    async def update(hands: Hands, asked: Asked, kept: Kept) -> Made:
        require_known(asked, known)
        await hands.call(SERVICE, f"Put{title}Policy", put(asked.properties))
        return Made(kept.physical_id)

    async def delete(hands: Hands, kept: Kept) -> None:
        await call_if_there(hands, SERVICE, f"Delete{title}Policy", _named(title, kept.properties[member], kept.properties))

    async def read(hands: Hands, kept: Kept) -> Properties | None:
        name, policy = kept.properties[member], kept.properties["PolicyName"]
        try:
            document = await read_inline(hands, title, name, policy)
        except Fault as fault:
            if is_gone(fault):
                return None
            raise
        return {member: name, "PolicyName": policy, "PolicyDocument": document}

    return ResourceType(f"AWS::IAM::{title}Policy", create, update, delete, read)


# --- managed policies ---

_MANAGED = ("Description", "Groups", "ManagedPolicyName", "Path", "PolicyDocument", "Roles", "Users")


async def create_managed(hands: Hands, asked: Asked) -> Made:
    """A policy of the account, attached to its roles, users and groups. Ref is its ARN."""
    require_known(asked, _MANAGED)
    properties = asked.properties
    async with Steps(hands, SERVICE) as steps:
        answer = await steps.call(
            "CreatePolicy",
            {
                "PolicyName": properties.get("ManagedPolicyName") or asked.name,
                "PolicyDocument": document_text(properties["PolicyDocument"]),
                **given(properties, "Path", "Description"),
            },
        )
        arn = answer["Policy"]["Arn"]
        steps.undo("DeletePolicy", {"PolicyArn": arn})
        for title, name in _bearers(properties):
            await steps.call(f"Attach{title}Policy", {f"{title}Name": name, "PolicyArn": arn})
            steps.undo(f"Detach{title}Policy", {f"{title}Name": name, "PolicyArn": arn})
        return await _made_managed(steps, arn)


async def _made_managed(steps: Steps, arn: str) -> Made:
    policy = (await steps.call("GetPolicy", {"PolicyArn": arn}))["Policy"]
    names = ("AttachmentCount", "DefaultVersionId", "IsAttachable", "PermissionsBoundaryUsageCount", "PolicyId")
    return Made(
        arn, {"PolicyArn": arn, **given(policy, *names), "CreateDate": str(policy["CreateDate"]), "UpdateDate": str(policy["UpdateDate"])}
    )


async def update_managed(hands: Hands, asked: Asked, kept: Kept) -> Made:
    """Attached elsewhere; another text is a new version, and the one that it takes the place of goes."""
    require_known(asked, _MANAGED)
    arn, before, after = kept.physical_id, kept.properties, asked.properties
    old, new = list(_bearers(before)), list(_bearers(after))
    is_other = changed(before, after, "PolicyDocument")
    replaced = {"PolicyArn": arn, "VersionId": kept.attributes.get("DefaultVersionId", "v1")}
    async with Steps(hands, SERVICE) as steps:
        if is_other:
            text = document_text(after["PolicyDocument"])
            answer = await steps.call("CreatePolicyVersion", {"PolicyArn": arn, "PolicyDocument": text, "SetAsDefault": True})
            steps.undo("DeletePolicyVersion", {"PolicyArn": arn, "VersionId": answer["PolicyVersion"]["VersionId"]})
            steps.undo("SetDefaultPolicyVersion", replaced)
        for title, name in old:
            params = {f"{title}Name": name, "PolicyArn": arn}
            if (title, name) not in new and await steps.call_if_there(f"Detach{title}Policy", params):
                steps.undo(f"Attach{title}Policy", params)
        for title, name in new:
            if (title, name) not in old:
                await steps.call(f"Attach{title}Policy", {f"{title}Name": name, "PolicyArn": arn})
                steps.undo(f"Detach{title}Policy", {f"{title}Name": name, "PolicyArn": arn})
        if is_other:
            await steps.call_if_there("DeletePolicyVersion", replaced)
        return await _made_managed(steps, arn)


async def delete_managed(hands: Hands, kept: Kept) -> None:
    """Detached from where the stack attached it, with all its versions. Which there are is asked, so it goes on until it is gone."""
    arn = kept.physical_id
    for title, name in _bearers(kept.properties):
        await call_if_there(hands, SERVICE, f"Detach{title}Policy", {f"{title}Name": name, "PolicyArn": arn})
    while True:
        try:
            versions = (await hands.call(SERVICE, "ListPolicyVersions", {"PolicyArn": arn}))["Versions"]
        except Fault as fault:
            if is_gone(fault):
                return
            raise
        for version in versions:
            if not version["IsDefaultVersion"]:
                await call_if_there(hands, SERVICE, "DeletePolicyVersion", {"PolicyArn": arn, "VersionId": version["VersionId"]})
        await call_if_there(hands, SERVICE, "DeletePolicy", {"PolicyArn": arn})


async def read_managed(hands: Hands, kept: Kept) -> Properties | None:
    """The policy as IAM has it."""
    arn = kept.physical_id
    answer = await answer_if_there(hands, SERVICE, "GetPolicy", {"PolicyArn": arn})
    if answer is None:
        return None
    policy = answer["Policy"]
    asked = {"PolicyArn": arn, "VersionId": policy["DefaultVersionId"]}
    version = (await hands.call(SERVICE, "GetPolicyVersion", asked))["PolicyVersion"]
    on = await hands.call(SERVICE, "ListEntitiesForPolicy", {"PolicyArn": arn, "PolicyUsageFilter": "PermissionsPolicy"})
    found: Properties = {
        "ManagedPolicyName": policy["PolicyName"],
        "Path": policy["Path"],
        **given(policy, "Description"),
        "PolicyDocument": document_of(unquote(version["Document"])),
    }
    for member, title in _TITLES:
        # Others may attach it as well: only who the resource names is its own affair.
        names = [one[f"{title}Name"] for one in on[f"Policy{title}s"]]
        if kept.properties.get(member):
            found[member] = [name for name in kept.properties[member] if name in names]
    return found


TYPES = (
    ResourceType("AWS::IAM::Policy", create_policy, update_policy, delete_policy, read_policy, named=NameRule("Id", 64)),
    _single("Role"),
    _single("User"),
    _single("Group"),
    ResourceType(
        "AWS::IAM::ManagedPolicy", create_managed, update_managed, delete_managed, read_managed, named=NameRule("ManagedPolicyName", 128)
    ),
)
