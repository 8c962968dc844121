"""The resources of a template and of its nested ones in one list, in which whatever refers to a resource says so by a mark."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from batchyard.services.cloudformation.template import conditions, functions, references, syntax
from batchyard.services.cloudformation.template.loops import expanded
from batchyard.services.cloudformation.template.model import Template
from batchyard.services.cloudformation.template.parameters import as_text
from batchyard.services.cloudformation.template.scope import Scope

NESTED = "AWS::CloudFormation::Stack"
_MARK = re.compile(r"⟦([^⟧|]+)(?:\|[^⟧]*)?⟧")
_ZONES = ("a", "b", "c", "d")


@dataclass(frozen=True, slots=True)
class Source:
    """A stack, or the template of one. `physical` has ids of what was made; `inner` finds a nested stack by logical id and TemplateURL."""

    name: str
    template: Template
    inner: Callable[[str, str], Source | None]
    parameters: Mapping[str, str] = field(default_factory=dict)
    physical: Mapping[str, str] = field(default_factory=dict)
    region: str = "us-east-1"
    account: str = "123456789012"


@dataclass(frozen=True, slots=True)
class Element:
    """A resource: `id` is its logical id, within a nested stack with that one's before it; functions in `properties` are worked out."""

    id: str
    type: str
    properties: Mapping[str, Any]
    physical_id: str = ""


def elements(source: Source, prefix: str = "") -> list[Element]:
    """All resources whose conditions hold, in the template's order, those of a nested stack in its place. Raises TemplateFault."""
    return _Reading(source, prefix).found()


def marks(value: Any) -> list[str]:
    """The ids of the resources that `value` refers to, in their order, each once."""
    return list(dict.fromkeys(found for text in _texts(value) for found in _MARK.findall(text)))


def without_marks(text: str) -> str:
    """A text for people: the name of the resource in the place of its mark."""
    return _MARK.sub(lambda match: match[1].rpartition("/")[2], text)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


class _Any(dict[str, Any]):
    """Whatever is asked for is there: `made` says what it is."""

    def __init__(self, made: Callable[[str], str]) -> None:
        super().__init__()
        self.made = made

    def __contains__(self, name: object) -> bool:
        return True

    def __missing__(self, name: str) -> str:
        return self.made(name)


class _Reading:
    """One template on its way from text to elements."""

    def __init__(self, source: Source, prefix: str) -> None:
        self.source = source
        self.prefix = prefix
        template = source.template
        settled = {name: _settled(name, parts, source.parameters) for name, parts in template.section("Parameters").items()}
        self.template = expanded(template, settled) if template.section("Transform") else template
        zones = [source.region + letter for letter in _ZONES]
        self.attributes: dict[str, Mapping[str, Any]] = {}
        self.refs: dict[str, Any] = {}
        bare = Scope(
            self.template,
            settled,
            _pseudo(source),
            refs=self.refs,
            attributes=self.attributes,
            exports=_Any(lambda name: name),
            zones={"": zones, source.region: zones},
        )
        self.decided = conditions.decide(bare)
        self.scope = replace(bare, conditions=self.decided)

    def found(self) -> list[Element]:
        needs = references.needs(self.template, self.decided)
        made: dict[str, list[Element]] = {}
        for name in syntax.order(needs):
            made[name] = self._element(name)
        return [element for name in needs for element in made[name]]

    def _element(self, name: str) -> list[Element]:
        resource, id = self.template.section("Resources")[name], self.prefix + name
        properties = functions.resolve(resource.get("Properties") or {}, self.scope, ("Resources", name, "Properties")) or {}
        self.refs[name] = f"⟦{id}⟧"
        self.attributes[name] = _Any(lambda attribute: f"⟦{id}|{attribute}⟧")
        if resource["Type"] == NESTED:
            inner = self.source.inner(name, str(properties.get("TemplateURL", "")))
            if inner is not None:
                return self._nested(name, inner, properties)
        return [Element(id, str(resource["Type"]), properties, self.source.physical.get(name, ""))]

    def _nested(self, name: str, inner: Source, properties: Mapping[str, Any]) -> list[Element]:
        passed = properties.get("Parameters") or {}
        given = {key: ",".join(map(as_text, value)) if isinstance(value, list) else as_text(value) for key, value in passed.items()}
        source = replace(inner, parameters=given, region=self.source.region, account=self.source.account)
        reading = _Reading(source, f"{self.prefix}{name}/")
        held = reading.found()
        self.attributes[name] = {
            f"Outputs.{key}": functions.resolve(output.get("Value"), reading.scope, ("Outputs", key, "Value"))
            for key, output in reading.template.section("Outputs").items()
            if conditions.holds(output, reading.decided)
        }
        return held


def _settled(name: str, parts: Mapping[str, Any], given: Mapping[str, str]) -> str:
    """A parameter's value: what was given, the default, or its own name where there is neither."""
    if name in given:
        return given[name]
    return as_text(parts["Default"]) if parts.get("Default") is not None else name


def _pseudo(source: Source) -> dict[str, Any]:
    return {
        "AWS::Region": source.region,
        "AWS::AccountId": source.account,
        "AWS::StackName": source.name,
        "AWS::StackId": f"arn:aws:cloudformation:{source.region}:{source.account}:stack/{source.name}/0",
        "AWS::Partition": "aws",
        "AWS::URLSuffix": "amazonaws.com",
        "AWS::NotificationARNs": [],
    }
