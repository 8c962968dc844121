"""KMS keys as documents on the shelf: how they are named, found and shown, and in which state they can be used."""

from __future__ import annotations

import json
import re
from typing import Any

from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.store.shelf import Document, Drawer

KEY, ALIAS = "key", "alias"
SYMMETRIC = "SYMMETRIC_DEFAULT"
ENABLED, DISABLED, PENDING_DELETION = "Enabled", "Disabled", "PendingDeletion"
_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def key_arn(caller: Caller, key_id: str) -> str:
    return f"arn:aws:kms:{caller.region}:{caller.account}:key/{key_id}"


def alias_arn(caller: Caller, name: str) -> str:
    return f"arn:aws:kms:{caller.region}:{caller.account}:{name}"


def keys(drawer: Drawer) -> list[Document]:
    """All keys, by id, without those whose time to be deleted has come."""
    return [document for document in drawer.all(KEY) if not is_gone(document, drawer.now_ms)]


def aliases(drawer: Drawer) -> list[Document]:
    """All aliases of keys that are there, by name."""
    there = {document["id"] for document in keys(drawer)}
    return [document for document in drawer.all(ALIAS) if document["key_id"] in there]


def is_gone(document: Document, now_ms: int) -> bool:
    """Whether the key's deletion date has passed."""
    return document["state"] == PENDING_DELETION and bool(document["deleted_at_ms"] <= now_ms)


def forget_gone(drawer: Drawer) -> None:
    """Delete keys whose date has passed, for good, with their aliases: nothing that they sealed can be opened any more."""
    gone = {document["id"] for document in drawer.all(KEY) if is_gone(document, drawer.now_ms)}
    if not gone:
        return
    for document in drawer.all(ALIAS):
        if document["key_id"] in gone:
            drawer.delete(ALIAS, document["name"])
    for key_id in gone:
        drawer.delete(KEY, key_id)


def find_alias(drawer: Drawer, name: str) -> Document | None:
    """The alias of that name (with `alias/`), if its key is there."""
    alias = drawer.get(ALIAS, name)
    key = drawer.get(KEY, alias["key_id"]) if alias else None
    return alias if key and not is_gone(key, drawer.now_ms) else None


def require(drawer: Drawer, caller: Caller, asked: str, *, by_alias: bool = True) -> Document:
    """The key of an id, a key's ARN, or where that is allowed an alias or its ARN. NotFoundException."""
    name = asked
    if asked.startswith("arn:"):
        parts = asked.split(":", 5)
        if len(parts) != 6 or parts[2] != "kms":
            raise Fault("InvalidArnException", f"{asked} is not a valid ARN of KMS")
        if (parts[3], parts[4]) != (caller.region, caller.account):
            raise not_found(asked)
        name = parts[5].removeprefix("key/")
    if name.startswith("alias/") and by_alias:
        alias = find_alias(drawer, name)
        if alias is None:
            raise Fault("NotFoundException", f"Alias {alias_arn(caller, name)} is not found.")
        name = alias["key_id"]
    elif not _ID.fullmatch(name):
        raise Fault("NotFoundException", f"Invalid keyId '{asked}'")
    document = drawer.get(KEY, name)
    if document is None or is_gone(document, drawer.now_ms):
        raise not_found(key_arn(caller, name))
    return document


def not_found(arn: str) -> Fault:
    return Fault("NotFoundException", f"Key '{arn}' does not exist")


def require_not_pending(caller: Caller, document: Document) -> None:
    """KMSInvalidStateException for a key that is to be deleted: nothing about it can be changed."""
    if document["state"] == PENDING_DELETION:
        raise Fault("KMSInvalidStateException", f"{key_arn(caller, document['id'])} is pending deletion.")


def require_usable(caller: Caller, document: Document) -> None:
    """KMSInvalidStateException or DisabledException for a key that cannot be used."""
    require_not_pending(caller, document)
    if document["state"] == DISABLED:
        raise Fault("DisabledException", f"{key_arn(caller, document['id'])} is disabled.")


def metadata(caller: Caller, document: Document) -> Params:
    """The members of KeyMetadata."""
    shown: Params = {
        "AWSAccountId": caller.account,
        "KeyId": document["id"],
        "Arn": key_arn(caller, document["id"]),
        "CreationDate": document["created_at_ms"] / 1000,
        "Enabled": document["state"] == ENABLED,
        "Description": document["description"],
        "KeyUsage": "ENCRYPT_DECRYPT",
        "KeyState": document["state"],
        "Origin": "AWS_KMS",
        "KeyManager": "CUSTOMER",
        "CustomerMasterKeySpec": SYMMETRIC,
        "KeySpec": SYMMETRIC,
        "EncryptionAlgorithms": [SYMMETRIC],
        "MultiRegion": False,
    }
    if document["state"] == PENDING_DELETION:
        shown["DeletionDate"] = document["deleted_at_ms"] / 1000
    return shown


def policy_of(text: str) -> str:
    """A key policy as it is kept. MalformedPolicyDocumentException for what is none."""
    try:
        document: Any = json.loads(text)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict) or not document.get("Statement"):
        raise Fault("MalformedPolicyDocumentException", "The new key policy is not a valid policy document: it needs statements in JSON")
    return text


def default_policy(caller: Caller) -> str:
    """What AWS gives to a key that is created without a policy: the account decides by IAM's policies."""
    statement = {
        "Sid": "Enable IAM User Permissions",
        "Effect": "Allow",
        "Principal": {"AWS": f"arn:aws:iam::{caller.account}:root"},
        "Action": "kms:*",
        "Resource": "*",
    }
    return json.dumps({"Version": "2012-10-17", "Id": "key-default-1", "Statement": [statement]}, indent=2)
