"""What a stack should be: its template with parameters settled, conditions decided and the order known."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.running.records import Physical, Resource
from batchyard.services.cloudformation.schemas.typing import typed
from batchyard.services.cloudformation.template import conditions, functions, references
from batchyard.services.cloudformation.template.functions import Scope
from batchyard.services.cloudformation.template.model import Path, Template, TemplateFault


@dataclass(frozen=True, slots=True)
class Target:
    """A template as one operation reads it. `needs` has the active resources, each with those that must be there first."""

    template: Template
    parameters: Mapping[str, str]
    pseudo: Mapping[str, Any]
    tags: Mapping[str, str]
    exports: Mapping[str, str]
    zones: Mapping[str, list[str]]
    conditions: Mapping[str, bool]
    needs: Mapping[str, frozenset[str]]
    stack_outputs: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # of other stacks: by name and ARN
    inert: frozenset[str] = field(default_factory=frozenset)  # types that are recorded without effect

    @classmethod
    def of(
        cls,
        template: Template,
        parameters: Mapping[str, str],
        pseudo: Mapping[str, Any],
        *,
        tags: Mapping[str, str],
        exports: Mapping[str, str],
        zones: Mapping[str, list[str]],
        stack_outputs: Mapping[str, Mapping[str, str]] | None = None,
        inert: frozenset[str] = frozenset(),
    ) -> Target:
        """Raises TemplateFault when conditions or references do not work out."""
        decided = conditions.decide(Scope(template, parameters, pseudo, zones=zones, exports=exports))
        needs = references.needs(template, decided)
        return cls(template, parameters, pseudo, tags, exports, zones, decided, needs, stack_outputs or {}, inert)

    def scope(self, resources: Mapping[str, Resource], *, is_plan: bool = False) -> Scope:
        """What functions may ask, as the resources are now."""
        there = {id: resource.current for id, resource in resources.items() if resource.current is not None}
        return Scope(
            self.template,
            self.parameters,
            self.pseudo,
            conditions=self.conditions,
            refs={id: physical.ref or physical.physical_id for id, physical in there.items()},
            attributes={id: physical.attributes for id, physical in there.items()},
            exports=self.exports,
            outputs=self.stack_outputs,
            zones=self.zones,
            is_plan=is_plan,
        )

    def fragment(self, logical_id: str) -> Mapping[str, Any]:
        """The resource as the template has it."""
        found: Mapping[str, Any] = self.template.section("Resources")[logical_id]
        return found

    def wanted(self, logical_id: str, scope: Scope) -> Physical:
        """The resource as it should be. Raises Fault (with the line) when a function or a property is wrong."""
        fragment, path = self.fragment(logical_id), ("Resources", logical_id)
        type_name = str(fragment["Type"])
        properties = functions.resolve(fragment.get("Properties") or {}, scope, (*path, "Properties")) or {}
        is_inert = type_name in self.inert
        if not isinstance(properties, dict):
            raise Fault("ValidationError", f"Properties of {logical_id} must be an object")
        deletion = str(functions.resolve(fragment.get("DeletionPolicy", "Delete"), scope, (*path, "DeletionPolicy")))
        replace = str(functions.resolve(fragment.get("UpdateReplacePolicy", "Delete"), scope, (*path, "UpdateReplacePolicy")))
        return Physical(
            type=type_name,
            properties=properties if is_inert or scope.is_plan else typed(type_name, properties),
            tags=dict(self.tags),
            needs=sorted(self.needs.get(logical_id, ())),
            deletion_policy=deletion,
            update_replace_policy=replace,
            is_inert=is_inert,
            creation_policy=functions.resolve(fragment.get("CreationPolicy") or {}, scope, (*path, "CreationPolicy")),
        )

    def metadata(self, logical_id: str, scope: Scope) -> str:
        """A resource's Metadata as JSON, "" for none."""
        found = self.fragment(logical_id).get("Metadata")
        return json.dumps(functions.resolve(found, scope, ("Resources", logical_id, "Metadata"))) if found else ""

    def imported(self, scope: Scope) -> set[str]:
        """Names of the exports that the template imports."""
        names: set[str] = set()
        for logical_id in self.needs:
            names |= functions.imported(self.fragment(logical_id), scope, ("Resources", logical_id))
        for name, output in self.template.section("Outputs").items():
            if conditions.holds(output, self.conditions):
                names |= functions.imported(output, scope, ("Outputs", name))
        return names

    def outputs(self, scope: Scope) -> list[dict[str, str]]:
        """OutputKey, OutputValue, Description, ExportName of those whose condition holds."""
        found = []
        for name, output in self.template.section("Outputs").items():
            if not conditions.holds(output, self.conditions):
                continue
            path = ("Outputs", name)
            shown = {"OutputKey": str(name), "OutputValue": _text(output.get("Value"), scope, (*path, "Value"))}
            if output.get("Description"):
                shown["Description"] = str(output["Description"])
            if output.get("Export"):
                shown["ExportName"] = _text(output["Export"].get("Name"), scope, (*path, "Export", "Name"))
            found.append(shown)
        return found


def _text(value: Any, scope: Scope, path: Path) -> str:
    text = functions.as_text(functions.resolve(value, scope, path))
    if text is None:
        message = (
            f"Template format error: Output {path[1]} is malformed. The Value field of every Outputs member must evaluate to a String."
        )
        raise TemplateFault(message, scope.template.line(path))
    return text
