"""What is wrong with the properties of a resource, in the words that CloudFormation uses, with the place of each.

CloudFormation validates with a known library of JSON Schema (everit) and hides values that a pattern or an enum refuses; the messages
here are its messages. Numbers as text and the like are no problem, since they are settled first (`typing`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchyard.services.cloudformation.schemas.reading import Pointer, Schema, schema
from batchyard.services.cloudformation.schemas.typing import compiled, is_function, member, typed

Place = tuple[str | int, ...]  # ("ComputeResources", "Subnets", 0)
_SAID = {"string": "String", "integer": "Integer", "number": "Number", "boolean": "Boolean", "array": "JSONArray", "object": "JSONObject"}
_NOT_KNOWN_YET = ("{{resolve:", "{{changeSet:KNOWN_AFTER_APPLY}}")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. `path` leads to it from the properties; `message` is AWS's, such as `#/Priority: expected type: ...`."""

    path: Place
    message: str


def problems(type_name: str, properties: Mapping[str, Any], *, is_resolved: bool) -> list[Problem]:
    """All that the published schema has against these properties, in the order of the template.

    With `is_resolved` False the properties may hold functions: what depends on their value is not checked, both values of an Fn::If
    are. A value that is known later (dynamic references, what a change set cannot know) is taken to be right. A type without a schema
    has no problems.
    """
    found = schema(type_name)
    if found is None:
        return []
    check = _Check(found, is_resolved)
    check.value({**found.content, "type": "object"}, typed(type_name, properties), (), ())
    return list(dict.fromkeys(check.found))


def told(logical_id: str, found: Sequence[Problem]) -> str:
    """The reason that CloudFormation gives for refusing a resource with these problems."""
    return f"Properties validation failed for resource {logical_id} with message:\n" + "\n".join(p.message for p in found)


