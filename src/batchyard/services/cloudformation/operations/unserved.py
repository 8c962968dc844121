"""What requests of CloudFormation may name and this version does not do: refused by name, so that nothing is accepted and then ignored."""

from __future__ import annotations

from functools import wraps
from typing import Any

from batchyard.services import Caller, Handler, Params
from batchyard.services.cloudformation.operations.requests import invalid

_TYPES = "resource types cannot be restricted by a request: let IAM policies do it"
_CANARIES = "there are no alarms that could take a deployment back"
_STRATEGIES = "stacks are deployed in one way, STANDARD"

STANDARD = {"Mode": "STANDARD"}  # what the CDK asks for, and what is done

# By operation: member -> why. Empty values ask for nothing.
MEMBERS: dict[str, dict[str, str]] = {
    "ContinueUpdateRollback": {"ForceRollback": "name what is to be skipped in ResourcesToSkip"},
    "CreateChangeSet": {
        "DeploymentConfig": _STRATEGIES,
        "DeploymentMode": _STRATEGIES,
        "DisableValidation": "templates are always checked",
        "ResourceTypes": _TYPES,
        "RollbackConfiguration": _CANARIES,
    },
    "CreateStack": {
        "DeploymentConfig": _STRATEGIES,
        "DisableValidation": "templates are always checked",
        "ResourceTypes": _TYPES,
        "RollbackConfiguration": _CANARIES,
    },
    "DeleteStack": {"DeploymentConfig": _STRATEGIES},
    "GetTemplateSummary": {"StackSetName": "there are no stack sets"},
    "RollbackStack": {"DeploymentConfig": _STRATEGIES},
    "UpdateStack": {
        "DeploymentConfig": _STRATEGIES,
        "DisableValidation": "templates are always checked",
        "ResourceTypes": _TYPES,
        "RollbackConfiguration": _CANARIES,
    },
}


def refusing(operation: str, handler: Handler) -> Handler:
    """The handler, which refuses first what it would ignore."""
    members = MEMBERS.get(operation)
    if members is None:
        return handler

    @wraps(handler)
    async def checked(desk: Any, caller: Caller, params: Params) -> Params:
        for member, why in members.items():
            if params.get(member) != STANDARD and _says_something(params.get(member)):
                raise invalid(f"{member} is not available in this version of Batchyard ({why}): leave it out.")
        if params.get("DeletionMode") == "FORCE_DELETE_STACK":
            raise invalid(
                "DeletionMode FORCE_DELETE_STACK is not available in this version of Batchyard: name what is to stay in RetainResources."
            )
        return await handler(desk, caller, params)

    return checked


def _says_something(value: Any) -> bool:
    return any(map(_says_something, value.values())) if isinstance(value, dict) else value not in (None, False, "", 0, [])
