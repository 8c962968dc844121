"""Bucket policies: checked when they are put, so that every element of one that is there can be decided; pure.

Not served, and refused when put: `NotPrincipal`, and condition operators and keys beyond those in the tables here. (IAM User Guide,
"IAM JSON policy element reference"; S3 User Guide, "Bucket policies")
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

from batchyard.model.fault import Fault
from batchyard.services.s3.owners import canonical_account
from batchyard.services.s3.route import not_implemented

POLICY_LIMIT_BYTES = 20 * 1024
VERSIONS = ("2012-10-17", "2008-10-17")
CONDITION_KEYS = frozenset(
    (
        "aws:principalaccount",
        "aws:principalarn",
        "aws:principalisawsservice",
        "aws:principalservicename",
        "aws:referer",
        "aws:securetransport",
        "aws:sourceaccount",
        "aws:sourcearn",
        "aws:sourceip",
        "aws:useragent",
        "s3:delimiter",
        "s3:max-keys",
        "s3:prefix",
        "s3:versionid",
        "s3:x-amz-acl",
        "s3:x-amz-server-side-encryption",
        "s3:x-amz-storage-class",
    )
)
# keys whose fixed values make a statement not public
_NARROWING = ("aws:principalaccount", "aws:principalarn", "aws:sourceaccount", "aws:sourcearn")
_ELEMENTS = frozenset(("Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"))
SERVICE = "service:"
_PRINCIPAL = re.compile(r"\*|\d{12}|arn:aws[\w-]*:(iam|sts)::[\w-]*:\S+")


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as policies see it: the account ("" for anybody) and ARN of who asks, `s3:Action`, the resource's ARN, and the
    values of condition keys (lower case; those that the request does not have are missing). A service of ours that asks by itself
    has its name, such as `logging.s3.amazonaws.com`, for an ARN and `service:` for an account."""

    account: str
    arn: str
    action: str
    resource: str
    values: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Statement:
    is_allow: bool
    principals: tuple[str, ...]
    actions: tuple[re.Pattern[str], ...]
    is_not_actions: bool
    resources: tuple[re.Pattern[str], ...]
    is_not_resources: bool
    conditions: tuple[tuple[str, str, tuple[str, ...]], ...]

    def applies(self, asked: Asked) -> bool:
        """Whether the statement is about this request."""
        return (
            any(_is_principal(principal, asked) for principal in self.principals)
            and any(pattern.fullmatch(asked.action.lower()) for pattern in self.actions) != self.is_not_actions
            and any(pattern.fullmatch(asked.resource) for pattern in self.resources) != self.is_not_resources
            and all(_holds(operator, wanted, asked.values.get(key)) for operator, key, wanted in self.conditions)
        )

    @property
    def is_public(self) -> bool:
        """Whether it allows anybody something; a fixed source or principal makes it not public. (S3 User Guide, "The meaning of public")"""
        return self.is_allow and "*" in self.principals and not any(_narrows(*condition) for condition in self.conditions)


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy that can be decided."""

    statements: tuple[_Statement, ...]

    def decide(self, asked: Asked) -> bool | None:
        """False: denied, whatever else says. True: allowed. None: the policy does not say."""
        found = [statement.is_allow for statement in self.statements if statement.applies(asked)]
        return all(found) if found else None

    @property
    def is_public(self) -> bool:
        """Whether anybody is allowed something."""
        return any(statement.is_public for statement in self.statements)


@lru_cache(maxsize=256)
def compile_policy(text: str, bucket: str) -> Policy:
    """The policy in a JSON document. Raises `MalformedPolicy`, `PolicyTooLarge`, and `NotImplemented` for what could not be decided."""
    if len(text.encode()) > POLICY_LIMIT_BYTES:
        raise Fault("PolicyTooLarge", "Policy exceeds the maximum allowed document size.")
    try:
        document = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise malformed("Policies must be valid JSON and the first byte must be '{'")
    if unknown := document.keys() - {"Version", "Id", "Statement"}:
        raise malformed(f"Unknown field {min(unknown)}")
    if document.get("Version", VERSIONS[0]) not in VERSIONS:
        raise malformed("The policy must contain a valid version string")
    statements = document.get("Statement")
    if isinstance(statements, dict):
        statements = [statements]
    if not statements or not isinstance(statements, list):
        raise malformed("Missing required field Statement")
    return Policy(tuple(_statement(statement, bucket) for statement in statements))


def malformed(message: str) -> Fault:
    """S3's refusal of a policy."""
    return Fault("MalformedPolicy", message)


