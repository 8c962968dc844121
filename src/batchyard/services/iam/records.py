"""What IAM's operations share: how its documents are found, named and shown, and AWS's words when they are not there."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote

from batchyard.core.policy_documents import Malformed
from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.services.iam import aws_managed
from batchyard.services.paging import page_of
from batchyard.store.shelf import Document, Drawer

ROLE, USER, GROUP, POLICY, PROFILE, KEY = "role", "user", "group", "policy", "instance-profile", "access-key"
_WORDS = {
    ROLE: "The role with name {} cannot be found.",
    USER: "The user with name {} cannot be found.",
    GROUP: "The group with name {} cannot be found.",
    PROFILE: "Instance Profile {} cannot be found.",
    POLICY: "Policy {} was not found.",
}
TAGS_MAX = 50
PATH_RULE = (
    "The specified value for path is invalid. It must begin and end with / and contain only alphanumeric characters and/or / characters."
)


def no_such(kind: str, name: str) -> Fault:
    return Fault("NoSuchEntity", _WORDS[kind].format(name))


def conflict(message: str) -> Fault:
    return Fault("DeleteConflict", message)


def malformed(error: Malformed) -> Fault:
    return Fault("MalformedPolicyDocument", str(error))


def invalid(message: str) -> Fault:
    return Fault("ValidationError", message)


def find(drawer: Drawer, kind: str, name: str) -> Document | None:
    """A role, user, group or profile by name; AWS tells names apart without regard to case."""
    return drawer.get(kind, name.lower())


def require(drawer: Drawer, kind: str, name: str) -> Document:
    """As `find`, or NoSuchEntity."""
    document = find(drawer, kind, name)
    if document is None:
        raise no_such(kind, name)
    return document


def keep(drawer: Drawer, kind: str, document: Document) -> None:
    """Put a role, user, group or profile."""
    drawer.put(kind, document["name"].lower(), document)


def new_id(prefix: str) -> str:
    """AWS's unique ids: a prefix of four letters that says what it is, and 17 more characters."""
    return prefix + base64.b32encode(secrets.token_bytes(11)).decode()[:17]


def require_path(path: str) -> None:
    """AWS's rule for paths."""
    if not (path.startswith("/") and path.endswith("/")) or "//" in path:
        raise invalid(PATH_RULE)


def new_entity(caller: Caller, drawer: Drawer, kind: str, prefix: str, name: str, params: Params) -> Document:
    """What roles, users, groups and profiles have in common."""
    path = params.get("Path") or "/"
    require_path(path)
    return {
        "name": name,
        "path": path,
        "id": new_id(prefix),
        "arn": f"arn:aws:iam::{caller.account}:{kind}{path}{name}",
        "created_at_ms": drawer.now_ms,
        "tags": merged_tags({}, params.get("Tags", [])),
        "inline": {},
        "attached": [],
    }


def merged_tags(before: dict[str, str], added: Sequence[Params]) -> dict[str, str]:
    """Tags with others put over them. Faults for reserved, doubled and too many ones."""
    keys = [tag["Key"].lower() for tag in added]
    if len(set(keys)) != len(keys):
        raise Fault("InvalidInput", "Duplicate tag keys found. Please note that Tag keys are case insensitive.")
    if any(key.startswith("aws:") for key in keys):
        raise Fault("InvalidInput", "The tag keys that begin with aws: are reserved.")
    kept = {key: value for key, value in before.items() if key.lower() not in keys}
    tags = kept | {tag["Key"]: tag["Value"] for tag in added}
    if len(tags) > TAGS_MAX:
        raise Fault("LimitExceeded", f"The number of tags has reached the maximum limit: {TAGS_MAX}.")
    return tags


def shown_tags(document: Document) -> list[Params]:
    return [{"Key": key, "Value": value} for key, value in document.get("tags", {}).items()]


def encoded(text: str) -> str:
    """Policy documents travel percent-encoded (RFC 3986)."""
    return quote(text, safe="")


def paged(params: Params, items: Sequence[Any], name_of: Callable[[Any], str], member: str, shown: Callable[[Any], Any]) -> Params:
    """A page of a list of IAM: `items` by name, 100 unless MaxItems says otherwise."""
    ordered = sorted(items, key=name_of)
    purpose = (member, *(repr(params.get(k)) for k in ("PathPrefix", "RoleName", "UserName", "GroupName", "PolicyArn", "Scope")))
    page, marker = page_of(
        ordered,
        name_of,
        limit=params.get("MaxItems", 100),
        token=params.get("Marker"),
        purpose=purpose,
        invalid=invalid("Invalid Marker."),
    )
    answer: Params = {member: [shown(item) for item in page], "IsTruncated": bool(marker)}
    return {**answer, "Marker": marker} if marker else answer


def name_key(document: Document) -> str:
    return str(document["name"]).lower()


def under(params: Params, documents: Sequence[Document]) -> list[Document]:
    """Those whose path begins with PathPrefix."""
    prefix = params.get("PathPrefix", "/")
    return [document for document in documents if document["path"].startswith(prefix)]


# --- roles, users, groups as they are shown ---


def shown_entity(document: Document, kind: str, *, is_whole: bool) -> Params:
    """`kind` is Role, User, Group or InstanceProfile. Lists leave out tags and boundaries."""
    shown = {
        "Path": document["path"],
        f"{kind}Name": document["name"],
        f"{kind}Id": document["id"],
        "Arn": document["arn"],
        "CreateDate": document["created_at_ms"] / 1000,
    }
    if is_whole and kind != "Group" and document.get("tags"):
        shown["Tags"] = shown_tags(document)
    if is_whole and document.get("boundary"):
        boundary = {"PermissionsBoundaryType": "PermissionsBoundaryPolicy", "PermissionsBoundaryArn": document["boundary"]}
        shown["PermissionsBoundary"] = boundary
    return shown


def shown_role(document: Document, *, is_whole: bool = True) -> Params:
    shown = shown_entity(document, "Role", is_whole=is_whole)
    shown["AssumeRolePolicyDocument"] = encoded(document["trust"])
    shown["MaxSessionDuration"] = document.get("max_session_s", 3600)
    if document.get("description"):
        shown["Description"] = document["description"]
    if is_whole:
        shown["RoleLastUsed"] = {}
    return shown


# --- managed policies ---


def policy_document(drawer: Drawer, arn: str) -> str | None:
    """The document of a managed policy's default version, ours or AWS's; None when there is no such policy."""
    published = aws_managed.document_of(arn)
    if published is not None:
        return published
    policy = drawer.get(POLICY, arn)
    if policy is None:
        return None
    return str(next(version["document"] for version in policy["versions"] if version["id"] == policy["default"]))


def entities(drawer: Drawer) -> list[tuple[str, Document]]:
    """(kind, document) of everything that policies can be attached to."""
    return [(kind, document) for kind in (ROLE, USER, GROUP) for document in drawer.all(kind)]


def profiles_of(drawer: Drawer, role: str) -> list[Document]:
    """The instance profiles that a role is in."""
    return [profile for profile in drawer.all(PROFILE) if role.lower() in (name.lower() for name in profile["roles"])]
