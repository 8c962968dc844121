"""Managed policies with their versions: the account's own, and AWS's, which can be read and attached but not changed."""

from __future__ import annotations

from batchyard.core.policy_documents import Malformed, read_policy
from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.services.iam import aws_managed
from batchyard.services.iam.attachments import path_in
from batchyard.services.iam.records import (
    GROUP,
    PATH_RULE,
    POLICY,
    ROLE,
    USER,
    conflict,
    encoded,
    entities,
    invalid,
    malformed,
    merged_tags,
    new_id,
    no_such,
    paged,
    shown_tags,
)
from batchyard.store.shelf import Document, Drawer

VERSIONS_MAX = 5
CHARACTERS_MAX = 6144
_AWS_SINCE_MS = 1_423_241_820_000


def create_policy(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, CreatePolicy."""
    name, path = params["PolicyName"], params.get("Path") or "/"
    if not (path.startswith("/") and path.endswith("/")):
        raise invalid(PATH_RULE)
    arn = f"arn:aws:iam::{caller.account}:policy{path}{name}"
    if any(policy["name"].lower() == name.lower() for policy in drawer.all(POLICY)):
        raise Fault("EntityAlreadyExists", f"A policy called {name} already exists. Duplicate names are not allowed.")
    _require_policy(params["PolicyDocument"])
    policy = {
        "name": name,
        "path": path,
        "id": new_id("ANPA"),
        "arn": arn,
        "description": params.get("Description", ""),
        "created_at_ms": drawer.now_ms,
        "updated_at_ms": drawer.now_ms,
        "tags": merged_tags({}, params.get("Tags", [])),
        "versions": [{"id": "v1", "document": params["PolicyDocument"], "created_at_ms": drawer.now_ms}],
        "default": "v1",
        "last_version": 1,
    }
    drawer.put(POLICY, arn, policy)
    return {"Policy": _shown(policy, 0, 0, is_whole=True)}


def _require_policy(text: str) -> None:
    try:
        read_policy(text)
    except Malformed as error:
        raise malformed(error) from None
    if len("".join(text.split())) > CHARACTERS_MAX:
        raise Fault("LimitExceeded", f"Cannot exceed quota for PolicySize: {CHARACTERS_MAX}")


def require(drawer: Drawer, arn: str) -> Document:
    """A managed policy, ours or AWS's. NoSuchEntity when there is none."""
    published = aws_managed.document_of(arn)
    if published is None:
        policy = drawer.get(POLICY, arn)
        if policy is None:
            raise no_such(POLICY, arn)
        return policy
    name = arn.rpartition("/")[2]
    return {
        "name": name,
        "path": path_in(arn),
        "id": "ANPA" + name.upper().ljust(17, "A")[:17],
        "arn": arn,
        "created_at_ms": _AWS_SINCE_MS,
        "updated_at_ms": _AWS_SINCE_MS,
        "versions": [{"id": "v1", "document": published, "created_at_ms": _AWS_SINCE_MS}],
        "default": "v1",
    }


def _own(drawer: Drawer, arn: str) -> Document:
    if arn.startswith("arn:aws:iam::aws:"):
        raise Fault("AccessDenied", f"{arn} is managed by AWS and cannot be changed: make a policy of your own.")
    return require(drawer, arn)


def _uses(drawer: Drawer) -> tuple[dict[str, int], dict[str, int]]:
    """How often each policy is attached, and how often it is a boundary."""
    attached: dict[str, int] = {}
    bounds: dict[str, int] = {}
    for _, entity in entities(drawer):
        for arn in entity["attached"]:
            attached[arn] = attached.get(arn, 0) + 1
        if entity.get("boundary"):
            bounds[entity["boundary"]] = bounds.get(entity["boundary"], 0) + 1
    return attached, bounds


def _shown(policy: Document, attached: int, bounds: int, *, is_whole: bool) -> Params:
    shown = {
        "PolicyName": policy["name"],
        "PolicyId": policy["id"],
        "Arn": policy["arn"],
        "Path": policy["path"],
        "DefaultVersionId": policy["default"],
        "AttachmentCount": attached,
        "PermissionsBoundaryUsageCount": bounds,
        "IsAttachable": True,
        "CreateDate": policy["created_at_ms"] / 1000,
        "UpdateDate": policy["updated_at_ms"] / 1000,
    }
    if is_whole:
        shown["Tags"] = shown_tags(policy)
        if policy.get("description"):
            shown["Description"] = policy["description"]
    return shown


def get_policy(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, GetPolicy."""
    policy = require(drawer, params["PolicyArn"])
    attached, bounds = _uses(drawer)
    return {"Policy": _shown(policy, attached.get(policy["arn"], 0), bounds.get(policy["arn"], 0), is_whole=True)}


def list_policies(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, ListPolicies."""
    scope, usage = params.get("Scope", "All"), params.get("PolicyUsageFilter")
    attached, bounds = _uses(drawer)
    found = [] if scope == "AWS" else drawer.all(POLICY)
    if scope != "Local":
        found += [require(drawer, arn) for arn in aws_managed.ARNS]
    used = bounds if usage == "PermissionsBoundary" else attached
    prefix = params.get("PathPrefix", "/")
    wanted = [p for p in found if p["path"].startswith(prefix) and (p["arn"] in used or not (params.get("OnlyAttached") or usage))]

    def shown(policy: Document) -> Params:
        return _shown(policy, attached.get(policy["arn"], 0), bounds.get(policy["arn"], 0), is_whole=False)

    return paged(params, wanted, lambda policy: str(policy["arn"]), "Policies", shown)


def delete_policy(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, DeletePolicy."""
    policy = _own(drawer, params["PolicyArn"])
    attached, bounds = _uses(drawer)
    if policy["arn"] in attached or policy["arn"] in bounds:
        raise conflict("Cannot delete a policy attached to entities.")
    if len(policy["versions"]) > 1:
        raise conflict(
            "This policy has more than one version. Before you delete a policy, you must delete the policy's versions. "
            "The default version is deleted with the policy."
        )
    drawer.delete(POLICY, policy["arn"])
    return {}


# --- versions ---


def create_policy_version(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, CreatePolicyVersion."""
    policy = _own(drawer, params["PolicyArn"])
    _require_policy(params["PolicyDocument"])
    if len(policy["versions"]) >= VERSIONS_MAX:
        raise Fault(
            "LimitExceeded",
            "A managed policy can have up to 5 versions. Before you create a new version, you must delete an existing version.",
        )
    policy["last_version"] += 1
    version = {"id": f"v{policy['last_version']}", "document": params["PolicyDocument"], "created_at_ms": drawer.now_ms}
    policy["versions"].append(version)
    policy["updated_at_ms"] = drawer.now_ms
    if params.get("SetAsDefault"):
        policy["default"] = version["id"]
    drawer.put(POLICY, policy["arn"], policy)
    shown = _shown_version(policy, version)
    del shown["Document"]
    return {"PolicyVersion": shown}


def _shown_version(policy: Document, version: Document) -> Params:
    return {
        "Document": encoded(version["document"]),
        "VersionId": version["id"],
        "IsDefaultVersion": version["id"] == policy["default"],
        "CreateDate": version["created_at_ms"] / 1000,
    }


def _version(policy: Document, version_id: str) -> Document:
    for version in policy["versions"]:
        if version["id"] == version_id:
            return version  # type: ignore[no-any-return]
    raise Fault("NoSuchEntity", f"Policy {policy['arn']} version {version_id} does not exist or is not attachable.")


def get_policy_version(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, GetPolicyVersion."""
    policy = require(drawer, params["PolicyArn"])
    return {"PolicyVersion": _shown_version(policy, _version(policy, params["VersionId"]))}


def list_policy_versions(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, ListPolicyVersions: newest first, without documents."""
    policy = require(drawer, params["PolicyArn"])

    def shown(version: Document) -> Params:
        return {name: value for name, value in _shown_version(policy, version).items() if name != "Document"}

    return paged(params, policy["versions"], lambda version: f"{9999 - int(version['id'][1:]):04}", "Versions", shown)


def set_default_policy_version(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, SetDefaultPolicyVersion."""
    policy = _own(drawer, params["PolicyArn"])
    policy["default"] = _version(policy, params["VersionId"])["id"]
    policy["updated_at_ms"] = drawer.now_ms
    drawer.put(POLICY, policy["arn"], policy)
    return {}


def delete_policy_version(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, DeletePolicyVersion."""
    policy = _own(drawer, params["PolicyArn"])
    version = _version(policy, params["VersionId"])
    if version["id"] == policy["default"]:
        raise conflict("Cannot delete the default version of a policy.")
    policy["versions"].remove(version)
    drawer.put(POLICY, policy["arn"], policy)
    return {}


# --- who has it; tags ---


def list_entities_for_policy(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, ListEntitiesForPolicy."""
    arn = require(drawer, params["PolicyArn"])["arn"]
    wanted, prefix = params.get("EntityFilter"), params.get("PathPrefix", "/")
    usage = params.get("PolicyUsageFilter")
    members = {ROLE: ("PolicyRoles", "Role"), USER: ("PolicyUsers", "User"), GROUP: ("PolicyGroups", "Group")}
    answer: Params = {member: [] for member, _ in members.values()} | {"IsTruncated": False}
    for kind, entity in entities(drawer):
        member, title = members[kind]
        has = (usage != "PermissionsBoundary" and arn in entity["attached"]) or (
            usage != "PermissionsPolicy" and entity.get("boundary") == arn
        )
        if has and wanted in (None, title) and entity["path"].startswith(prefix):
            answer[member].append({f"{title}Name": entity["name"], f"{title}Id": entity["id"]})
    return answer


def tag_policy(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, TagPolicy."""
    policy = _own(drawer, params["PolicyArn"])
    policy["tags"] = merged_tags(policy["tags"], params["Tags"])
    drawer.put(POLICY, policy["arn"], policy)
    return {}


def untag_policy(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, UntagPolicy."""
    policy = _own(drawer, params["PolicyArn"])
    gone = {key.lower() for key in params["TagKeys"]}
    policy["tags"] = {key: value for key, value in policy["tags"].items() if key.lower() not in gone}
    drawer.put(POLICY, policy["arn"], policy)
    return {}


def list_policy_tags(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, ListPolicyTags."""
    return paged(params, shown_tags(require(drawer, params["PolicyArn"])), lambda one: str(one["Key"]), "Tags", dict)
