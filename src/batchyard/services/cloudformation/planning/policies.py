"""Stack policies: which resources an update may change, replace or take away (user guide, "Prevent updates to stack resources")."""

from __future__ import annotations

import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

from batchyard.model.fault import Fault

LIMIT = 16_384
MODIFY, REPLACE, DELETE = "Update:Modify", "Update:Replace", "Update:Delete"
_MEMBERS = frozenset(("Sid", "Effect", "Action", "NotAction", "Principal", "Resource", "NotResource", "Condition"))
_OPERATORS = ("StringEquals", "StringLike")


def check(text: str) -> None:
    """Raises ValidationError when `text` is no stack policy."""
    if len(text.encode()) > LIMIT:
        raise _wrong(f"it is longer than {LIMIT} bytes")
    try:
        policy = json.loads(text)
    except ValueError as error:
        raise _wrong(f"it is not JSON: {error}") from None
    statements = policy.get("Statement") if isinstance(policy, dict) else None
    if isinstance(statements, dict):
        statements = [statements]
    if not isinstance(statements, list) or not statements:
        raise _wrong("it must have a list Statement")
    for number, statement in enumerate(statements, 1):
        _check(number, statement)


def _check(number: int, statement: Any) -> None:
    if not isinstance(statement, dict) or statement.keys() - _MEMBERS:
        raise _wrong(f"statement {number} may have {', '.join(sorted(_MEMBERS))} alone")
    if statement.get("Effect") not in ("Allow", "Deny"):
        raise _wrong(f"Effect of statement {number} must be Allow or Deny")
    if statement.get("Principal") not in ("*", {"AWS": "*"}):
        raise _wrong(f'Principal of statement {number} must be "*"')
    for one, other in (("Action", "NotAction"), ("Resource", "NotResource")):
        if (one in statement) == (other in statement):
            raise _wrong(f"statement {number} must have either {one} or {other}")
    for action in (*_list(statement.get("Action")), *_list(statement.get("NotAction"))):
        if not any(fnmatchcase(known, str(action)) for known in (MODIFY, REPLACE, DELETE)):
            raise _wrong(f"{action} in statement {number} is none of {MODIFY}, {REPLACE}, {DELETE} and Update:*")
    for operator, terms in dict(statement.get("Condition") or {}).items():
        if operator not in _OPERATORS or list(terms) != ["ResourceType"]:
            raise _wrong(f"Condition of statement {number} must be StringEquals or StringLike of ResourceType")


def _wrong(what: str) -> Fault:
    return Fault("ValidationError", f"Error validating stack policy: {what}")


def refusal(text: str, action: str, logical_id: str, type_name: str) -> str:
    """Why a policy does not let `action` happen to a resource, in AWS's words; "" where it does. Without a policy everything may be."""
    if not text:
        return ""
    statements = json.loads(text)["Statement"]
    resource = f"LogicalResourceId/{logical_id}"
    is_allowed = False
    for number, statement in enumerate(statements if isinstance(statements, list) else [statements], 1):
        if not _applies(statement, action, resource, type_name):
            continue
        if statement["Effect"] == "Deny":
            return f"Action denied by stack policy: Statement [#{number}] does not allow [{action}] for resource [{resource}]"
        is_allowed = True
    return "" if is_allowed else f"Action not allowed by stack policy: no statement allows [{action}] for resource [{resource}]"


def _applies(statement: Mapping[str, Any], action: str, resource: str, type_name: str) -> bool:
    is_action = _is_one(action, statement["Action"]) if "Action" in statement else not _is_one(action, statement["NotAction"])
    is_resource = _is_one(resource, statement["Resource"]) if "Resource" in statement else not _is_one(resource, statement["NotResource"])
    wanted = [value for terms in dict(statement.get("Condition") or {}).values() for value in _list(terms["ResourceType"])]
    return is_action and is_resource and (not wanted or _is_one(type_name, wanted))


def _is_one(name: str, patterns: Any) -> bool:
    return any(fnmatchcase(name, str(pattern)) for pattern in _list(patterns))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
