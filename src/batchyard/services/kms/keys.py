"""Keys are created, described, switched on and off, deleted after a time, and given policies, rotation and tags."""

from __future__ import annotations

import os
import uuid
from typing import Any

from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.services.kms.records import (
    DISABLED,
    ENABLED,
    KEY,
    PENDING_DELETION,
    SYMMETRIC,
    default_policy,
    forget_gone,
    key_arn,
    keys,
    metadata,
    policy_of,
    require,
    require_not_pending,
    require_usable,
)
from batchyard.services.paging import page_of
from batchyard.store.shelf import Document, Drawer

DAY_MS = 86_400_000
TAGS_MAX = 50
_NOT_HERE = "not available in this version of Batchyard"


def create_key(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, CreateKey: symmetric keys with material of our own only."""
    spec = params.get("KeySpec") or params.get("CustomerMasterKeySpec") or SYMMETRIC
    usage, origin = params.get("KeyUsage", "ENCRYPT_DECRYPT"), params.get("Origin", "AWS_KMS")
    for member, value, only in (("KeySpec", spec, SYMMETRIC), ("KeyUsage", usage, "ENCRYPT_DECRYPT"), ("Origin", origin, "AWS_KMS")):
        if value != only:
            raise Fault("UnsupportedOperationException", f"{member}: {value} is {_NOT_HERE}: use {only}, or leave it out.")
    for member in ("CustomKeyStoreId", "XksKeyId", "MultiRegion"):
        if params.get(member):
            raise Fault("UnsupportedOperationException", f"{member}: {_NOT_HERE}; leave it out.")
    forget_gone(drawer)
    document = {
        "id": str(uuid.uuid4()),
        "created_at_ms": drawer.now_ms,
        "description": params.get("Description", ""),
        "state": ENABLED,
        "policy": policy_of(params["Policy"]) if params.get("Policy") else default_policy(caller),
        "material": os.urandom(32),
        "rotation_days": 0,
        "tags": _tags({}, params.get("Tags", [])),
    }
    drawer.put(KEY, document["id"], document)
    return {"KeyMetadata": metadata(caller, document)}


def describe_key(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, DescribeKey."""
    return {"KeyMetadata": metadata(caller, require(drawer, caller, params["KeyId"]))}


def list_keys(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, ListKeys."""
    page, marker = page_of(
        keys(drawer),
        lambda document: str(document["id"]),
        limit=params.get("Limit") or 100,
        token=params.get("Marker"),
        purpose=("ListKeys",),
        invalid=Fault("InvalidMarkerException", "Invalid marker"),
    )
    shown = [{"KeyId": document["id"], "KeyArn": key_arn(caller, document["id"])} for document in page]
    return {"Keys": shown, "Truncated": bool(marker), **({"NextMarker": marker} if marker else {})}


def _changed(drawer: Drawer, caller: Caller, params: Params, **changes: Any) -> Document:
    """The key of the request with these changes, written. Keys pending deletion cannot be changed."""
    document = require(drawer, caller, params["KeyId"], by_alias=False)
    require_not_pending(caller, document)
    document = {**document, **changes}
    drawer.put(KEY, document["id"], document)
    return document


def enable_key(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, EnableKey."""
    _changed(drawer, caller, params, state=ENABLED)
    return {}


def disable_key(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, DisableKey."""
    _changed(drawer, caller, params, state=DISABLED)
    return {}


def update_key_description(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, UpdateKeyDescription."""
    _changed(drawer, caller, params, description=params["Description"])
    return {}


def schedule_key_deletion(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, ScheduleKeyDeletion: after 7 to 30 days the key is gone, and what it sealed with it."""
    days = params.get("PendingWindowInDays", 30)
    if not 7 <= days <= 30:
        raise Fault("ValidationException", f"PendingWindowInDays: {days} is not from 7 to 30")
    forget_gone(drawer)
    deleted_at_ms = drawer.now_ms + days * DAY_MS
    document = _changed(drawer, caller, params, state=PENDING_DELETION, deleted_at_ms=deleted_at_ms)
    return {
        "KeyId": key_arn(caller, document["id"]),
        "DeletionDate": deleted_at_ms / 1000,
        "KeyState": PENDING_DELETION,
        "PendingWindowInDays": days,
    }


def cancel_key_deletion(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, CancelKeyDeletion: the key is there again, but disabled."""
    document = require(drawer, caller, params["KeyId"], by_alias=False)
    arn = key_arn(caller, document["id"])
    if document["state"] != PENDING_DELETION:
        raise Fault("KMSInvalidStateException", f"{arn} is not pending deletion.")
    drawer.put(KEY, document["id"], {**document, "state": DISABLED, "deleted_at_ms": 0})
    return {"KeyId": arn}


# --- policies ---


def put_key_policy(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, PutKeyPolicy: kept and shown; IAM's policies are what is enforced."""
    _require_default(params)
    _changed(drawer, caller, params, policy=policy_of(params["Policy"]))
    return {}


def get_key_policy(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, GetKeyPolicy."""
    _require_default(params)
    return {"Policy": require(drawer, caller, params["KeyId"], by_alias=False)["policy"], "PolicyName": "default"}


def list_key_policies(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, ListKeyPolicies: there is one, called default."""
    require(drawer, caller, params["KeyId"], by_alias=False)
    return {"PolicyNames": ["default"], "Truncated": False}


def _require_default(params: Params) -> None:
    if params.get("PolicyName", "default") != "default":
        raise Fault("NotFoundException", f"No such policy exists: {params['PolicyName']}. The only one is called default.")


# --- rotation ---


def enable_key_rotation(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, EnableKeyRotation: recorded; what a key seals is not sealed with anything that would wear out."""
    days = params.get("RotationPeriodInDays", 365)
    require_usable(caller, require(drawer, caller, params["KeyId"], by_alias=False))
    _changed(drawer, caller, params, rotation_days=days, rotating_since_ms=drawer.now_ms)
    return {}


def disable_key_rotation(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, DisableKeyRotation."""
    require_usable(caller, require(drawer, caller, params["KeyId"], by_alias=False))
    _changed(drawer, caller, params, rotation_days=0)
    return {}


def get_key_rotation_status(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, GetKeyRotationStatus."""
    document = require(drawer, caller, params["KeyId"], by_alias=False)
    days = document["rotation_days"]
    shown: Params = {"KeyRotationEnabled": bool(days) and document["state"] != PENDING_DELETION, "KeyId": document["id"]}
    if days:
        passed = (drawer.now_ms - document["rotating_since_ms"]) // (days * DAY_MS)
        shown["RotationPeriodInDays"] = days
        shown["NextRotationDate"] = (document["rotating_since_ms"] + (passed + 1) * days * DAY_MS) / 1000
    return shown


# --- tags ---


def tag_resource(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, TagResource."""
    document = require(drawer, caller, params["KeyId"], by_alias=False)
    _changed(drawer, caller, params, tags=_tags(document["tags"], params["Tags"]))
    return {}


def untag_resource(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, UntagResource."""
    document = require(drawer, caller, params["KeyId"], by_alias=False)
    _changed(drawer, caller, params, tags={key: value for key, value in document["tags"].items() if key not in params["TagKeys"]})
    return {}


def list_resource_tags(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, ListResourceTags: all on one page."""
    tags = require(drawer, caller, params["KeyId"], by_alias=False)["tags"]
    return {"Tags": [{"TagKey": key, "TagValue": value} for key, value in sorted(tags.items())], "Truncated": False}


def _tags(before: dict[str, str], added: list[Params]) -> dict[str, str]:
    for tag in added:
        if tag["TagKey"].lower().startswith("aws:"):
            raise Fault("TagException", f"Tag keys that begin with aws: are reserved: {tag['TagKey']}")
    tags = {**before, **{tag["TagKey"]: tag["TagValue"] for tag in added}}
    if len(tags) > TAGS_MAX:
        raise Fault("LimitExceededException", f"A key can have at most {TAGS_MAX} tags, not {len(tags)}.")
    return tags
