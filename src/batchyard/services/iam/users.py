"""Users, their access keys, and the groups that they are in."""

from __future__ import annotations

import base64
import secrets

from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.services.desk import Sealing
from batchyard.services.iam.records import (
    GROUP,
    KEY,
    USER,
    conflict,
    find,
    invalid,
    keep,
    name_key,
    new_entity,
    no_such,
    paged,
    require,
    require_path,
    shown_entity,
    under,
)
from batchyard.services.iam.roles import boundary_of
from batchyard.store.shelf import Document, Drawer

KEYS_MAX = 2


def user_in_arn(arn: str) -> str | None:
    """The name in `arn:aws:iam::123456789012:user/path/name`; None of any other principal."""
    kind, slash, name = arn.rpartition(":")[2].partition("/")
    return name.rpartition("/")[2] if slash and kind == "user" else None


def create_user(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, CreateUser."""
    name = params["UserName"]
    if find(drawer, USER, name) is not None:
        raise Fault("EntityAlreadyExists", f"User with name {name} already exists.")
    user = {**new_entity(caller, drawer, "user", "AIDA", name, params), "groups": []}
    if params.get("PermissionsBoundary"):
        user["boundary"] = boundary_of(drawer, params["PermissionsBoundary"])
    keep(drawer, USER, user)
    return {"User": shown_entity(user, "User", is_whole=True)}


def get_user(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, GetUser: without a name, whoever asks."""
    name = params.get("UserName") or user_in_arn(caller.arn)
    if name is None and caller.is_root:
        # The root identity has neither name nor path on AWS either.
        return {"User": {"UserId": caller.account, "Arn": caller.arn, "CreateDate": 0.0}}
    if name is None:
        raise invalid("Must specify userName when calling with non-User credentials")
    return {"User": shown_entity(require(drawer, USER, name), "User", is_whole=True)}


def list_users(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, ListUsers."""
    found = under(params, drawer.all(USER))
    return paged(params, found, name_key, "Users", lambda user: shown_entity(user, "User", is_whole=False))


def update_user(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, UpdateUser: another name, another path, or both."""
    user = require(drawer, USER, params["UserName"])
    name, path = params.get("NewUserName") or user["name"], params.get("NewPath") or user["path"]
    require_path(path)
    if name.lower() != user["name"].lower() and find(drawer, USER, name) is not None:
        raise Fault("EntityAlreadyExists", f"User with name {name} already exists.")
    drawer.delete(USER, user["name"].lower())
    for key_id, key in drawer.entries(KEY):
        if key["user"] == user["name"]:
            drawer.put(KEY, key_id, {**key, "user": name})
    keep(drawer, USER, {**user, "name": name, "path": path, "arn": f"arn:aws:iam::{caller.account}:user{path}{name}"})
    return {}


def delete_user(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, DeleteUser."""
    user = require(drawer, USER, params["UserName"])
    if user["inline"]:
        raise conflict("Cannot delete entity, must delete policies first.")
    if user["attached"]:
        raise conflict("Cannot delete entity, must detach all policies first.")
    if keys_of(drawer, user["name"]):
        raise conflict("Cannot delete entity, must delete access keys first.")
    if user["groups"]:
        raise conflict("Cannot delete entity, must remove users from group first.")
    drawer.delete(USER, user["name"].lower())
    return {}


# --- access keys ---


def keys_of(drawer: Drawer, user: str) -> list[tuple[str, Document]]:
    """(access key id, record) of a user's keys."""
    return [(key_id, key) for key_id, key in drawer.entries(KEY) if key["user"] == user]


def _owner(drawer: Drawer, caller: Caller, params: Params) -> Document:
    name = params.get("UserName") or user_in_arn(caller.arn)
    if name is None:
        raise invalid("Must specify userName: the root identity has the key of the folder, and no other.")
    return require(drawer, USER, name)


def create_access_key(sealer: Sealing, drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, CreateAccessKey: the secret is told once. Requests that it signs are the user's."""
    user = _owner(drawer, caller, params)
    if len(keys_of(drawer, user["name"])) >= KEYS_MAX:
        raise Fault("LimitExceeded", f"Cannot exceed quota for AccessKeysPerUser: {KEYS_MAX}")
    key_id = "AKIA" + base64.b32encode(secrets.token_bytes(10)).decode()
    secret = base64.b64encode(secrets.token_bytes(30)).decode()
    key = {
        "user": user["name"],
        "secret": sealer.seal(secret.encode(), f"iam {key_id}"),
        "status": "Active",
        "created_at_ms": drawer.now_ms,
    }
    drawer.put(KEY, key_id, key)
    return {"AccessKey": {**_shown_key(key_id, key), "SecretAccessKey": secret}}


def _shown_key(key_id: str, key: Document) -> Params:
    return {"UserName": key["user"], "AccessKeyId": key_id, "Status": key["status"], "CreateDate": key["created_at_ms"] / 1000}


def list_access_keys(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, ListAccessKeys."""
    if params.get("UserName") is None and caller.is_root:
        return {"AccessKeyMetadata": [], "IsTruncated": False}
    keys = keys_of(drawer, _owner(drawer, caller, params)["name"])
    return paged(params, keys, lambda key: key[0], "AccessKeyMetadata", lambda key: _shown_key(*key))


def _key(drawer: Drawer, caller: Caller, params: Params) -> Document:
    owner, key = _owner(drawer, caller, params), drawer.get(KEY, params["AccessKeyId"])
    if key is None or key["user"] != owner["name"]:
        raise Fault("NoSuchEntity", f"The Access Key with id {params['AccessKeyId']} cannot be found.")
    return key


def update_access_key(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, UpdateAccessKey: an inactive key signs nothing."""
    if params["Status"] not in ("Active", "Inactive"):
        raise invalid("Status must be Active or Inactive.")
    drawer.put(KEY, params["AccessKeyId"], {**_key(drawer, caller, params), "status": params["Status"]})
    return {}


def delete_access_key(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, DeleteAccessKey."""
    _key(drawer, caller, params)
    drawer.delete(KEY, params["AccessKeyId"])
    return {}


# --- groups ---


def create_group(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, CreateGroup."""
    name = params["GroupName"]
    if find(drawer, GROUP, name) is not None:
        raise Fault("EntityAlreadyExists", f"Group with name {name} already exists.")
    group = new_entity(caller, drawer, "group", "AGPA", name, params)
    keep(drawer, GROUP, group)
    return {"Group": shown_entity(group, "Group", is_whole=True)}


def members_of(drawer: Drawer, group: str) -> list[Document]:
    """The users of a group."""
    return [user for user in drawer.all(USER) if group in user["groups"]]


def get_group(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, GetGroup: with its users."""
    group = require(drawer, GROUP, params["GroupName"])
    users = members_of(drawer, group["name"])
    page = paged(params, users, name_key, "Users", lambda user: shown_entity(user, "User", is_whole=False))
    return {"Group": shown_entity(group, "Group", is_whole=True), **page}


def list_groups(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, ListGroups."""
    found = under(params, drawer.all(GROUP))
    return paged(params, found, name_key, "Groups", lambda group: shown_entity(group, "Group", is_whole=False))


def list_groups_for_user(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, ListGroupsForUser."""
    names = require(drawer, USER, params["UserName"])["groups"]
    found = [group for name in names if (group := find(drawer, GROUP, name)) is not None]
    return paged(params, found, name_key, "Groups", lambda group: shown_entity(group, "Group", is_whole=False))


def update_group(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, UpdateGroup: another name, another path, or both. Its users stay in it."""
    group = require(drawer, GROUP, params["GroupName"])
    name, path = params.get("NewGroupName") or group["name"], params.get("NewPath") or group["path"]
    if name.lower() != group["name"].lower() and find(drawer, GROUP, name) is not None:
        raise Fault("EntityAlreadyExists", f"Group with name {name} already exists.")
    require_path(path)
    for user in members_of(drawer, group["name"]):
        keep(drawer, USER, {**user, "groups": [name if one == group["name"] else one for one in user["groups"]]})
    drawer.delete(GROUP, group["name"].lower())
    keep(drawer, GROUP, {**group, "name": name, "path": path, "arn": f"arn:aws:iam::{caller.account}:group{path}{name}"})
    return {}


def delete_group(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, DeleteGroup."""
    group = require(drawer, GROUP, params["GroupName"])
    if members_of(drawer, group["name"]):
        raise conflict("Cannot delete entity, must remove users from group first.")
    if group["inline"]:
        raise conflict("Cannot delete entity, must delete policies first.")
    if group["attached"]:
        raise conflict("Cannot delete entity, must detach all policies first.")
    drawer.delete(GROUP, group["name"].lower())
    return {}


def add_user_to_group(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, AddUserToGroup."""
    group, user = require(drawer, GROUP, params["GroupName"]), require(drawer, USER, params["UserName"])
    if group["name"] not in user["groups"]:
        user["groups"].append(group["name"])
        keep(drawer, USER, user)
    return {}


def remove_user_from_group(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, RemoveUserFromGroup."""
    group, user = require(drawer, GROUP, params["GroupName"]), require(drawer, USER, params["UserName"])
    if group["name"] not in user["groups"]:
        raise no_such(USER, params["UserName"])
    user["groups"].remove(group["name"])
    keep(drawer, USER, user)
    return {}