def _statement(statement: Any, bucket: str) -> _Statement:
    if not isinstance(statement, dict):
        raise malformed("Statement must be an object or a list of objects")
    if unknown := statement.keys() - _ELEMENTS:
        raise malformed(f"Unknown field {min(unknown)}")
    if statement.get("Effect") not in ("Allow", "Deny"):
        raise malformed(f"Invalid effect: {statement.get('Effect')}")
    if "NotPrincipal" in statement:
        raise not_implemented("NotPrincipal in a bucket policy")
    actions, is_not_actions = _either(statement, "Action")
    resources, is_not_resources = _either(statement, "Resource")
    for action in actions:
        if action != "*" and not re.fullmatch(r"s3(-object-lambda)?:[A-Za-z*?]+", action, re.IGNORECASE):
            raise malformed("Policy has invalid action")
    for resource in resources:
        name = re.fullmatch(r"arn:aws[\w-]*:s3:::([^/]+)(/.*)?", resource, re.DOTALL)
        if resource != "*" and (name is None or not _glob(name[1]).fullmatch(bucket)):
            raise malformed("Policy has invalid resource")
    return _Statement(
        statement["Effect"] == "Allow",
        _principals(statement.get("Principal")),
        tuple(_glob(action.lower()) for action in actions),
        is_not_actions,
        tuple(_glob(re.sub(r"^arn:aws[\w-]*:", "arn:aws:", resource)) for resource in resources),
        is_not_resources,
        _conditions(statement.get("Condition", {})),
    )


def _either(statement: dict[str, Any], name: str) -> tuple[list[str], bool]:
    """(the values of `name` or of `Not` + `name`, whether it is the latter)."""
    if (name in statement) == (f"Not{name}" in statement):
        raise malformed(f"Missing required field {name}" if name not in statement else f"Statement has both {name} and Not{name}")
    is_not = name not in statement
    return _texts(statement[f"Not{name}" if is_not else name], name), is_not


def _texts(value: Any, name: str) -> list[str]:
    values = value if isinstance(value, list) else [value]
    if not values or not all(isinstance(text, str) for text in values):
        raise malformed(f"{name} must be a string or a list of strings")
    return values


def _principals(value: Any) -> tuple[str, ...]:
    """`*`, account numbers, ARNs, and names of services behind `service:`. Federated users never call here, so they match nobody."""
    if value is None:
        raise malformed("Missing required field Principal")
    if value == "*":
        return ("*",)
    if not isinstance(value, dict) or not value or value.keys() - {"AWS", "Service", "Federated", "CanonicalUser"}:
        raise malformed("Invalid principal in policy")
    found = []
    for text in _texts(value["AWS"], "Principal") if "AWS" in value else []:
        if not _PRINCIPAL.fullmatch(text):
            raise malformed("Invalid principal in policy")
        found.append(text)
    if "Service" in value:
        found += [SERVICE + name for name in _texts(value["Service"], "Principal")]
    if "CanonicalUser" in value:
        found += [canonical_account(text) for text in _texts(value["CanonicalUser"], "Principal")]
    return tuple(found)


def _is_principal(principal: str, asked: Asked) -> bool:
    if principal == "*" or not asked.account:
        return principal == "*"
    if asked.account == SERVICE:
        return principal == SERVICE + asked.arn
    if principal == asked.account or principal == asked.arn:
        return True
    found = re.fullmatch(r"arn:aws[\w-]*:iam::(\d{12}):(root|role/(?:.*/)?([^/]+))", principal)
    if found is None or found[1] != asked.account:
        return False
    return found[2] == "root" or f":assumed-role/{found[3]}/" in asked.arn


