"""How functions are named in requests, and the refusals that several operations share."""

from __future__ import annotations

import re
from typing import NamedTuple

from batchyard.model.fault import Fault
from batchyard.services import Caller

LATEST = "$LATEST"
_NAME = re.compile(
    r"(?:arn:(?P<partition>aws[a-zA-Z-]*)?:lambda:(?P<region>[a-z0-9-]+):(?P<account>\d{12}):function:"
    r"|(?:(?P<short>\d{12}):function:)|(?:function:))?(?P<name>[a-zA-Z0-9_-]{1,64})(?::(?P<qualifier>\$LATEST|[a-zA-Z0-9_-]+))?"
)


class Named(NamedTuple):
    """What a request calls a function: its name, and the version or alias ("" when the request names none)."""

    name: str
    qualifier: str


def named(caller: Caller, asked: str, qualifier: str | None = None) -> Named:
    """`asked` is a name, a part of an ARN, or an ARN, each with or without a qualifier. ResourceNotFoundException for another account's."""
    found = _NAME.fullmatch(asked)
    if found is None:
        raise Fault(
            "ValidationException",
            f"1 validation error detected: Value '{asked[:256]}' at 'functionName' failed to satisfy constraint: Member must satisfy "
            "regular expression pattern: (arn:(aws[a-zA-Z-]*)?:lambda:)?([a-z]{2}(-gov)?-[a-z]+-\\d{1}:)?(\\d{12}:)?(function:)?"
            "([a-zA-Z0-9-_]+)(:(\\$LATEST|[a-zA-Z0-9-_]+))?",
        )
    account, region = found["account"] or found["short"], found["region"]
    if (account or caller.account, region or caller.region) != (caller.account, caller.region):
        raise not_found(asked)
    inner = found["qualifier"] or ""
    if inner and qualifier and inner != qualifier:
        raise invalid("The derived qualifier from the function name does not match the specified qualifier.")
    return Named(found["name"], qualifier or inner)


def arn_of(caller: Caller, name: str) -> str:
    return f"arn:aws:lambda:{caller.region}:{caller.account}:function:{name}"


def not_found(arn: str) -> Fault:
    return Fault("ResourceNotFoundException", f"Function not found: {arn}", Type="User")


def invalid(message: str) -> Fault:
    return Fault("InvalidParameterValueException", message, Type="User")
