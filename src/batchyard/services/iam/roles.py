"""Roles, the profiles that instances get them by, and the roles that belong to a service."""

from __future__ import annotations

import json
import uuid

from batchyard.core.policy_documents import Malformed, read_trust_policy
from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.services.iam.records import (
    PROFILE,
    ROLE,
    conflict,
    find,
    keep,
    malformed,
    name_key,
    new_entity,
    no_such,
    paged,
    policy_document,
    profiles_of,
    require,
    shown_entity,
    shown_role,
    under,
)
from batchyard.store.shelf import Document, Drawer

SERVICE_PATH = "/aws-service-role/"
DELETION = "service-linked-role-deletion"
# The names that do not follow from the service's own.
_SERVICE_ROLES = {
    "autoscaling": "AutoScaling",
    "batch": "Batch",
    "ecs": "ECS",
    "eks": "AmazonEKS",
    "elasticfilesystem": "AmazonElasticFileSystem",
    "fsx": "AmazonFSx",
    "spot": "EC2Spot",
    "spotfleet": "EC2SpotFleet",
    "ssm": "AmazonSSM",
}


def create_role(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, CreateRole."""
    name = params["RoleName"]
    if (params.get("Path") or "/").startswith(SERVICE_PATH):
        raise Fault("InvalidInput", "The path /aws-service-role/ is reserved: use CreateServiceLinkedRole.")
    if find(drawer, ROLE, name) is not None:
        raise Fault("EntityAlreadyExists", f"Role with name {name} already exists.")
    role = new_entity(caller, drawer, "role", "AROA", name, params)
    role["trust"] = _trust(params["AssumeRolePolicyDocument"])
    role["description"] = params.get("Description", "")
    role["max_session_s"] = params.get("MaxSessionDuration", 3600)
    if params.get("PermissionsBoundary"):
        role["boundary"] = boundary_of(drawer, params["PermissionsBoundary"])
    keep(drawer, ROLE, role)
    return {"Role": shown_role(role)}


def _trust(text: str) -> str:
    try:
        read_trust_policy(text)
    except Malformed as error:
        raise malformed(error) from None
    return text


def boundary_of(drawer: Drawer, arn: str) -> str:
    """The ARN of a policy that can be a boundary. NoSuchEntity when it is not there."""
    if policy_document(drawer, arn) is None:
        raise Fault("NoSuchEntity", f"Scope ARN: {arn} does not exist or is not attachable.")
    return arn


def get_role(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, GetRole."""
    return {"Role": shown_role(require(drawer, ROLE, params["RoleName"]))}


def list_roles(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, ListRoles: without tags and boundaries, as on AWS."""
    return paged(params, under(params, drawer.all(ROLE)), name_key, "Roles", lambda role: shown_role(role, is_whole=False))


def update_role(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, UpdateRole."""
    role = _own_role(drawer, params["RoleName"], is_allowed=True)
    role["description"] = params.get("Description", "")
    role["max_session_s"] = params.get("MaxSessionDuration", 3600)
    keep(drawer, ROLE, role)
    return {}


def update_role_description(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, UpdateRoleDescription."""
    role = require(drawer, ROLE, params["RoleName"])
    role["description"] = params["Description"]
    keep(drawer, ROLE, role)
    return {"Role": shown_role(role)}


def update_assume_role_policy(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, UpdateAssumeRolePolicy."""
    role = _own_role(drawer, params["RoleName"])
    role["trust"] = _trust(params["PolicyDocument"])
    keep(drawer, ROLE, role)
    return {}


def delete_role(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, DeleteRole."""
    role = _own_role(drawer, params["RoleName"])
    if profiles_of(drawer, role["name"]):
        raise conflict("Cannot delete entity, must remove roles from instance profile first.")
    if role["attached"]:
        raise conflict("Cannot delete entity, must detach all policies first.")
    if role["inline"]:
        raise conflict("Cannot delete entity, must delete policies first.")
    drawer.delete(ROLE, role["name"].lower())
    return {}


def _own_role(drawer: Drawer, name: str, *, is_allowed: bool = False) -> Document:
    """A role that its account may change: those of services are changed by the services."""
    role = require(drawer, ROLE, name)
    if role["path"].startswith(SERVICE_PATH) and not is_allowed:
        service = role["path"].removeprefix(SERVICE_PATH).rstrip("/")
        raise Fault(
            "UnmodifiableEntity",
            f"Cannot perform the operation on the protected role '{name}' - this role is only modifiable by AWS ({service})",
        )
    return role


# --- instance profiles ---


def create_instance_profile(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, CreateInstanceProfile."""
    name = params["InstanceProfileName"]
    if find(drawer, PROFILE, name) is not None:
        raise Fault("EntityAlreadyExists", f"Instance Profile {name} already exists.")
    profile = {**new_entity(caller, drawer, "instance-profile", "AIPA", name, params), "roles": []}
    keep(drawer, PROFILE, profile)
    return {"InstanceProfile": shown_profile(drawer, profile)}


def shown_profile(drawer: Drawer, profile: Document, *, is_whole: bool = True) -> Params:
    roles = [role for name in profile["roles"] if (role := find(drawer, ROLE, name)) is not None]
    return {
        **shown_entity(profile, "InstanceProfile", is_whole=is_whole),
        "Roles": [shown_role(role, is_whole=False) for role in roles],
    }


def get_instance_profile(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, GetInstanceProfile."""
    return {"InstanceProfile": shown_profile(drawer, require(drawer, PROFILE, params["InstanceProfileName"]))}


def delete_instance_profile(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, DeleteInstanceProfile."""
    profile = require(drawer, PROFILE, params["InstanceProfileName"])
    if profile["roles"]:
        raise conflict("Cannot delete entity, must remove roles from instance profile first.")
    drawer.delete(PROFILE, profile["name"].lower())
    return {}


def list_instance_profiles(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, ListInstanceProfiles."""
    found = under(params, drawer.all(PROFILE))
    return paged(params, found, name_key, "InstanceProfiles", lambda profile: shown_profile(drawer, profile, is_whole=False))


def list_instance_profiles_for_role(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, ListInstanceProfilesForRole."""
    role = require(drawer, ROLE, params["RoleName"])
    found = profiles_of(drawer, role["name"])
    return paged(params, found, name_key, "InstanceProfiles", lambda profile: shown_profile(drawer, profile, is_whole=False))


def add_role_to_instance_profile(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, AddRoleToInstanceProfile."""
    profile = require(drawer, PROFILE, params["InstanceProfileName"])
    role = require(drawer, ROLE, params["RoleName"])
    if profile["roles"]:
        raise Fault("LimitExceeded", "Cannot exceed quota for InstanceSessionsPerInstanceProfile: 1")
    profile["roles"].append(role["name"])
    keep(drawer, PROFILE, profile)
    return {}


def remove_role_from_instance_profile(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, RemoveRoleFromInstanceProfile."""
    profile = require(drawer, PROFILE, params["InstanceProfileName"])
    role = require(drawer, ROLE, params["RoleName"])
    if role["name"] not in profile["roles"]:
        raise no_such(ROLE, params["RoleName"])
    profile["roles"].remove(role["name"])
    keep(drawer, PROFILE, profile)
    return {}


# --- roles of services ---


def create_service_linked_role(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, CreateServiceLinkedRole."""
    service, suffix = params["AWSServiceName"], params.get("CustomSuffix")
    prefix = service.partition(".")[0]
    if not service.endswith((".amazonaws.com", ".amazonaws.com.cn")):
        raise Fault("InvalidInput", f"Invalid service principal: {service}")
    title = _SERVICE_ROLES.get(prefix) or "".join(part.capitalize() for part in prefix.split("-"))
    name = f"AWSServiceRoleFor{title}" + (f"_{suffix}" if suffix else "")
    if find(drawer, ROLE, name) is not None:
        words = f"Service role name {name} has been taken in this account, please try a different suffix."
        raise Fault("InvalidInput", words)
    role = new_entity(caller, drawer, "role", "AROA", name, {"Path": f"{SERVICE_PATH}{service}/"})
    allowed = {"Effect": "Allow", "Principal": {"Service": [service]}, "Action": ["sts:AssumeRole"]}
    role |= {"trust": json.dumps({"Version": "2012-10-17", "Statement": [allowed]}), "description": params.get("Description", "")}
    keep(drawer, ROLE, role)
    return {"Role": shown_role(role)}


def delete_service_linked_role(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, DeleteServiceLinkedRole. No service here holds on to its role: it goes at once."""
    role = require(drawer, ROLE, params["RoleName"])
    if not role["path"].startswith(SERVICE_PATH):
        raise no_such(ROLE, params["RoleName"])
    drawer.delete(ROLE, role["name"].lower())
    task = f"task{role['path']}{role['name']}/{uuid.uuid4()}"
    drawer.put(DELETION, task, {"ended_at_ms": drawer.now_ms})
    return {"DeletionTaskId": task}


def get_service_linked_role_deletion_status(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, GetServiceLinkedRoleDeletionStatus."""
    if drawer.get(DELETION, params["DeletionTaskId"]) is None:
        raise Fault("NoSuchEntity", f"Deletion task {params['DeletionTaskId']} does not exist.")
    return {"Status": "SUCCEEDED"}
