"""Checks what a template declares besides its resources: parameters, mappings, and the form of rules and conditions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from batchyard.services.cloudformation.template import parameters, patterns, syntax, usage
from batchyard.services.cloudformation.template.model import Path, Template, TemplateFault

MAX_PARAMETERS = 200
MAX_MAPPINGS = 200
MAX_NAME = 255
ALPHANUMERIC = re.compile(r"[A-Za-z0-9]+\Z")
_MAPPING_KEY = re.compile(r"[A-Za-z0-9.-]+\Z")
_MEMBERS = frozenset(
    [
        "AllowedPattern",
        "AllowedValues",
        "ConstraintDescription",
        "Default",
        "Description",
        "MaxLength",
        "MaxValue",
        "MinLength",
        "MinValue",
        "NoEcho",
        "Type",
    ]
)
_TEXTS = ("Default", "Description", "ConstraintDescription", "AllowedPattern")


def refusal(message: str, template: Template, path: Path) -> TemplateFault:
    """A refusal of the template's form, with its line."""
    return TemplateFault(f"Template format error: {message}", template.line(path) or 1)


def limited(count: int, most: int, what: str, template: Template, section: str) -> None:
    """Raises TemplateFault when a section holds more than CloudFormation allows."""
    if count > most:
        raise refusal(f"Number of {what}, {count}, is greater than maximum allowed, {most}", template, (section,))


def check_parameters(template: Template) -> None:
    """Raises TemplateFault for a declaration that CloudFormation would refuse, its default included."""
    declared = template.section("Parameters")
    limited(len(declared), MAX_PARAMETERS, "parameters", template, "Parameters")
    for name, parts in declared.items():
        path: Path = ("Parameters", name)
        if not ALPHANUMERIC.match(name) or len(name) > MAX_NAME:
            raise refusal(f"Parameter name {name} is non alphanumeric.", template, path)
        if not isinstance(parts, Mapping):
            raise refusal("Any Parameters member must be a JSON object.", template, path)
        _check_parameter(name, parts, template, path)


def _check_parameter(name: str, parts: Mapping[str, Any], template: Template, path: Path) -> None:
    for key in parts:
        if key not in _MEMBERS:
            raise TemplateFault(f"Invalid template parameter property '{key}'", template.line((*path, key)))
    declared = parts.get("Type")
    if declared is None:
        raise refusal("Every Parameters object must contain a Type member.", template, path)
    if not isinstance(declared, str) or declared not in parameters.TYPES:
        raise refusal(f"Unrecognized parameter type: {declared}", template, (*path, "Type"))
    for key in _TEXTS:
        if isinstance(parts.get(key), Mapping | list):
            raise refusal(f"Every {key} member must be a string.", template, (*path, key))
    allowed = parts.get("AllowedValues", [])
    if not isinstance(allowed, list):
        raise refusal("Every AllowedValues member must be a list.", template, (*path, "AllowedValues"))
    if any(isinstance(each, Mapping | list) for each in allowed):
        raise refusal("Every AllowedValues value must be a string.", template, (*path, "AllowedValues"))
    if str(parts.get("NoEcho", "false")).lower() not in ("true", "false"):
        raise refusal("NoEcho must be true or false.", template, (*path, "NoEcho"))
    _check_bounds(name, parts, declared, template, path)
    if parts.get("Default") is not None:
        wrong = parameters.problem(name, parts, parameters.as_text(parts["Default"]))
        if wrong is not None:
            raise TemplateFault(wrong, template.line((*path, "Default")))


def _check_bounds(name: str, parts: Mapping[str, Any], declared: str, template: Template, path: Path) -> None:
    is_number = declared in ("Number", "List<Number>")
    for lowest, highest, belongs, wanted in (
        ("MinLength", "MaxLength", not is_number, "String"),
        ("MinValue", "MaxValue", is_number, "Number"),
    ):
        bounds: dict[str, float | None] = {}
        for key in (lowest, highest):
            try:
                bounds[key] = parameters.constraint(parts, key)
            except (TypeError, ValueError):
                raise TemplateFault(f"Parameter '{name}' {key} must be a number.", template.line((*path, key))) from None
            if bounds[key] is not None and not belongs:
                raise TemplateFault(
                    f"Template error: Parameter '{name}' {key} must be on a parameter of type {wanted}", template.line((*path, key))
                )
        low, high = bounds[lowest], bounds[highest]
        if low is not None and high is not None and low > high:
            raise TemplateFault(f"Template error: Parameter '{name}' {lowest} must be less than {highest}.", template.line((*path, lowest)))
    pattern = parts.get("AllowedPattern")
    if pattern is not None:
        if is_number:
            raise TemplateFault(
                f"Template error: Parameter '{name}' AllowedPattern must be on a parameter of type String",
                template.line((*path, "AllowedPattern")),
            )
        try:
            patterns.compiled(parameters.as_text(pattern))
        except ValueError as error:
            raise TemplateFault(
                f"Parameter '{name}' AllowedPattern must be a valid regular expression. ({error})",
                template.line((*path, "AllowedPattern")),
            ) from None


def check_mappings(template: Template) -> None:
    """Raises TemplateFault for mappings that are not two levels of strings or lists."""
    declared = template.section("Mappings")
    limited(len(declared), MAX_MAPPINGS, "mappings", template, "Mappings")
    for name, rows in declared.items():
        if not ALPHANUMERIC.match(name):
            raise refusal(f"Mappings name '{name}' is non alphanumeric.", template, ("Mappings", name))
        if isinstance(rows, Mapping) and "Fn::Transform" in rows:
            usage.refuse_transform(rows["Fn::Transform"], template, ("Mappings", name, "Fn::Transform"))
        if not isinstance(rows, Mapping):
            raise refusal(f"Every Mappings member {name} must be a map", template, ("Mappings", name))
        for key, attributes in rows.items():
            path: Path = ("Mappings", name, key)
            if not isinstance(attributes, Mapping):
                raise refusal(f"[/{'/'.join(map(str, path))}] Every Mappings attribute must be a map", template, path)
            for attribute, each in attributes.items():
                if isinstance(each, Mapping) or (isinstance(each, list) and any(isinstance(inner, Mapping | list) for inner in each)):
                    raise refusal("Every Mappings attribute must be a String or a List.", template, (*path, attribute))
                if not _MAPPING_KEY.match(attribute) and not syntax.has_extensions(template):
                    raise refusal(f"Mappings attribute name '{attribute}' must contain only alphanumeric characters.", template, path)


def check_rules(template: Template) -> None:
    """Raises TemplateFault for rules that are not assertions under a condition."""
    for name, rule in template.section("Rules").items():
        path: Path = ("Rules", name)
        if not isinstance(rule, Mapping) or not isinstance(rule.get("Assertions"), list):
            raise refusal(f"[/Rules/{name}] Every Rules member must contain a list of Assertions", template, path)
        for key in rule:
            if key not in ("Assertions", "RuleCondition"):
                raise TemplateFault(f"Invalid template rule property '{key}'", template.line((*path, key)))
        for index, assertion in enumerate(rule["Assertions"]):
            here = (*path, "Assertions", index)
            if not isinstance(assertion, Mapping) or "Assert" not in assertion or set(assertion) - {"Assert", "AssertDescription"}:
                raise refusal(f"[/Rules/{name}/Assertions/{index}] Every assertion must contain an Assert member", template, here)
