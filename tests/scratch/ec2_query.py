"""EC2's query protocol from the server's side, by botocore's model: what comes in is held against the shapes, what goes out has theirs."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from typing import Any
from xml.sax.saxutils import escape

import botocore.session

_ROOT = 'xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"'


class Refusal(Exception):
    """An error in EC2's words."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.status = code, message, status


@functools.cache
def model() -> Any:
    return botocore.session.Session().get_service_model("ec2")


def read(action: str, given: dict[str, str]) -> dict[str, Any]:
    """The parameters of a request in the model's names. A name, a type or an enum that the model does not have is refused."""
    if action not in model().operation_names:
        raise Refusal("InvalidAction", f"The action {action} is not valid for this web service.")
    left = dict(given)
    found = _structure(model().operation_model(action).input_shape, "", left)
    if left:
        raise Refusal("UnknownParameter", f"The parameter {sorted(left)[0]} is not recognized")
    return found


def _name(shape: Any, default: str) -> str:
    if "queryName" in shape.serialization:
        return str(shape.serialization["queryName"])
    name = str(shape.serialization.get("name", default))
    return name[0].upper() + name[1:]


def _structure(shape: Any, prefix: str, left: dict[str, str]) -> dict[str, Any]:
    found = {}
    for member, inner in shape.members.items():
        value = _value(inner, f"{prefix}.{_name(inner, member)}".lstrip("."), left)
        if value is not None:
            found[member] = value
    for member in shape.required_members:
        if member not in found:
            raise Refusal("MissingParameter", f"The request must contain the parameter {member}")
    return found


def _value(shape: Any, at: str, left: dict[str, str]) -> Any:
    if shape.type_name == "structure":
        return _structure(shape, at, left) if any(name.startswith(f"{at}.") for name in left) else None
    if shape.type_name == "list":
        values = []
        while (value := _value(shape.member, f"{at}.{len(values) + 1}", left)) is not None:
            values.append(value)
        return values or None
    if at not in left:
        return None
    text = left.pop(at)
    if shape.type_name in ("integer", "long"):
        if not text.lstrip("-").isdigit():
            raise Refusal("InvalidParameterValue", f"Value ({text}) for parameter {at} is invalid.")
        return int(text)
    if shape.type_name == "boolean":
        if text not in ("true", "false"):
            raise Refusal("InvalidParameterValue", f"Value ({text}) for parameter {at} is invalid.")
        return text == "true"
    if shape.enum and text not in shape.enum:
        raise Refusal("InvalidParameterValue", f"Value ({text}) for parameter {at} is invalid.")
    return text


def answer(action: str, result: dict[str, Any]) -> bytes:
    """The document of a success."""
    shape = model().operation_model(action).output_shape
    inside = "<return>true</return>" if shape is None else _members(shape, result)
    return f"<?xml version='1.0'?><{action}Response {_ROOT}><requestId>double</requestId>{inside}</{action}Response>".encode()


def refusal(error: Refusal) -> bytes:
    """The document of an error."""
    said = f"<Code>{error.code}</Code><Message>{escape(error.message)}</Message>"
    return f"<?xml version='1.0'?><Response><Errors><Error>{said}</Error></Errors><RequestID>double</RequestID></Response>".encode()


def _members(shape: Any, values: dict[str, Any]) -> str:
    unknown = set(values) - set(shape.members)
    if unknown:
        raise AssertionError(f"{shape.name} has no {sorted(unknown)}")
    return "".join(
        _element(inner, str(inner.serialization.get("name", name)), values[name])
        for name, inner in shape.members.items()
        if values.get(name) is not None
    )


def _element(shape: Any, tag: str, value: Any) -> str:
    if shape.type_name == "structure":
        inside = _members(shape, value)
    elif shape.type_name == "list":
        inside = "".join(_element(shape.member, str(shape.member.serialization.get("name", "item")), one) for one in value)
    elif shape.type_name == "boolean":
        inside = "true" if value else "false"
    elif shape.type_name == "timestamp":
        inside = datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
    else:
        inside = escape(str(value))
    return f"<{tag}>{inside}</{tag}>"
