"""Reads policy documents, and refuses those that IAM refuses, in its words."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from batchyard.core.policies import Statement
from batchyard.core.policy_conditions import Condition, read_condition
from batchyard.core.policy_patterns import Pattern, read_pattern

NEWEST_VERSION = "2012-10-17"
_VERSIONS = (NEWEST_VERSION, "2008-10-17")
_SYNTAX = "Syntax errors in policy."
_TRUST_ACTIONS = ("sts:assumerole", "sts:assumerolewithsaml", "sts:assumerolewithwebidentity", "sts:tagsession", "sts:setsourceidentity")
_STATEMENT_KEYS = {"Sid", "Effect", "Action", "NotAction", "Resource", "NotResource", "Principal", "NotPrincipal", "Condition"}
_PRINCIPALS = ("AWS", "Service", "Federated", "CanonicalUser")
_VENDOR = re.compile(r"[A-Za-z0-9-]+")


class Malformed(Exception):
    """A document that is no policy; the message is IAM's, for MalformedPolicyDocument."""


def read_policy(text: str) -> tuple[Statement, ...]:
    """The statements of an identity policy. Raises `Malformed`."""
    document = _parsed(text, _SYNTAX)
    if document.get("Version") != NEWEST_VERSION:
        raise Malformed("Policy document must be version 2012-10-17 or greater.")
    statements = _statements(document)
    for one in statements:
        if "Principal" in one or "NotPrincipal" in one:
            raise Malformed("Policy document should not specify a principal.")
        if not _texts(one, "Action") and not _texts(one, "NotAction"):
            raise Malformed("Policy statement must contain actions.")
        if not _texts(one, "Resource") and not _texts(one, "NotResource"):
            raise Malformed("Policy statement must contain resources.")
        for action in (*_texts(one, "Action"), *_texts(one, "NotAction")):
            _require_action(action)
        for resource in (*_texts(one, "Resource"), *_texts(one, "NotResource")):
            _require_resource(resource)
    _require_unique_sids(statements)
    return tuple(_statement(one, has_variables=True) for one in statements)


def read_trust_policy(text: str) -> tuple[Statement, ...]:
    """The statements of a role's trust policy. Raises `Malformed`."""
    document = _parsed(text, "This policy contains invalid Json")
    if document.get("Version", "2008-10-17") not in _VERSIONS:
        raise Malformed("The policy must contain a valid version string")
    statements = _statements(document)
    for one in statements:
        for field in ("Resource", "NotResource"):
            if field in one:
                raise Malformed(f"Has prohibited field {field}")
        if "Principal" not in one and "NotPrincipal" not in one:
            raise Malformed("Missing required field Principal")
        _require_principals(one.get("Principal", "*"))
        actions = _texts(one, "Action")
        if not actions:
            raise Malformed("Missing required field Action")
        if not all(action.lower() in _TRUST_ACTIONS or action == "sts:*" for action in actions):
            raise Malformed("AssumeRole policy may only specify STS AssumeRole actions.")
    _require_unique_sids(statements)
    return tuple(_statement(one, has_variables=document.get("Version") == NEWEST_VERSION) for one in statements)


def _parsed(text: str, words: str) -> dict[str, Any]:
    try:
        document = json.loads(text, object_pairs_hook=_without_duplicates)
    except (ValueError, RecursionError):
        raise Malformed(words) from None
    if not isinstance(document, dict) or set(document) - {"Version", "Id", "Statement"}:
        raise Malformed(_SYNTAX)
    return document


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member is there twice")
    return found


def _statements(document: dict[str, Any]) -> list[dict[str, Any]]:
    statements = document.get("Statement")
    found = [statements] if isinstance(statements, dict) else statements
    if not isinstance(found, list) or not found:
        raise Malformed(_SYNTAX)
    for one in found:
        if not isinstance(one, dict) or set(one) - _STATEMENT_KEYS or one.get("Effect") not in ("Allow", "Deny"):
            raise Malformed(_SYNTAX)
        if ("Action" in one and "NotAction" in one) or ("Resource" in one and "NotResource" in one):
            raise Malformed(_SYNTAX)
        if not isinstance(one.get("Sid", ""), str):
            raise Malformed(_SYNTAX)
        _conditions(one, has_variables=True)
    return found


