"""AWS::KMS::Key and Alias."""

from __future__ import annotations

from typing import Any

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.resources.acts import (
    Steps,
    answer_if_there,
    call_if_there,
    change_tags,
    changed,
    document_of,
    document_text,
    given,
    own_tags,
    require_known,
    tags_of,
)
from batchyard.services.cloudformation.resources.type import Asked, Hands, Kept, Made, Properties, ResourceType

SERVICE = "kms"
WINDOW_DAYS = 30  # KMS's own default

# --- keys ---

_FIXED = ("KeySpec", "KeyUsage", "Origin")
_REFUSALS = {"MultiRegion": "keys are of one region"}
_KEY = (
    "BypassPolicyLockoutSafetyCheck",
    "Description",
    "EnableKeyRotation",
    "Enabled",
    "KeyPolicy",
    "PendingWindowInDays",
    "RotationPeriodInDays",
    "Tags",
    *_FIXED,
)


async def create_key(hands: Hands, asked: Asked) -> Made:
    """A key. Ref is its id."""
    require_known(asked, _KEY, _REFUSALS)
    properties, tags = asked.properties, tags_of(asked)
    params = given(properties, "Description", "BypassPolicyLockoutSafetyCheck", *_FIXED)
    if properties.get("KeyPolicy"):
        params["Policy"] = document_text(properties["KeyPolicy"])
    if tags:
        params["Tags"] = _listed(tags)
    async with Steps(hands, SERVICE) as steps:
        key = (await steps.call("CreateKey", params))["KeyMetadata"]
        # A key is never gone at once: what is left of one that could not be made waits for the shortest time that there is.
        steps.undo("ScheduleKeyDeletion", {"KeyId": key["KeyId"], "PendingWindowInDays": 7})
        await _switch(steps, key["KeyId"], {}, properties)
    return Made(key["KeyId"], {"KeyId": key["KeyId"], "Arn": key["Arn"]})


def _listed(tags: dict[str, str]) -> list[dict[str, str]]:
    return [{"TagKey": key, "TagValue": value} for key, value in tags.items()]


def _rotation(id: str, properties: Properties) -> tuple[str, dict[str, Any]]:
    """The call that makes its rotation as the properties have it."""
    if not properties.get("EnableKeyRotation"):
        return "DisableKeyRotation", {"KeyId": id}
    return "EnableKeyRotation", {"KeyId": id, **given(properties, "RotationPeriodInDays")}


def _is_enabled(properties: Properties) -> bool:
    return properties.get("Enabled") is not False


async def _switch(steps: Steps, id: str, before: Properties, after: Properties) -> None:
    """On or off, and its rotation: which only a key that is on can be told."""
    if _is_enabled(after) and not _is_enabled(before):
        await steps.call("EnableKey", {"KeyId": id})
        steps.undo("DisableKey", {"KeyId": id})
    if _rotation(id, before) != _rotation(id, after):
        await steps.call(*_rotation(id, after))
        steps.undo(*_rotation(id, before))
    if _is_enabled(before) and not _is_enabled(after):
        await steps.call("DisableKey", {"KeyId": id})
        steps.undo("EnableKey", {"KeyId": id})


async def update_key(hands: Hands, asked: Asked, kept: Kept) -> Made:
    """All but what kind of key it is, each where it differs."""
    require_known(asked, _KEY, _REFUSALS)
    id, before, after = kept.physical_id, kept.properties, asked.properties
    for name in _FIXED:
        if changed(before, after, name):
            raise Fault("InvalidRequest", f"You cannot change the {name} of an existing KMS key.")
    async with Steps(hands, SERVICE) as steps:
        if changed(before, after, "Description"):
            await steps.call("UpdateKeyDescription", {"KeyId": id, "Description": after.get("Description") or ""})
            steps.undo("UpdateKeyDescription", {"KeyId": id, "Description": before.get("Description") or ""})
        if changed(before, after, "KeyPolicy"):
            await steps.call("PutKeyPolicy", _policy(hands, id, after))
            steps.undo("PutKeyPolicy", _policy(hands, id, before))
        await change_tags(
            steps,
            asked,
            kept,
            put=lambda tags: ("TagResource", {"KeyId": id, "Tags": _listed(tags)}),
            take=lambda keys: ("UntagResource", {"KeyId": id, "TagKeys": keys}),
        )
        await _switch(steps, id, before, after)
    return Made(id, kept.attributes)


