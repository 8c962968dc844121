"""Aliases: other names of keys, which may be given to another key later."""

from __future__ import annotations

from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.services.kms.records import ALIAS, alias_arn, aliases, find_alias, forget_gone, require, require_not_pending
from batchyard.services.paging import page_of
from batchyard.store.shelf import Document, Drawer


def create_alias(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, CreateAlias."""
    name = _own_name(params["AliasName"])
    forget_gone(drawer)
    if drawer.get(ALIAS, name) is not None:
        raise Fault("AlreadyExistsException", f"An alias with the name {alias_arn(caller, name)} already exists")
    key = require(drawer, caller, params["TargetKeyId"], by_alias=False)
    require_not_pending(caller, key)
    drawer.put(ALIAS, name, {"name": name, "key_id": key["id"], "created_at_ms": drawer.now_ms, "updated_at_ms": drawer.now_ms})
    return {}


def update_alias(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, UpdateAlias: from now on it names another key."""
    alias = _require(drawer, caller, _own_name(params["AliasName"]))
    key = require(drawer, caller, params["TargetKeyId"], by_alias=False)
    require_not_pending(caller, key)
    drawer.put(ALIAS, alias["name"], {**alias, "key_id": key["id"], "updated_at_ms": drawer.now_ms})
    return {}


def delete_alias(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, DeleteAlias: its key stays."""
    alias = _require(drawer, caller, _own_name(params["AliasName"]))
    drawer.delete(ALIAS, alias["name"])
    return {}


def list_aliases(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, ListAliases: of one key or all."""
    found = aliases(drawer)
    if params.get("KeyId"):
        key = require(drawer, caller, params["KeyId"], by_alias=False)
        found = [alias for alias in found if alias["key_id"] == key["id"]]
    page, marker = page_of(
        found,
        lambda alias: str(alias["name"]),
        limit=params.get("Limit") or 50,
        token=params.get("Marker"),
        purpose=("ListAliases", params.get("KeyId")),
        invalid=Fault("InvalidMarkerException", "Invalid marker"),
    )
    shown = [
        {
            "AliasName": alias["name"],
            "AliasArn": alias_arn(caller, alias["name"]),
            "TargetKeyId": alias["key_id"],
            "CreationDate": alias["created_at_ms"] / 1000,
            "LastUpdatedDate": alias["updated_at_ms"] / 1000,
        }
        for alias in page
    ]
    return {"Aliases": shown, "Truncated": bool(marker), **({"NextMarker": marker} if marker else {})}


def _require(drawer: Drawer, caller: Caller, name: str) -> Document:
    alias = find_alias(drawer, name)
    if alias is None:
        raise Fault("NotFoundException", f"Alias {alias_arn(caller, name)} is not found.")
    return alias


def _own_name(name: str) -> str:
    """The name, if it is one that customers may give. InvalidAliasNameException, NotAuthorizedException for AWS's own."""
    if not name.startswith("alias/"):
        raise Fault("ValidationException", "Invalid identifier: an alias begins with alias/, like alias/results")
    if name.startswith("alias/aws/"):
        raise Fault("NotAuthorizedException", "Aliases that begin with alias/aws/ are reserved for AWS managed keys")
    if not name.removeprefix("alias/"):
        raise Fault("InvalidAliasNameException", "An alias needs a name behind alias/")
    return name
