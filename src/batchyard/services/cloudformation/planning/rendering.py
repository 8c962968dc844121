"""Changes as DescribeChangeSet shows them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from batchyard.services.cloudformation.planning.changes import Change, Detail
from batchyard.services.cloudformation.planning.secrets import masked

_WEIGHT = {"Never": 0, "Conditionally": 1, "Always": 2}


def shown(changes: Sequence[Change], *, with_values: bool) -> list[dict[str, Any]]:
    """The `Changes` of DescribeChangeSet, in AWS's shape.

    With values, details are as deep as the differences are, each with its path and what it was and will be, and the resource's whole
    bodies stand beside them as JSON. Without, there is one detail for each property and cause. Values that come from NoEcho parameters
    and secrets are `****`.
    """
    return [{"Type": "Resource", "ResourceChange": _change(change, with_values)} for change in changes]


def _change(change: Change, with_values: bool) -> dict[str, Any]:
    result: dict[str, Any] = {
        "PolicyAction": change.policy_action,
        "Action": change.action,
        "LogicalResourceId": change.logical_id,
        "PhysicalResourceId": change.physical_id,
        "ResourceType": change.type,
        "Replacement": change.replacement,
    }
    result = {key: value for key, value in result.items() if value}
    result["Scope"] = list(change.scope)
    if with_values:
        result["Details"] = [_detail(detail, change) for detail in change.details]
        for key, body in (("BeforeContext", change.before), ("AfterContext", change.after)):
            if body is not None:
                result[key] = _json({**body, "Properties": masked(body["Properties"], change.hidden)})
    else:
        result["Details"] = _details_in_short(change)
    return result


def _detail(detail: Detail, change: Change) -> dict[str, Any]:
    target = _target(detail)
    if detail.place:
        target["Path"] = "/Properties/" + "/".join(str(step).replace("~", "~0").replace("/", "~1") for step in detail.place)
    elif detail.attribute != "Properties":
        target["Path"] = f"/{detail.attribute}" if detail.attribute != "Tags" else "/Properties/Tags"
    for key, value in (("BeforeValue", detail.before), ("AfterValue", detail.after)):
        if value is not None:
            target[key] = _text(masked(value, change.hidden, detail.place) if detail.place else value)
    target["AttributeChangeType"] = detail.kind
    return _whole(detail, target)


def _details_in_short(change: Change) -> list[dict[str, Any]]:
    found: dict[tuple[str, ...], Detail] = {}
    for detail in change.details:
        key = (detail.attribute, detail.name, detail.evaluation, detail.source, detail.causing_entity)
        if key not in found or _WEIGHT[found[key].requires_recreation] < _WEIGHT[detail.requires_recreation]:
            found[key] = detail
    return [_whole(detail, _target(detail)) for detail in found.values()]


def _target(detail: Detail) -> dict[str, Any]:
    target = {"Attribute": detail.attribute, "RequiresRecreation": detail.requires_recreation}
    if detail.name:
        target["Name"] = detail.name
    return target


def _whole(detail: Detail, target: dict[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = {"Target": target, "Evaluation": detail.evaluation, "ChangeSource": detail.source}
    if detail.causing_entity:
        result["CausingEntity"] = detail.causing_entity
    return result


def _text(value: Any) -> str:
    """A value as a change set writes it: text as it is, what has an inside as JSON."""
    return _json(value) if isinstance(value, Mapping | list | tuple) else str(_worded(value))


def _json(value: Any) -> str:
    return json.dumps(_worded(value), separators=(",", ":"), ensure_ascii=False)


def _worded(value: Any) -> Any:
    """Numbers and booleans as text, which is how change sets have them."""
    if isinstance(value, Mapping):
        return {str(key): _worded(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_worded(inner) for inner in value]
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