class _Check:
    def __init__(self, held: Schema, is_resolved: bool) -> None:
        self.held = held
        self.is_resolved = is_resolved
        self.found: list[Problem] = []

    def say(self, path: Place, message: str, at: Place | None = None) -> None:
        pointer = "#" + "".join(f"/{step}" for step in path)
        self.found.append(Problem(path if at is None else at, f"{pointer}: {message}"))

    def value(self, part: Mapping[str, Any], value: Any, path: Place, pointer: Pointer) -> None:
        part = self.held.part(part)
        if not self.is_resolved and is_function(value):
            for chosen in _chosen(value):
                self.value(part, chosen, path, pointer)
            return
        if isinstance(value, str) and any(mark in value for mark in _NOT_KNOWN_YET):
            return
        if not self._is_of_type(part, value, path):
            return
        self._choice(part, value, path)
        if isinstance(value, str):
            self._string(part, value, path)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            self._number(part, value, path)
        elif isinstance(value, list):
            self._list(part, value, path, pointer)
        elif isinstance(value, Mapping):
            self._object(part, value, path, pointer)

    def _is_of_type(self, part: Mapping[str, Any], value: Any, path: Place) -> bool:
        wanted = part.get("type")
        kinds = [wanted] if isinstance(wanted, str) else list(wanted or ())
        if not kinds or any(_is(kind, value) for kind in kinds):
            return True
        if len(kinds) == 1:
            self.say(path, f"expected type: {_SAID[kinds[0]]}, found: {_kind(value)}")
        else:
            self.say(path, f"#: no subschema matched out of the total {len(kinds)} subschemas")
        return False

    def _choice(self, part: Mapping[str, Any], value: Any, path: Place) -> None:
        if "enum" in part and value not in part["enum"]:
            self.say(path, "failed validation constraint for keyword [enum]")
        if "enumCaseInsensitive" in part and str(value).lower() not in (str(one).lower() for one in part["enumCaseInsensitive"]):
            self.say(path, "failed validation constraint for keyword [enum]")
        if "const" in part and value != part["const"]:
            self.say(path, "failed validation constraint for keyword [const]")

    def _string(self, part: Mapping[str, Any], value: str, path: Place) -> None:
        if len(value) < part.get("minLength", 0):
            self.say(path, f"expected minLength: {part['minLength']}, actual: {len(value)}")
        if len(value) > part.get("maxLength", len(value)):
            self.say(path, f"expected maxLength: {part['maxLength']}, actual: {len(value)}")
        if "pattern" in part and (pattern := compiled(part["pattern"])) and not pattern.search(value):
            self.say(path, "failed validation constraint for keyword [pattern]")
        if ("minimum" in part or "maximum" in part) and value.lstrip("-").isdigit():
            self._number(part, int(value), path)

    def _number(self, part: Mapping[str, Any], value: float, path: Place) -> None:
        if value < part.get("minimum", value) or value <= part.get("exclusiveMinimum", value - 1):
            self.say(path, "failed validation constraint for keyword [minimum]")
        if value > part.get("maximum", value) or value >= part.get("exclusiveMaximum", value + 1):
            self.say(path, "failed validation constraint for keyword [maximum]")
        if "multipleOf" in part and value % part["multipleOf"]:
            self.say(path, "failed validation constraint for keyword [multipleOf]")

    def _list(self, part: Mapping[str, Any], value: list[Any], path: Place, pointer: Pointer) -> None:
        is_known = self.is_resolved or not any(map(is_function, value))
        if is_known and len(value) < part.get("minItems", 0):
            self.say(path, f"expected minimum item count: {part['minItems']}, found: {len(value)}")
        if is_known and len(value) > part.get("maxItems", len(value)):
            self.say(path, f"expected maximum item count: {part['maxItems']}, found: {len(value)}")
        if part.get("uniqueItems") and any(value[i] in value[:i] for i in range(len(value)) if not _is_later(value[i])):
            self.say(path, "array items are not unique")
        if isinstance(part.get("items"), Mapping):
            for i, item in enumerate(value):
                self.value(part["items"], item, (*path, i), (*pointer, "*"))

    def _object(self, part: Mapping[str, Any], value: Mapping[str, Any], path: Place, pointer: Pointer) -> None:
        if not self.is_resolved and any(str(key).startswith("Fn::") for key in value):
            return  # Fn::Transform and Fn::ForEach among the members: what else there is, is known later
        for key, inner in value.items():
            here = (*pointer, key)
            shape = member(part, key)
            if here in self.held.read_only or (shape is None and part.get("additionalProperties", True) is False):
                self.say(path, f"extraneous key [{key}] is not permitted", (*path, key))
            elif shape is not None:
                self.value(shape, inner, (*path, key), here)
        self._members(part, value, path)

    def _members(self, part: Mapping[str, Any], value: Mapping[str, Any], path: Place) -> None:
        """Which members must be there, and which not together."""
        for key in part.get("required", ()):
            if key not in value:
                self.say(path, f"required key [{key}] not found")
        if len(value) < part.get("minProperties", 0):
            self.say(path, f"minimum size: [{part['minProperties']}], found: [{len(value)}]")
        if len(value) > part.get("maxProperties", len(value)):
            self.say(path, f"maximum size: [{part['maxProperties']}], found: [{len(value)}]")
        for keys in (part.get("requiredOr", ()), part.get("requiredXor", ())):
            if keys and not any(key in value for key in keys):
                self.say(path, "required key [" + "] or [".join(keys) + "] not found")
        self._together(part.get("requiredXor", ()), value, path)
        for key, others in part.get("dependentExcluded", {}).items():
            for other in others:
                if key in value and key < other:  # each pair stands there twice
                    self._together((key, other), value, path)
        for key, others in part.get("dependentRequired", {}).items():
            for other in others:
                if key in value and other not in value:
                    self.say(path, f"property [{other}] is required")
        self._alternatives(part, value, path)

    def _together(self, keys: Sequence[str], value: Mapping[str, Any], path: Place) -> None:
        present = [key for key in keys if key in value and (self.is_resolved or not is_function(value[key]))]
        if len(present) > 1:
            self.say(path, "keys [" + "] and [".join(present) + "] are not permitted together", (*path, present[1]))

    def _alternatives(self, part: Mapping[str, Any], value: Mapping[str, Any], path: Place) -> None:
        fitting = {key: sum(self._fits(one, value) for one in part[key]) for key in ("oneOf", "anyOf") if key in part}
        if fitting.get("anyOf") == 0:
            self.say(path, f"#: no subschema matched out of the total {len(part['anyOf'])} subschemas")
        if "oneOf" in fitting and fitting["oneOf"] != 1 and (self.is_resolved or fitting["oneOf"] == 0):
            self.say(path, f"#: {fitting['oneOf']} subschemas matched instead of one")
        if ("oneOf" in fitting and fitting["oneOf"] == 0) or fitting.get("anyOf") == 0:
            for missing in dict.fromkeys(key for kind in fitting for one in part[kind] for key in one.get("required", ())):
                if missing not in value:
                    self.say(path, f"required key [{missing}] not found")

    def _fits(self, part: Mapping[str, Any], value: Mapping[str, Any]) -> bool:
        check = _Check(self.held, self.is_resolved)
        check.value(part, value, (), ("*",))  # not at the top: what is read-only has been said already
        return not check.found


def _chosen(value: Mapping[str, Any]) -> list[Any]:
    """Both values of an Fn::If, but for what leaves no trace."""
    parts = value.get("Fn::If")
    if not isinstance(parts, list) or len(parts) != 3:
        return []
    return [part for part in parts[1:] if part != {"Ref": "AWS::NoValue"}]


def _is_later(value: Any) -> bool:
    return isinstance(value, str) and any(mark in value for mark in _NOT_KNOWN_YET)


def _is(kind: str, value: Any) -> bool:
    if kind == "boolean":
        return isinstance(value, bool)
    if kind == "integer":
        return isinstance(value, int) and not isinstance(value, bool)
    if kind == "number":
        return isinstance(value, int | float) and not isinstance(value, bool)
    expected: type = {"string": str, "array": list, "object": Mapping}[kind]
    return isinstance(value, expected)


def _kind(value: Any) -> str:
    """What the library calls the type that it found."""
    if value is None:
        return "Null"
    if isinstance(value, bool):
        return "Boolean"
    names = ((str, "String"), (int, "Integer"), (float, "BigDecimal"), (list, "JSONArray"), (Mapping, "JSONObject"))
    return next((name for kind, name in names if isinstance(value, kind)), type(value).__name__)
