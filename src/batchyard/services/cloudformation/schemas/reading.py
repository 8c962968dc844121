"""The schemas that AWS publishes of its resource types, read from `published.json` one type at a time, as it is asked for.

The file holds one type in a line (`scripts/extract_schemas.py` writes it), so that a start of the server reads no schema at all and a
stack parses the few that its template uses.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

Pointer = tuple[str, ...]  # ("ComputeResources", "Subnets"); "*" is any element of a list
CUSTOM_RESOURCE = "AWS::CloudFormation::CustomResource"
_FILE = Path(__file__).parent / "published.json"
_HEADS = ("about", "from", "others")

# Where the published schema is not what AWS accepts: members to set, by type
_AMENDED: dict[str, dict[str, Any]] = {
    # What else stands in a custom resource is for its function
    CUSTOM_RESOURCE: {"additionalProperties": True},
    # A group without a VPC lies in the default one, and may have rules for what goes out like any other
    "AWS::EC2::SecurityGroup": {"dependentRequired": {}},
}


@dataclass(frozen=True)
class Schema:
    """What is published of one type. `content` is JSON Schema with AWS's additions, without descriptions."""

    type_name: str
    content: Mapping[str, Any]

    @property
    def properties(self) -> Mapping[str, Any]:
        """The properties of the top, by name."""
        found: Mapping[str, Any] = self.content.get("properties", {})
        return found

    @cached_property
    def create_only(self) -> frozenset[Pointer]:
        """Properties that only a new resource can have otherwise."""
        return self._pointers("createOnlyProperties")

    @cached_property
    def conditional(self) -> frozenset[Pointer]:
        """Properties whose change needs a new resource under conditions that the schema does not say."""
        return self._pointers("conditionalCreateOnlyProperties")

    @cached_property
    def read_only(self) -> frozenset[Pointer]:
        """Properties that the service sets, and a template cannot."""
        return self._pointers("readOnlyProperties")

    @cached_property
    def write_only(self) -> frozenset[Pointer]:
        """Properties that the service takes and never tells."""
        return self._pointers("writeOnlyProperties")

    @cached_property
    def identifier(self) -> tuple[Pointer, ...]:
        """The properties that make up the physical id, in order."""
        return tuple(map(_pointer, self.content.get("primaryIdentifier", ())))

    @property
    def is_deleted_first(self) -> bool:
        """Whether the old one goes before its replacement comes (it stands in its way)."""
        return bool(self.content.get("replacementStrategy") == "delete_then_create")

    @property
    def tag_property(self) -> str:
        """The property that holds its tags, "" when it takes none."""
        tagging = self.content.get("tagging", {})
        if not tagging.get("taggable", False):
            return ""
        name = str(tagging.get("tagProperty", "/properties/Tags")).removeprefix("/properties/")
        return name if name in self.properties else ""

    def part(self, part: Mapping[str, Any]) -> Mapping[str, Any]:
        """A part of the schema with its reference followed."""
        while "$ref" in part:
            found: Any = self.content
            for step in str(part["$ref"]).removeprefix("#/").split("/"):
                found = found[step]
            part = found
        return part

    def _pointers(self, key: str) -> frozenset[Pointer]:
        return frozenset(map(_pointer, self.content.get(key, ())))


def _pointer(text: str) -> Pointer:
    """`/properties/Ec2Configuration/*/Status` as steps; `properties` and `items` in the middle say nothing of their own."""
    steps = text.removeprefix("/properties/").split("/")
    return tuple("*" if step == "items" else step for step in steps if step != "properties")


@lru_cache(maxsize=1)
def _lines() -> dict[str, str]:
    lines = _FILE.read_text(encoding="utf-8").splitlines()
    return {line.split('"', 2)[1]: line for line in lines if line.startswith('"')}


def _read(key: str) -> Any:
    return json.loads("{" + _lines()[key].rstrip(",") + "}")[key]


@lru_cache(maxsize=1)
def known() -> frozenset[str]:
    """The types whose schema is here (without `Custom::`, which are all `AWS::CloudFormation::CustomResource`)."""
    return frozenset(_lines()) - frozenset(_HEADS)


@lru_cache(maxsize=1)
def published() -> frozenset[str]:
    """The names of all types that AWS has, with those whose schema is not kept here."""
    others = {f"{service}::{name}" for service, names in _read("others").items() for name in names.split()}
    return known() | others


@lru_cache(maxsize=256)
def schema(type_name: str) -> Schema | None:
    """The schema of a type; None for one that is not `known`."""
    name = CUSTOM_RESOURCE if type_name.startswith("Custom::") else type_name
    if name not in known():
        return None
    return Schema(type_name, {**_read(name), **_AMENDED.get(name, {})})


def source() -> str:
    """Where the schemas come from: package, version, region, date."""
    return str(_read("from"))
