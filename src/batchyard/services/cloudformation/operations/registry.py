"""The registry as it can be read: the types that are real here, each with the schema that AWS publishes of it."""

from __future__ import annotations

import json
from typing import Any

from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.services.cloudformation.operations.requests import invalid, paged
from batchyard.services.cloudformation.resources import types
from batchyard.services.cloudformation.resources.type import ResourceType
from batchyard.services.cloudformation.schemas.reading import schema

_ARN_PREFIX = "type/resource/"


async def list_types(_desk: Any, caller: Caller, params: Params) -> Params:
    """ListTypes: with Visibility PUBLIC the types that are real here; private ones (AWS's default) cannot be registered."""
    filters = params.get("Filters") or {}
    is_of_aws = filters.get("Category", "AWS_TYPES") == "AWS_TYPES" and not filters.get("PublisherId")
    is_live = params.get("DeprecatedStatus", "LIVE") == "LIVE"
    is_public = params.get("Visibility", "PRIVATE") == "PUBLIC" and params.get("Type", "RESOURCE") == "RESOURCE"
    found = sorted(types().values(), key=lambda type: type.name) if is_of_aws and is_live and is_public else []
    wanted, prefix = params.get("ProvisioningType"), str(filters.get("TypeNamePrefix") or "")
    summaries = [
        {"Type": "RESOURCE", "TypeName": type.name, "TypeArn": _arn(caller, type.name)}
        for type in found
        if type.name.startswith(prefix) and (wanted is None or _provisioning(type) == wanted)
    ]
    shown, token = paged(summaries, params)
    return {"TypeSummaries": shown} | ({"NextToken": token} if token else {})


async def describe_type(_desk: Any, caller: Caller, params: Params) -> Params:
    """DescribeType: one that is real here, by name or ARN."""
    arn, name = str(params.get("Arn") or ""), str(params.get("TypeName") or "")
    if not arn and not (name and params.get("Type")):
        raise invalid("Either Arn, or Type and TypeName, must be specified.")
    name = name or arn.partition(_ARN_PREFIX)[2].replace("-", "::")
    found = types().get(name)
    is_other = any(params.get(member) for member in ("VersionId", "PublisherId", "PublicVersionNumber"))
    if found is None or is_other or params.get("Type", "RESOURCE") != "RESOURCE" or (arn and arn != _arn(caller, name)):
        raise Fault("TypeNotFoundException", f"The type '{name or arn}' cannot be found.")
    shown: Params = {
        "Arn": _arn(caller, name),
        "Type": "RESOURCE",
        "TypeName": name,
        "ProvisioningType": _provisioning(found),
        "DeprecatedStatus": "LIVE",
        "Visibility": "PUBLIC",
    }
    published = schema(name)
    return shown | ({"Schema": json.dumps(published.content)} if published is not None else {})


def _arn(caller: Caller, name: str) -> str:
    return f"arn:aws:cloudformation:{caller.region}::{_ARN_PREFIX}{name.replace('::', '-')}"


def _provisioning(type: ResourceType) -> str:
    return "FULLY_MUTABLE" if type.update is not None else "IMMUTABLE"