def _conditions(document: Any) -> tuple[tuple[str, str, tuple[str, ...]], ...]:
    """(operator, key in lower case, wanted values) of each condition."""
    if not isinstance(document, dict) or not all(isinstance(keys, dict) for keys in document.values()):
        raise malformed("Policy has an invalid condition")
    found = []
    for operator, keys in document.items():
        if operator.removesuffix("IfExists") not in _OPERATORS and operator != "Null":
            raise not_implemented(f"the condition operator {operator} in a bucket policy")
        for key, value in keys.items():
            if key.lower() not in CONDITION_KEYS:
                raise not_implemented(f"the condition key {key} in a bucket policy")
            values = value if isinstance(value, list) else [value]
            texts = tuple(str(text).lower() if isinstance(text, bool) else str(text) for text in values)
            if "IpAddress" in operator:
                _check_networks(texts)
            found.append((operator, key.lower(), texts))
    return tuple(found)


def _check_networks(texts: tuple[str, ...]) -> None:
    try:
        for text in texts:
            ipaddress.ip_network(text, strict=False)
    except ValueError as failure:
        raise malformed(f"Invalid IP address in a condition: {failure}") from None


def _holds(operator: str, wanted: tuple[str, ...], value: str | None) -> bool:
    """Whether a condition holds for the value that the request has. Negated operators hold for a value that is missing, as on AWS."""
    if operator == "Null":
        return (value is None) == (wanted[:1] == ("true",))
    name = operator.removesuffix("IfExists")
    if value is None:
        return name != operator or name.startswith("Not") or "Not" in name
    compare, is_negated = _OPERATORS[name]
    return any(compare(value, text) for text in wanted) != is_negated


def _narrows(operator: str, key: str, wanted: tuple[str, ...]) -> bool:
    """Whether a condition makes a statement not public: it names fixed sources or principals."""
    if operator == "IpAddress" and key == "aws:sourceip":
        return all(ipaddress.ip_network(text, strict=False).prefixlen >= 8 for text in wanted)
    is_positive = operator in ("StringEquals", "StringLike", "ArnEquals", "ArnLike")
    return is_positive and key in _NARROWING and not any("*" in text or "?" in text for text in wanted)


@lru_cache(maxsize=1024)
def _glob(pattern: str) -> re.Pattern[str]:
    """`*` and `?` as policies have them; nothing else is special."""
    text = "".join(".*" if mark == "*" else "." if mark == "?" else re.escape(mark) for mark in pattern)
    return re.compile(text, re.DOTALL)


def _is_within(value: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(value) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False


def _number(compare: Callable[[float, float], bool]) -> Callable[[str, str], bool]:
    def compared(value: str, wanted: str) -> bool:
        try:
            return compare(float(value), float(wanted))
        except ValueError:
            return False

    return compared


def _is_equal(value: str, wanted: str) -> bool:
    return value == wanted


def _is_equal_in_any_case(value: str, wanted: str) -> bool:
    return value.lower() == wanted.lower()


def _is_like(value: str, wanted: str) -> bool:
    return _glob(wanted).fullmatch(value) is not None


# operator -> (comparison of the request's value with a wanted one, whether it is negated)
_OPERATORS: dict[str, tuple[Callable[[str, str], bool], bool]] = {
    "ArnEquals": (_is_like, False),
    "ArnLike": (_is_like, False),
    "ArnNotEquals": (_is_like, True),
    "ArnNotLike": (_is_like, True),
    "Bool": (_is_equal_in_any_case, False),
    "IpAddress": (_is_within, False),
    "NotIpAddress": (_is_within, True),
    "NumericEquals": (_number(lambda a, b: a == b), False),
    "NumericGreaterThan": (_number(lambda a, b: a > b), False),
    "NumericGreaterThanEquals": (_number(lambda a, b: a >= b), False),
    "NumericLessThan": (_number(lambda a, b: a < b), False),
    "NumericLessThanEquals": (_number(lambda a, b: a <= b), False),
    "NumericNotEquals": (_number(lambda a, b: a == b), True),
    "StringEquals": (_is_equal, False),
    "StringEqualsIgnoreCase": (_is_equal_in_any_case, False),
    "StringLike": (_is_like, False),
    "StringNotEquals": (_is_equal, True),
    "StringNotEqualsIgnoreCase": (_is_equal_in_any_case, True),
    "StringNotLike": (_is_like, True),
}
