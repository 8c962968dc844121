"""The nouns of a plan: resources as they stand and as they are wanted, and what becomes of each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from batchyard.services.cloudformation.template.functions import LATER

Place = tuple[str | int, ...]  # within the properties: ("ComputeResources", "Subnets", 0)
NESTED_STACK = "AWS::CloudFormation::Stack"


@dataclass(frozen=True, slots=True)
class Standing:
    """A resource as the stack last made it. `unresolved` are its properties as that template had them, functions and all."""

    type: str
    physical_id: str
    properties: Mapping[str, Any] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)  # the stack's, where they go onto the resource
    deletion_policy: str = ""
    update_replace_policy: str = ""
    metadata: Any = None
    creation_policy: Any = None
    update_policy: Any = None
    unresolved: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """A resource as the new template has it. What is not known yet is LATER in its properties; the rest is resolved.

    `imported` is the physical id of a resource that the stack takes over.
    """

    type: str
    properties: Mapping[str, Any] = field(default_factory=dict)
    needs: frozenset[str] = frozenset()
    tags: Mapping[str, str] = field(default_factory=dict)
    deletion_policy: str = ""
    update_replace_policy: str = ""
    metadata: Any = None
    creation_policy: Any = None
    update_policy: Any = None
    unresolved: Mapping[str, Any] | None = None
    imported: str = ""

    @property
    def has_later(self) -> bool:
        """Whether some value is not known before the change."""
        return is_later(self.properties)


@dataclass(frozen=True, slots=True)
class Detail:
    """One difference: where, from what to what, what it asks for, and why it is there."""

    attribute: str  # Properties, Tags, Metadata, CreationPolicy, UpdatePolicy, DeletionPolicy, UpdateReplacePolicy
    place: Place  # within the properties; () for what is no property
    kind: str  # Add, Remove, Modify
    before: Any
    after: Any
    requires_recreation: str  # Never, Conditionally, Always
    evaluation: str  # Static; Dynamic when the value is not known before the change
    source: str  # DirectModification, ParameterReference, ResourceReference, ResourceAttribute, Automatic
    causing_entity: str = ""

    @property
    def name(self) -> str:
        """The property of the top that differs; "" for what is no property, and for tags."""
        return str(self.place[0]) if self.place and self.attribute == "Properties" else ""


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of one resource. `before` and `after` are its whole bodies (Properties, policies, Metadata), None where there is none.

    `hidden` are the places within the properties whose values must not be shown.
    """

    logical_id: str
    type: str
    action: str  # Add, Modify, Remove, Import
    replacement: str = ""  # True, False, Conditional; "" unless Modify
    scope: tuple[str, ...] = ()
    details: tuple[Detail, ...] = ()
    physical_id: str = ""
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    policy_action: str = ""  # Delete, Retain, Snapshot, ReplaceAndDelete, ReplaceAndRetain, ReplaceAndSnapshot
    hidden: frozenset[Place] = frozenset()


def is_later(value: Any) -> bool:
    """Whether `value` holds something that is known only after the change."""
    if isinstance(value, str):
        return LATER in value
    if isinstance(value, Mapping):
        return any(map(is_later, value.values()))
    return isinstance(value, list | tuple) and any(map(is_later, value))
