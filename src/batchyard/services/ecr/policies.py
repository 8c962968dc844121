"""Policies of repositories: who may use one, and which images expire; kept and shown, for no image is there to be used or to expire."""

from __future__ import annotations

import json
from typing import Any

from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.services.ecr.repositories import KIND, invalid, require
from batchyard.store.shelf import Document, Drawer

_LIFECYCLE, _PERMISSIONS = "lifecycle_policy", "permissions_policy"


def put_lifecycle_policy(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, PutLifecyclePolicy."""
    text = params["lifecyclePolicyText"]
    _check_lifecycle(text)
    return _put(drawer, caller, params, _LIFECYCLE, "lifecyclePolicyText", text)


def get_lifecycle_policy(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, GetLifecyclePolicy."""
    return _get(drawer, caller, params, _LIFECYCLE, "lifecyclePolicyText")[1]


def delete_lifecycle_policy(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, DeleteLifecyclePolicy."""
    return _delete(drawer, caller, params, _LIFECYCLE, "lifecyclePolicyText")


def set_repository_policy(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, SetRepositoryPolicy. Nobody can lock out the account's root, so that `force` makes no difference."""
    text = params["policyText"]
    document = _read(text)
    statements = document.get("Statement") if document is not None else None
    if not isinstance(statements, list | dict) or not statements:
        raise invalid("PolicyText", "Invalid repository policy provided")
    return _put(drawer, caller, params, _PERMISSIONS, "policyText", text)


def get_repository_policy(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, GetRepositoryPolicy."""
    return _get(drawer, caller, params, _PERMISSIONS, "policyText")[1]


def delete_repository_policy(drawer: Drawer, caller: Caller, params: Params) -> Params:
    """API reference, DeleteRepositoryPolicy."""
    return _delete(drawer, caller, params, _PERMISSIONS, "policyText")


def _put(drawer: Drawer, caller: Caller, params: Params, kept: str, member: str, text: str) -> Params:
    document = require(drawer, caller, params)
    drawer.put(KIND, document["name"], {**document, kept: text})
    return {"registryId": caller.account, "repositoryName": document["name"], member: text}


def _get(drawer: Drawer, caller: Caller, params: Params, kept: str, member: str) -> tuple[Document, Params]:
    document = require(drawer, caller, params)
    if not document.get(kept):
        code, what = (
            ("LifecyclePolicyNotFoundException", "Lifecycle policy")
            if kept == _LIFECYCLE
            else ("RepositoryPolicyNotFoundException", "Repository policy")
        )
        raise Fault(
            code,
            f"{what} does not exist for the repository with name '{document['name']}' in the registry with id '{caller.account}'",
        )
    return document, {"registryId": caller.account, "repositoryName": document["name"], member: document[kept]}


def _delete(drawer: Drawer, caller: Caller, params: Params, kept: str, member: str) -> Params:
    document, shown = _get(drawer, caller, params, kept, member)
    drawer.put(KIND, document["name"], {name: value for name, value in document.items() if name != kept})
    return shown


def _read(text: str) -> dict[str, Any] | None:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _check_lifecycle(text: str) -> None:
    """InvalidParameterException for what is no set of rules."""
    document = _read(text)
    rules = document.get("rules") if document is not None else None
    if not isinstance(rules, list) or not rules:
        raise invalid("LifecyclePolicyText", "Lifecycle policy validation failure: a policy is a JSON object with a list of rules")
    priorities = []
    for rule in rules:
        for member, kind in (("rulePriority", int), ("selection", dict), ("action", dict)):
            if not isinstance(rule, dict) or not isinstance(rule.get(member), kind):
                raise invalid("LifecyclePolicyText", f"Lifecycle policy validation failure: each rule needs {member}")
        priorities.append(rule["rulePriority"])
    if len(set(priorities)) < len(priorities):
        raise invalid("LifecyclePolicyText", "Lifecycle policy validation failure: rulePriority must be unique among the rules")