def _texts(statement: dict[str, Any], name: str) -> tuple[str, ...]:
    value = statement.get(name, ())
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, (list, tuple)) or not all(isinstance(one, str) for one in value):
        raise Malformed(_SYNTAX)
    return tuple(value)


def _require_action(action: str) -> None:
    if action == "*":
        return
    vendor, colon, name = action.partition(":")
    if not colon:
        raise Malformed("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.")
    if ":" in name:
        raise Malformed("Actions/Condition can contain only one colon.")
    if not _VENDOR.fullmatch(vendor):
        raise Malformed(f"Vendor {vendor} is not valid")


def _require_resource(resource: str) -> None:
    if resource == "*" or resource.startswith("${"):
        return
    parts = resource.split(":", 5)
    if parts[0] != "arn":
        raise Malformed(f'Resource {resource} must be in ARN format or "*".')
    if len(parts) > 1 and not re.fullmatch(r"aws(-[a-z-]+)?|\*|\$\{[^}]*\}", parts[1]):
        raise Malformed(f'Partition "{parts[1]}" is not valid for resource "{resource}".')
    if len(parts) < 6 and "*" not in resource:
        raise Malformed("The policy failed legacy parsing")


def _require_principals(principal: Any) -> None:
    for kind, name in _principals(principal):
        if kind == "AWS" and name != "*" and not re.fullmatch(r"\d{12}|arn:[\w-]+:(iam|sts)::\d{12}:.+|A[A-Z0-9]{15,}", name):
            raise Malformed(f'Invalid principal in policy: "AWS":"{name}"')
        if kind == "Service" and not re.fullmatch(r"[a-z0-9.-]+\.amazonaws\.com(\.cn)?|[a-z0-9.-]+", name):
            raise Malformed(f'Invalid principal in policy: "SERVICE":"{name}"')


def _principals(principal: Any) -> tuple[tuple[str, str], ...]:
    """(kind, name) of each; account ids stand for themselves and for the account's root ARN."""
    if principal == "*":
        return (("AWS", "*"),)
    if not isinstance(principal, dict) or not principal or set(principal) - set(_PRINCIPALS):
        raise Malformed(_SYNTAX)
    return tuple((kind, name) for kind in principal for name in _texts(principal, kind))


def _require_unique_sids(statements: list[dict[str, Any]]) -> None:
    sids = [one["Sid"] for one in statements if one.get("Sid")]
    if len(set(sids)) != len(sids):
        raise Malformed("Statement IDs (SID) in a single policy must be unique.")


def _conditions(statement: dict[str, Any], *, has_variables: bool) -> tuple[Condition, ...]:
    operators = statement.get("Condition", {})
    if not isinstance(operators, dict):
        raise Malformed(_SYNTAX)
    found = []
    for operator, keys in operators.items():
        if not isinstance(keys, dict):
            raise Malformed(_SYNTAX)
        for key, wanted in keys.items():
            condition = read_condition(operator, key, _values(wanted), has_variables=has_variables)
            if condition is None:
                raise Malformed(f"Invalid Condition type : {operator}")
            found.append(condition)
    return tuple(found)


def _values(wanted: Any) -> list[str]:
    values = wanted if isinstance(wanted, list) else [wanted]
    if not all(isinstance(value, (str, int, float, bool)) for value in values):
        raise Malformed(_SYNTAX)
    return [str(value).lower() if isinstance(value, bool) else str(value) for value in values]


def _statement(one: dict[str, Any], *, has_variables: bool) -> Statement:
    def patterns(name: str, *, is_small: bool = False) -> tuple[Pattern, ...]:
        texts: Sequence[str] = _texts(one, name)
        return tuple(read_pattern(t.lower() if is_small else t, has_variables=has_variables and not is_small) for t in texts)

    return Statement(
        sid=one.get("Sid", ""),
        is_allow=one["Effect"] == "Allow",
        actions=patterns("Action", is_small=True),
        not_actions=patterns("NotAction", is_small=True),
        resources=patterns("Resource"),
        not_resources=patterns("NotResource"),
        principals=_principals(one["Principal"]) if "Principal" in one else None,
        not_principals=_principals(one["NotPrincipal"]) if "NotPrincipal" in one else None,
        conditions=_conditions(one, has_variables=has_variables),
    )
