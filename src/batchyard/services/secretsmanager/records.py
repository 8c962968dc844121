"""Secrets as they are kept: versions with stages, their text sealed, and how ids and ARNs lead to them."""

from __future__ import annotations

import re
import secrets
import string
from collections.abc import Iterable

from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.services.desk import Sealing
from batchyard.services.tag_keys import is_reserved
from batchyard.store.shelf import Document, Drawer

KIND = "secret"
CURRENT, PREVIOUS = "AWSCURRENT", "AWSPREVIOUS"
_NAME = re.compile(r"[A-Za-z0-9/_+=.@\-]{1,512}")
_SUFFIX = re.compile(r"-[A-Za-z0-9]{6}")


def refusal(message: str) -> Fault:
    return Fault("InvalidParameterException", message)


def invalid(message: str) -> Fault:
    return Fault("InvalidRequestException", message)


def not_found(message: str = "Secrets Manager can't find the specified secret.") -> Fault:
    return Fault("ResourceNotFoundException", message)


def refuse_reserved_tags(caller: Caller, keys: Iterable[str]) -> None:
    """Refuse keys of tags that are not the caller's to give or to take away."""
    if any(is_reserved(caller, key) for key in keys):
        raise refusal("Tag keys that begin with aws: are reserved.")


def require_name(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise Fault(
            "ValidationException",
            "Invalid name. Must be a valid name containing alphanumeric characters, or any of the following: -/_+=.@!",
        )


def new_arn(caller: Caller, name: str) -> str:
    """With the six characters that AWS puts behind a name, so that a secret made again is another one."""
    letters = string.ascii_letters + string.digits
    suffix = "".join(secrets.choice(letters) for _ in range(6))
    return f"arn:aws:secretsmanager:{caller.region}:{caller.account}:secret:{name}-{suffix}"


def find(drawer: Drawer, id: str) -> Document | None:
    """By name, by ARN, or by an ARN without its last six characters."""
    if not id.startswith("arn:"):
        return drawer.get(KIND, id)
    name = id.split(":", 6)[6] if id.count(":") >= 6 else ""
    for candidate in (name[:-7] if _SUFFIX.fullmatch(name[-7:]) else "", name):
        secret = drawer.get(KIND, candidate) if candidate else None
        if secret is not None and secret["arn"] in (id, id + secret["arn"][-7:]):
            return secret
    return None


def require(drawer: Drawer, id: str, *, is_deleted_ok: bool = False) -> Document:
    """The secret, or AWS's refusal; one that is to be deleted can only be described, restored or deleted."""
    secret = find(drawer, id)
    if secret is None:
        raise not_found()
    if secret.get("deleted_at_ms") and not is_deleted_ok:
        raise invalid("You can't perform this operation on the secret because it was marked for deletion.")
    return secret


def is_over(secret: Document, now_ms: int) -> bool:
    """Whether a secret's recovery window has passed: it is as good as gone."""
    return bool(secret.get("deleted_at_ms")) and int(secret["purge_at_ms"]) <= now_ms


def context_of(drawer: Drawer, secret: Document, version_id: str) -> str:
    """What a version is sealed for."""
    return f"secret {drawer.place.account} {drawer.place.region} {secret['arn']} {version_id}"


def version_of(secret: Document, *, version_id: str = "", stage: str = "") -> Document:
    """The version with an id, with a stage, or with both; by default the current one."""
    wanted = stage or ("" if version_id else CURRENT)
    for version in secret["versions"]:
        if (not version_id or version["id"] == version_id) and (not wanted or wanted in version["stages"]):
            return version  # type: ignore[no-any-return]
    if version_id and stage:
        raise invalid("You provided a VersionStage that is not associated to the provided VersionId.")
    what = f"VersionId: {version_id}" if version_id else f"staging label: {wanted}"
    raise not_found(f"Secrets Manager can't find the specified secret value for {what}")


def opened(sealer: Sealing, drawer: Drawer, secret: Document, version: Document) -> Params:
    """`SecretString` or `SecretBinary` in clear."""
    text = sealer.open(version["sealed"], context_of(drawer, secret, version["id"]))
    return {"SecretBinary": text} if version["is_binary"] else {"SecretString": text.decode()}
