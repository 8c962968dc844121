"""Values of secrets: made, put, read, moved between stages; and passwords made up."""

from __future__ import annotations

import secrets
import string
import uuid

from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.services.desk import Sealing
from batchyard.services.secretsmanager.records import (
    CURRENT,
    KIND,
    PREVIOUS,
    context_of,
    find,
    invalid,
    is_over,
    new_arn,
    opened,
    refusal,
    refuse_reserved_tags,
    require,
    require_name,
    version_of,
)
from batchyard.store.shelf import Document, Drawer

VALUE_MAX_BYTES = 65_536
UNSTAGED_KEPT = 100


def create_secret(sealer: Sealing, drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, CreateSecret. The same request token with the same value again is the same secret."""
    name = params["Name"]
    require_name(name)
    _refuse_replicas(params)
    refuse_reserved_tags(caller, [tag.get("Key", "") for tag in params.get("Tags", [])])
    there = find(drawer, name)
    if there is not None and not is_over(there, drawer.now_ms):
        if there.get("deleted_at_ms"):
            raise invalid("You can't create this secret because a secret with this name is already scheduled for deletion.")
        token = params.get("ClientRequestToken")
        if token and any(version["id"] == token for version in there["versions"]):
            return {"ARN": there["arn"], "Name": name, "VersionId": token}
        raise Fault("ResourceExistsException", f"The operation failed because the secret {name} already exists.")
    secret: Document = {
        "name": name,
        "arn": new_arn(caller, name),
        "description": params.get("Description", ""),
        "kms_key": params.get("KmsKeyId", ""),
        "created_at_ms": drawer.now_ms,
        "changed_at_ms": drawer.now_ms,
        "tags": {tag["Key"]: tag.get("Value", "") for tag in params.get("Tags", []) if tag.get("Key")},
        "versions": [],
        "policy": "",
    }
    answer = {"ARN": secret["arn"], "Name": name}
    if "SecretString" in params or "SecretBinary" in params:
        answer["VersionId"] = _add(sealer, drawer, secret, params, [CURRENT])
    drawer.put(KIND, name, secret)
    return answer


def _refuse_replicas(params: Params) -> None:
    for member in ("AddReplicaRegions", "Type", "CrossAccountPrimaryARN"):
        if params.get(member):
            raise refusal(f"{member} is not available in this version of Batchyard: leave it out.")


def _add(sealer: Sealing, drawer: Drawer, secret: Document, params: Params, stages: list[str]) -> str:
    """Put a value as a new version with `stages`, which other versions lose; its id. Changes `secret`."""
    is_binary = "SecretBinary" in params
    if is_binary and "SecretString" in params:
        raise refusal("You can't specify both a binary secret value and a string secret value in the same secret.")
    if not is_binary and "SecretString" not in params:
        raise refusal("You must provide either SecretString or SecretBinary.")
    text = params["SecretBinary"] if is_binary else params["SecretString"].encode()
    if len(text) > VALUE_MAX_BYTES:
        raise refusal(f"The secret value is longer than {VALUE_MAX_BYTES} bytes.")
    version_id = params.get("ClientRequestToken") or str(uuid.uuid4())
    for version in secret["versions"]:
        if version["id"] == version_id:
            if sealer.open(version["sealed"], context_of(drawer, secret, version_id)) != text:
                raise Fault(
                    "ResourceExistsException",
                    f"You can't use ClientRequestToken {version_id} because that value is already in use for a version of secret "
                    f"{secret['arn']}.",
                )
            return version_id
    sealed = sealer.seal(text, context_of(drawer, secret, version_id))
    if CURRENT in stages and PREVIOUS not in stages:
        _move_to_previous(secret)
    for version in secret["versions"]:
        version["stages"] = [stage for stage in version["stages"] if stage not in stages]
    made = {"id": version_id, "stages": list(stages), "is_binary": is_binary, "sealed": sealed, "created_at_ms": drawer.now_ms}
    secret["versions"].append(made)
    unstaged = [version for version in secret["versions"] if not version["stages"]]
    for version in unstaged[:-UNSTAGED_KEPT]:
        secret["versions"].remove(version)
    secret["changed_at_ms"] = drawer.now_ms
    return version_id


def _move_to_previous(secret: Document) -> None:
    current = next((version for version in secret["versions"] if CURRENT in version["stages"]), None)
    if current is not None:
        for version in secret["versions"]:
            version["stages"] = [stage for stage in version["stages"] if stage != PREVIOUS]
        current["stages"].append(PREVIOUS)


def put_secret_value(sealer: Sealing, drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, PutSecretValue."""
    secret = require(drawer, params["SecretId"])
    version_id = _add(sealer, drawer, secret, params, params.get("VersionStages") or [CURRENT])
    drawer.put(KIND, secret["name"], secret)
    stages = version_of(secret, version_id=version_id)["stages"]
    return {"ARN": secret["arn"], "Name": secret["name"], "VersionId": version_id, "VersionStages": stages}


def update_secret(sealer: Sealing, drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, UpdateSecret."""
    secret = require(drawer, params["SecretId"])
    _refuse_replicas(params)
    if "Description" in params:
        secret["description"] = params["Description"]
    if "KmsKeyId" in params:
        secret["kms_key"] = params["KmsKeyId"]
    secret["changed_at_ms"] = drawer.now_ms
    answer = {"ARN": secret["arn"], "Name": secret["name"]}
    if "SecretString" in params or "SecretBinary" in params:
        answer["VersionId"] = _add(sealer, drawer, secret, params, [CURRENT])
    drawer.put(KIND, secret["name"], secret)
    return answer


def get_secret_value(sealer: Sealing, drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, GetSecretValue."""
    return shown_value(sealer, drawer, params["SecretId"], params.get("VersionId", ""), params.get("VersionStage", ""))


def shown_value(sealer: Sealing, drawer: Drawer, id: str, version_id: str, stage: str) -> Params:
    """A value as GetSecretValue shows it."""
    secret = require(drawer, id)
    version = version_of(secret, version_id=version_id, stage=stage)
    return {
        "ARN": secret["arn"],
        "Name": secret["name"],
        "VersionId": version["id"],
        "VersionStages": version["stages"],
        "CreatedDate": version["created_at_ms"] / 1000,
        **opened(sealer, drawer, secret, version),
    }


def batch_get_secret_value(sealer: Sealing, drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, BatchGetSecretValue: by ids; what cannot be read is listed."""
    if params.get("Filters") or not params.get("SecretIdList"):
        raise refusal("Filters are not available in this version of Batchyard: name the secrets in SecretIdList.")
    values, errors = [], []
    for id in params["SecretIdList"]:
        try:
            values.append(shown_value(sealer, drawer, id, "", ""))
        except Fault as fault:
            errors.append({"SecretId": id, "ErrorCode": fault.code, "Message": fault.message})
    return {"SecretValues": values, "Errors": errors}


def update_secret_version_stage(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, UpdateSecretVersionStage: moving AWSCURRENT leaves AWSPREVIOUS where it was."""
    secret, stage = require(drawer, params["SecretId"]), params["VersionStage"]
    holder = next((version for version in secret["versions"] if stage in version["stages"]), None)
    taken_from, moved_to = params.get("RemoveFromVersionId"), params.get("MoveToVersionId")
    if holder is not None and holder["id"] != taken_from and holder["id"] != moved_to:
        raise refusal(
            f"The parameter RemoveFromVersionId can't be empty. Staging label {stage} is currently attached to version {holder['id']}, so "
            "you must explicitly reference that version in RemoveFromVersionId."
        )
    if stage == CURRENT and not moved_to:
        raise refusal("You can only move staging label AWSCURRENT to a different secret version. It can't be completely removed.")
    if moved_to:
        target = version_of(secret, version_id=moved_to)
        if stage == CURRENT and holder is not target:
            _move_to_previous(secret)
    for version in secret["versions"]:
        version["stages"] = [one for one in version["stages"] if one != stage]
    if moved_to:
        target["stages"] = [one for one in target["stages"] if stage != CURRENT or one != PREVIOUS] + [stage]
    drawer.put(KIND, secret["name"], secret)
    return {"ARN": secret["arn"], "Name": secret["name"]}


def get_random_password(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, GetRandomPassword: 32 characters of all kinds unless it says otherwise."""
    kinds = {
        "ExcludeLowercase": string.ascii_lowercase,
        "ExcludeUppercase": string.ascii_uppercase,
        "ExcludeNumbers": string.digits,
        "ExcludePunctuation": string.punctuation,
    }
    excluded = params.get("ExcludeCharacters", "")
    pools = ["".join(c for c in letters if c not in excluded) for member, letters in kinds.items() if not params.get(member)]
    if params.get("IncludeSpace") and " " not in excluded:
        pools.append(" ")
    pools = [pool for pool in pools if pool]
    if not pools:
        raise refusal("Not enough characters in the password: all are excluded.")
    length = params.get("PasswordLength", 32)
    if params.get("RequireEachIncludedType", True) and length < len(pools):
        raise refusal("Password length is too short based on the required types.")
    first = [secrets.choice(pool) for pool in pools] if params.get("RequireEachIncludedType", True) else []
    everything = "".join(pools)
    letters = first + [secrets.choice(everything) for _ in range(length - len(first))]
    secrets.SystemRandom().shuffle(letters)
    return {"RandomPassword": "".join(letters)}
