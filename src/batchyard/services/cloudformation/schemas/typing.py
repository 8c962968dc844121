"""Properties as a handler gets them: what a template may write in several ways, in the one way that the schema has.

Templates give numbers as text and text as numbers, since parameters are always text; CloudFormation settles it before a resource
is made. What cannot be settled stays as it is, and is a problem (`checking`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from batchyard.services.cloudformation.schemas.reading import Schema, schema

_INTEGER = re.compile(r"-?[0-9]{1,40}")
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,3})?")


def typed(type_name: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    """The properties with "3" as 3 where a whole number is wanted, "True" as true, and 3 as "3" where text is; the rest is as given.

    What is of type JSON (policy documents and the like) is not touched, nor are functions that have not been resolved. A type without
    a schema gets what the template has. Doing it twice changes nothing more.
    """
    found = schema(type_name)
    if found is None:
        return dict(properties)
    result: dict[str, Any] = _typed(found, found.content, properties)
    return result


def is_function(value: Any) -> bool:
    """Whether a value is a function that has not been resolved."""
    return isinstance(value, Mapping) and len(value) == 1 and all(key == "Ref" or str(key).startswith("Fn::") for key in value)


def _typed(held: Schema, part: Mapping[str, Any], value: Any) -> Any:
    part = held.part(part)
    if is_function(value):
        return _branches(held, part, value)
    if isinstance(value, Mapping):
        return {key: _member(held, part, key, inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        items = part.get("items")
        return [_typed(held, items, inner) if isinstance(items, Mapping) else inner for inner in value]
    return _scalar(part.get("type"), value)


def _branches(held: Schema, part: Mapping[str, Any], value: Mapping[str, Any]) -> Any:
    """An Fn::If has its two values typed; other functions stay."""
    chosen = value.get("Fn::If")
    if not isinstance(chosen, list) or len(chosen) != 3:
        return value
    return {"Fn::If": [chosen[0], _typed(held, part, chosen[1]), _typed(held, part, chosen[2])]}


def _member(held: Schema, part: Mapping[str, Any], key: str, value: Any) -> Any:
    inner = member(part, key)
    return value if inner is None else _typed(held, inner, value)


def member(part: Mapping[str, Any], key: str) -> Mapping[str, Any] | None:
    """What the schema says of a member of an object; None when it says nothing of it."""
    own = part.get("properties", {}).get(key)
    if own is not None:
        return own  # type: ignore[no-any-return]
    for pattern, inner in part.get("patternProperties", {}).items():
        if (found := compiled(pattern)) is None or found.search(str(key)):
            return inner  # type: ignore[no-any-return]
    extra = part.get("additionalProperties")
    return extra if isinstance(extra, Mapping) else None


_PATTERNS: dict[str, re.Pattern[str] | None] = {}


def compiled(pattern: str) -> re.Pattern[str] | None:
    """A published pattern (they are Java's) as Python has it; None for one that Python cannot read, which then holds nothing back."""
    if pattern not in _PATTERNS:
        ours = pattern.replace(r"\p{L}", r"\w").replace(r"\p{N}", r"\d").replace(r"\p{Z}", r"\s")
        try:
            _PATTERNS[pattern] = re.compile(ours, 0 if ours != pattern else re.ASCII)
        except re.error:
            _PATTERNS[pattern] = None
    return _PATTERNS[pattern]


def _scalar(kind: Any, value: Any) -> Any:
    """A single value as its one type has it. Where several are allowed (or none is said), it stays."""
    if isinstance(kind, list) and len(kind) == 1:
        kind = kind[0]
    if kind == "string":
        return _text(value)
    if kind == "boolean" and isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if kind == "integer":
        if isinstance(value, str) and _INTEGER.fullmatch(value):
            return int(value)
        if isinstance(value, float) and math.isfinite(value) and value.is_integer():
            return int(value)
    if kind == "number" and isinstance(value, str) and _NUMBER.fullmatch(value):
        return int(value) if _INTEGER.fullmatch(value) else float(value)
    return value


def _text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return str(value)
    return value
