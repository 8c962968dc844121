"""Secrets as a whole: described, listed, deleted with a window to come back in, tagged, and their policies."""

from __future__ import annotations

import json

from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.services.paging import page_of
from batchyard.services.secretsmanager.records import KIND, find, is_over, refusal, refuse_reserved_tags, require
from batchyard.services.tag_keys import RESERVED
from batchyard.store.shelf import Document, Drawer

DAY_MS = 86_400_000
TAGS_MAX = 50
_TOKEN = Fault("InvalidNextTokenException", "The specified NextToken is not valid.")


def describe_secret(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, DescribeSecret."""
    secret = require(drawer, params["SecretId"], is_deleted_ok=True)
    stages = {version["id"]: version["stages"] for version in secret["versions"] if version["stages"]}
    return {**_shown(secret), **({"VersionIdsToStages": stages} if stages else {})}


def _shown(secret: Document) -> Params:
    shown: Params = {
        "ARN": secret["arn"],
        "Name": secret["name"],
        "LastChangedDate": secret["changed_at_ms"] / 1000,
        "CreatedDate": secret["created_at_ms"] / 1000,
        "Tags": [{"Key": key, "Value": value} for key, value in secret["tags"].items()],
    }
    if secret["description"]:
        shown["Description"] = secret["description"]
    if secret["kms_key"]:
        shown["KmsKeyId"] = secret["kms_key"]
    if secret.get("deleted_at_ms"):
        shown["DeletedDate"] = secret["deleted_at_ms"] / 1000
    return shown


def list_secrets(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, ListSecrets: by time of making, newest first unless SortOrder says otherwise."""
    wanted = [s for s in drawer.all(KIND) if not is_over(s, drawer.now_ms)]
    if not params.get("IncludePlannedDeletion"):
        wanted = [s for s in wanted if not s.get("deleted_at_ms")]
    wanted = [s for s in wanted if all(_passes(s, one) for one in params.get("Filters", []))]
    by_name, is_rising = params.get("SortBy") == "name", params.get("SortOrder", "desc") == "asc"
    wanted.sort(key=lambda s: (s["name"] if by_name else "", s["created_at_ms"], s["name"]), reverse=not is_rising)
    numbered = [(f"{at:06}", secret) for at, secret in enumerate(wanted)]
    page, token = page_of(
        numbered,
        lambda one: one[0],
        limit=params.get("MaxResults", 100),
        token=params.get("NextToken"),
        purpose=("secrets", repr(params.get("Filters")), by_name, is_rising),
        invalid=_TOKEN,
    )
    shown = []
    for _, secret in page:
        stages = {version["id"]: version["stages"] for version in secret["versions"] if version["stages"]}
        shown.append({**_shown(secret), "SecretVersionsToStages": stages})
    return {"SecretList": shown, **({"NextToken": token} if token else {})}


def _passes(secret: Document, one: Params) -> bool:
    """A filter of ListSecrets: the beginning of a value, and `!` before it for the opposite."""
    key = one.get("Key", "all")
    texts = {
        "name": [secret["name"]],
        "description": [secret["description"]],
        "tag-key": list(secret["tags"]),
        "tag-value": list(secret["tags"].values()),
    }
    if key not in (*texts, "all"):
        return False
    searched = [text for found in texts.values() for text in found] if key == "all" else texts[key]
    for value in one.get("Values", []):
        is_not, sought = value.startswith("!"), value.removeprefix("!")
        if any(text.lower().startswith(sought.lower()) for text in searched) is not is_not:
            return True
    return False


def delete_secret(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, DeleteSecret: after 30 days, or a window of 7 to 30, or at once."""
    window, is_forced = params.get("RecoveryWindowInDays"), params.get("ForceDeleteWithoutRecovery", False)
    if window is not None and is_forced:
        raise refusal("You can't use ForceDeleteWithoutRecovery in conjunction with RecoveryWindowInDays.")
    if window is not None and not 7 <= window <= 30:
        raise refusal("The RecoveryWindowInDays value must be between 7 and 30 days (inclusive).")
    secret = find(drawer, params["SecretId"])
    if secret is None and is_forced and not params["SecretId"].startswith("arn:"):
        name = params["SecretId"]
        arn = f"arn:aws:secretsmanager:{caller.region}:{caller.account}:secret:{name}-000000"
        return {"ARN": arn, "Name": name, "DeletionDate": drawer.now_ms / 1000}
    secret = require(drawer, params["SecretId"], is_deleted_ok=is_forced)
    gone_at_ms = drawer.now_ms if is_forced else drawer.now_ms + (window or 30) * DAY_MS
    if is_forced:
        drawer.delete(KIND, secret["name"])
    else:
        drawer.put(KIND, secret["name"], {**secret, "deleted_at_ms": drawer.now_ms, "purge_at_ms": gone_at_ms})
    return {"ARN": secret["arn"], "Name": secret["name"], "DeletionDate": gone_at_ms / 1000}


def restore_secret(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, RestoreSecret."""
    secret = require(drawer, params["SecretId"], is_deleted_ok=True)
    kept = {name: value for name, value in secret.items() if name not in ("deleted_at_ms", "purge_at_ms")}
    drawer.put(KIND, secret["name"], kept)
    return {"ARN": secret["arn"], "Name": secret["name"]}


def list_secret_version_ids(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, ListSecretVersionIds."""
    secret = require(drawer, params["SecretId"], is_deleted_ok=True)
    versions = [version for version in secret["versions"] if version["stages"] or params.get("IncludeDeprecated")]
    numbered = [(f"{at:06}", version) for at, version in enumerate(versions)]
    page, token = page_of(
        numbered,
        lambda one: one[0],
        limit=params.get("MaxResults", 100),
        token=params.get("NextToken"),
        purpose=("versions", secret["arn"], bool(params.get("IncludeDeprecated"))),
        invalid=_TOKEN,
    )
    shown = [{"VersionId": v["id"], "VersionStages": v["stages"], "CreatedDate": v["created_at_ms"] / 1000} for _, v in page]
    answer = {"ARN": secret["arn"], "Name": secret["name"], "Versions": shown}
    return {**answer, "NextToken": token} if token else answer


def tag_resource(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, TagResource."""
    secret = require(drawer, params["SecretId"])
    refuse_reserved_tags(caller, [tag.get("Key", "") for tag in params["Tags"]])
    secret["tags"] |= {tag["Key"]: tag.get("Value", "") for tag in params["Tags"] if tag.get("Key")}
    if sum(not key.startswith(RESERVED) for key in secret["tags"]) > TAGS_MAX:
        raise refusal(f"A secret can have at most {TAGS_MAX} tags.")
    drawer.put(KIND, secret["name"], secret)
    return {}


def untag_resource(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, UntagResource."""
    secret = require(drawer, params["SecretId"])
    refuse_reserved_tags(caller, params["TagKeys"])
    secret["tags"] = {key: value for key, value in secret["tags"].items() if key not in params["TagKeys"]}
    drawer.put(KIND, secret["name"], secret)
    return {}


def put_resource_policy(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, PutResourcePolicy: recorded; other accounts, whom it would let in, do not exist here."""
    secret = require(drawer, params["SecretId"])
    try:
        is_policy = isinstance(json.loads(params["ResourcePolicy"]), dict)
    except (ValueError, RecursionError):
        is_policy = False
    if not is_policy:
        raise Fault("MalformedPolicyDocumentException", "This resource policy contains a syntax error.")
    drawer.put(KIND, secret["name"], {**secret, "policy": params["ResourcePolicy"]})
    return {"ARN": secret["arn"], "Name": secret["name"]}


def get_resource_policy(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, GetResourcePolicy."""
    secret = require(drawer, params["SecretId"])
    answer = {"ARN": secret["arn"], "Name": secret["name"]}
    return {**answer, "ResourcePolicy": secret["policy"]} if secret.get("policy") else answer


def delete_resource_policy(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, DeleteResourcePolicy."""
    secret = require(drawer, params["SecretId"])
    drawer.put(KIND, secret["name"], {**secret, "policy": ""})
    return {"ARN": secret["arn"], "Name": secret["name"]}