def _policy(hands: Hands, id: str, properties: Properties) -> Properties:
    """Without one in the template it is the one that KMS gives: the account decides by IAM."""
    root = {
        "Sid": "Enable IAM User Permissions",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:{hands.partition}:iam::{hands.account}:root"},
        "Action": "kms:*",
        "Resource": "*",
    }
    document = properties.get("KeyPolicy") or {"Version": "2012-10-17", "Id": "key-default-1", "Statement": [root]}
    return {"KeyId": id, "Policy": document_text(document), **given(properties, "BypassPolicyLockoutSafetyCheck")}


async def delete_key(hands: Hands, kept: Kept) -> None:
    """It goes after its time; one that waits for that is not deleted again."""
    days = kept.properties.get("PendingWindowInDays") or WINDOW_DAYS
    try:
        await call_if_there(hands, SERVICE, "ScheduleKeyDeletion", {"KeyId": kept.physical_id, "PendingWindowInDays": days})
    except Fault as fault:
        if fault.code != "KMSInvalidStateException":
            raise


async def read_key(hands: Hands, kept: Kept) -> Properties | None:
    """The key as KMS has it; one that waits to be deleted is gone."""
    asked = {"KeyId": kept.physical_id}
    answer = await answer_if_there(hands, SERVICE, "DescribeKey", asked)
    if answer is None:
        return None
    key = answer["KeyMetadata"]
    if key["KeyState"] == "PendingDeletion":
        return None
    rotation = await hands.call(SERVICE, "GetKeyRotationStatus", asked)
    policy = (await hands.call(SERVICE, "GetKeyPolicy", {**asked, "PolicyName": "default"}))["Policy"]
    tags = (await hands.call(SERVICE, "ListResourceTags", asked))["Tags"]
    found: Properties = {
        **given(key, "Description", "MultiRegion", *_FIXED),
        "Enabled": key["Enabled"],
        "EnableKeyRotation": rotation["KeyRotationEnabled"],
        "KeyPolicy": document_of(policy),
    }
    own = own_tags([{"Key": tag["TagKey"], "Value": tag["TagValue"]} for tag in tags], kept)
    return {**found, "Tags": own} if own else found


# --- aliases ---

_ALIAS = ("AliasName", "TargetKeyId")


async def create_alias(hands: Hands, asked: Asked) -> Made:
    """Another name of a key. Ref is that name."""
    require_known(asked, _ALIAS)
    await hands.call(SERVICE, "CreateAlias", given(asked.properties, *_ALIAS))
    return Made(asked.properties["AliasName"])


async def update_alias(hands: Hands, asked: Asked, kept: Kept) -> Made:
    """The name of another key."""
    require_known(asked, _ALIAS)
    await hands.call(SERVICE, "UpdateAlias", given(asked.properties, *_ALIAS))
    return Made(kept.physical_id)


async def delete_alias(hands: Hands, kept: Kept) -> None:
    await call_if_there(hands, SERVICE, "DeleteAlias", {"AliasName": kept.physical_id})


async def read_alias(hands: Hands, kept: Kept) -> Properties | None:
    """Which key it names; as the template calls the key, if it is still that one."""
    answer = await answer_if_there(hands, SERVICE, "DescribeKey", {"KeyId": kept.physical_id})
    if answer is None:
        return None
    key = answer["KeyMetadata"]
    target = kept.properties["TargetKeyId"]
    return {"AliasName": kept.physical_id, "TargetKeyId": target if target in (key["KeyId"], key["Arn"]) else key["KeyId"]}


TYPES = (
    ResourceType("AWS::KMS::Key", create_key, update_key, delete_key, read_key, has_stack_tags=True),
    ResourceType("AWS::KMS::Alias", create_alias, update_alias, delete_alias, read_alias),
)
