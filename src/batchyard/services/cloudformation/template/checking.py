"""Refuses a template for everything that can be known without parameters, in AWS's words where they are known, with the line."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import Any

from batchyard.services.cloudformation.template import conditions, declarations, references, syntax, usage, words
from batchyard.services.cloudformation.template.declarations import ALPHANUMERIC, limited, refusal
from batchyard.services.cloudformation.template.model import Path, Template, TemplateFault

MAX_RESOURCES = 500
MAX_OUTPUTS = 200
MAX_DESCRIPTION = 1024  # bytes
VERSION = "2010-09-09"
TRANSFORMS = frozenset({syntax.EXTENSIONS})
_SECTIONS = [
    "AWSTemplateFormatVersion",
    "Conditions",
    "Description",
    "Hooks",
    "Mappings",
    "Metadata",
    "Outputs",
    "Parameters",
    "Resources",
    "Rules",
    "Transform",
]
_RESOURCE = frozenset(
    [
        "Condition",
        "CreationPolicy",
        "DeletionPolicy",
        "DependsOn",
        "Description",
        "Metadata",
        "Properties",
        "Type",
        "UpdatePolicy",
        "UpdateReplacePolicy",
    ]
)
_OUTPUT = frozenset(("Condition", "Description", "Export", "Value"))
_REFERRING = {
    "Resources": ("Properties", "Metadata", "CreationPolicy", "UpdatePolicy"),
    "Outputs": ("Value", "Export", "Description"),
}
_POLICIES = {
    "DeletionPolicy": ("Delete", "Retain", "Snapshot", "RetainExceptOnCreate"),
    "UpdateReplacePolicy": ("Delete", "Retain", "Snapshot"),
}
_WITH_SNAPSHOTS = frozenset(  # user guide, "DeletionPolicy attribute"
    (
        "AWS::DocDB::DBCluster",
        "AWS::EC2::Volume",
        "AWS::ElastiCache::CacheCluster",
        "AWS::ElastiCache::ReplicationGroup",
        "AWS::Neptune::DBCluster",
        "AWS::RDS::DBCluster",
        "AWS::RDS::DBInstance",
        "AWS::Redshift::Cluster",
    )
)
_TYPE = re.compile(r"[A-Za-z0-9]+(::[A-Za-z0-9]+){2,}(::MODULE)?\Z|Custom::[A-Za-z0-9_@-]{1,60}\Z")
_EXPORT = re.compile(r"[A-Za-z0-9:_/.-]+\Z")


HasAttribute = Callable[[str, str], bool]


def check(template: Template, known_types: Collection[str] | None = None, has_attribute: HasAttribute | None = None) -> None:
    """Raises TemplateFault when the template is wrong. With `known_types`, types beside them and Custom::* are refused by name; with
    `has_attribute` (of a type, an attribute) what Fn::GetAtt cannot give.

    A template that declares AWS::LanguageExtensions is to be expanded first (`loops.expanded`).
    """
    _check_sections(template)
    declarations.check_parameters(template)
    declarations.check_mappings(template)
    declarations.check_rules(template)
    _check_resources(template, known_types)
    _check_outputs(template)
    _check_names(template)
    _check_functions(template)
    _check_references(template, has_attribute)
    _check_circles(template)


def _check_sections(template: Template) -> None:
    for name in syntax.transforms(template):
        if name not in TRANSFORMS:
            raise TemplateFault(f"No transform named {name} found.", template.line(("Transform",)))
    if unknown := [key for key in template.content if key not in _SECTIONS]:
        raise TemplateFault(f"Invalid template property or properties [{', '.join(unknown)}]", template.line((unknown[0],)))
    version = template.content.get("AWSTemplateFormatVersion", VERSION)
    if version != VERSION:
        raise refusal(f"{version} is not a supported value for AWSTemplateFormatVersion.", template, ("AWSTemplateFormatVersion",))
    description = template.content.get("Description", "")
    if not isinstance(description, str | int | float):
        raise refusal("Every Description member must be a string.", template, ("Description",))
    if len(str(description).encode()) > MAX_DESCRIPTION:
        raise refusal(f"'Description' length is greater than {MAX_DESCRIPTION}.", template, ("Description",))
    if "Hooks" in template.content:
        raise refusal("Hooks are not supported here.", template, ("Hooks",))
    for section in ("Conditions", "Mappings", "Metadata", "Outputs", "Parameters", "Resources", "Rules"):
        found = template.content.get(section, {})
        if not isinstance(found, Mapping):
            raise refusal(f"[/{section}] {section} must be an object", template, (section,))
        if "Fn::Transform" in found:
            usage.refuse_transform(found["Fn::Transform"], template, (section, "Fn::Transform"))
        if loops := [key for key in found if key.startswith("Fn::ForEach::")]:
            raise TemplateFault(f"Template error: {loops[0]} needs the transform {syntax.EXTENSIONS}", template.line((section, loops[0])))


def _check_resources(template: Template, known_types: Collection[str] | None) -> None:
    resources = template.section("Resources")
    if not resources:
        raise refusal("At least one Resources member must be defined.", template, ("Resources",))
    limited(len(resources), MAX_RESOURCES, "resources", template, "Resources")
    for name, resource in resources.items():
        path: Path = ("Resources", name)
        if not ALPHANUMERIC.match(name) or len(name) > declarations.MAX_NAME:
            raise refusal(f"Resource name {name} is non alphanumeric.", template, path)
        if not isinstance(resource, Mapping):
            raise refusal("Any Resources member must be a JSON object.", template, path)
        if not isinstance(resource.get("Type"), str):
            raise refusal(f"[/Resources/{name}] Every Resources object must contain a Type member.", template, path)
        is_custom = resource["Type"].startswith("Custom::") or resource["Type"] == "AWS::CloudFormation::CustomResource"
        for key in resource:
            if key not in _RESOURCE and not (is_custom and key == "Version"):
                raise TemplateFault(f"Invalid template resource property '{key}'", template.line((*path, key)))
        _check_resource(resource, template, path)
    _check_types(template, known_types)


def _check_types(template: Template, known_types: Collection[str] | None) -> None:
    def is_known(kind: str) -> bool:
        if not _TYPE.match(kind) or kind.endswith("::MODULE"):
            return False
        return known_types is None or kind in known_types or kind.startswith("Custom::")

    resources = template.section("Resources")
    unknown = {resource["Type"]: name for name, resource in reversed(list(resources.items())) if not is_known(resource["Type"])}
    if unknown:
        kinds = sorted(unknown)
        first = min(template.line(("Resources", name, "Type")) for name in unknown.values())
        raise TemplateFault(f"Template format error: Unrecognized resource types: [{', '.join(kinds)}]", first)


def _check_resource(resource: Mapping[str, Any], template: Template, path: Path) -> None:
    for key in ("Properties", "Metadata", "CreationPolicy", "UpdatePolicy"):
        if key in resource and not isinstance(resource[key], Mapping):
            raise refusal(f"[/{'/'.join(map(str, path))}] {key} must be an object", template, (*path, key))
    named = resource.get("DependsOn", [])
    if not isinstance(named, str | list) or (isinstance(named, list) and not all(isinstance(each, str) for each in named)):
        raise refusal("DependsOn must be a string or list of strings.", template, (*path, "DependsOn"))
    if "Condition" in resource and not isinstance(resource["Condition"], str):
        raise refusal("Every Condition member must be a string.", template, (*path, "Condition"))
    for key, allowed in _POLICIES.items():
        chosen = resource.get(key, "Delete")
        is_function = syntax.has_extensions(template) and syntax.function(chosen) is not None
        if not is_function and chosen not in allowed:
            raise refusal(f"Unrecognized {key} {chosen} for resource {path[1]}", template, (*path, key))
        if chosen == "Snapshot" and resource.get("Type") not in _WITH_SNAPSHOTS:
            words = f"resource type {resource.get('Type')} does not support deletion policy Snapshot"
            raise refusal(words, template, (*path, key))


def _check_outputs(template: Template) -> None:
    outputs = template.section("Outputs")
    limited(len(outputs), MAX_OUTPUTS, "outputs", template, "Outputs")
    for name, output in outputs.items():
        path: Path = ("Outputs", name)
        if not ALPHANUMERIC.match(name) or len(name) > declarations.MAX_NAME:
            raise refusal(f"Outputs name '{name}' is non alphanumeric.", template, path)
        if not isinstance(output, Mapping):
            raise refusal("Any Outputs member must be a JSON object.", template, path)
        if unknown := [key for key in output if key not in _OUTPUT]:
            raise refusal(f"Invalid outputs property : [{', '.join(unknown)}]", template, (*path, unknown[0]))
        if "Condition" in output and not isinstance(output["Condition"], str):
            raise refusal("Every Condition member must be a string.", template, (*path, "Condition"))
        if "Value" not in output:
            raise refusal(f"[/Outputs/{name}] Every Outputs member must contain a Value object", template, path)
        kind = usage.kind(output["Value"], template)
        if kind in ("list", "map"):
            raise refusal(
                f"The Value field of every Outputs member must evaluate to a String and not a {kind.title()}.", template, (*path, "Value")
            )
        if "Export" in output:
            _check_export(name, output["Export"], template, (*path, "Export"))
            if usage.depends(output["Export"]["Name"], template, (*path, "Export", "Name")):
                raise TemplateFault(f"Template error: {words.EXPORT_DEPENDS.format(name)}", template.line((*path, "Export", "Name")))


def _check_export(output: str, export: Any, template: Template, path: Path) -> None:
    named = export.get("Name") if isinstance(export, Mapping) and set(export) == {"Name"} else None
    if syntax.function(named) is None and not (isinstance(named, str) and _EXPORT.match(named)):
        raise refusal(
            f"Output {output} is malformed. The Name field of every Export member must be specified and consist only of alphanumeric"
            " characters, colons, or hyphens.",
            template,
            path,
        )


def _check_names(template: Template) -> None:
    """Parameters, pseudo parameters and resources share one space of names; conditions are named by those who have one."""
    resources = template.section("Resources")
    if common := [name for name in template.section("Parameters") if name in resources]:
        raise TemplateFault(
            f"Template error: all resources and parameters must have unique names. Common name(s):[{', '.join(common)}]",
            template.line(("Resources", common[0])),
        )
    for section in ("Resources", "Outputs"):
        for name, part in template.section(section).items():
            condition = part.get("Condition")
            if condition is not None and condition not in template.section("Conditions"):
                raise refusal(
                    f"Unresolved condition dependency {condition} in the {section} block of the template",
                    template,
                    (section, name, "Condition"),
                )


def _check_functions(template: Template) -> None:
    for section, where in (("Conditions", "conditions"), ("Rules", "rules"), ("Outputs", "values")):
        usage.check(template.section(section), template, (section,), where)
    for name, resource in template.section("Resources").items():
        for key in ("Properties", "Metadata", "CreationPolicy", "UpdatePolicy"):
            usage.check(resource.get(key), template, ("Resources", name, key), "values")
    for name, expression in template.section("Conditions").items():
        path: Path = ("Conditions", name)
        if not isinstance(expression, Mapping) or set(expression) - syntax.TESTS:
            raise refusal("Conditions can only be boolean operations on parameters and other conditions", template, path)
    expressions = template.section("Conditions")
    edges = {name: frozenset(conditions.mentioned(expression)) for name, expression in expressions.items()}
    for name, others in edges.items():
        for other in others:
            if other not in expressions:
                raise refusal(
                    f"Unresolved condition dependency {other} in the Conditions block of the template", template, ("Conditions", name)
                )
    if circle := syntax.cycle(edges):
        raise TemplateFault(
            f"Template error: Found circular condition dependency: [{', '.join(circle)}]", template.line(("Conditions", circle[0]))
        )


def _check_references(template: Template, has_attribute: HasAttribute | None) -> None:
    resources, declared = template.section("Resources"), template.section("Parameters")
    names = syntax.PSEUDO | declared.keys()
    for reference in references.references(template.section("Conditions"), template, ("Conditions",)):
        if reference.is_attribute or reference.name not in names:
            raise refusal(
                f"Unresolved dependencies [{reference.name}]. Cannot reference resources in the Conditions block of the template",
                template,
                reference.path,
            )
    for reference in references.references(template.section("Rules"), template, ("Rules",)):
        if reference.name not in names:
            raise references.unresolved([reference.name], "Rules", template, reference.path)
    for section in ("Resources", "Outputs"):
        missing: dict[str, Path] = {}  # all of a section at once, as AWS names them
        for name, part in template.section(section).items():
            for index, other in enumerate(references.depends_on(part) if section == "Resources" else ()):
                if other not in resources:
                    missing.setdefault(other, (section, name, "DependsOn", index))
                if other == name:
                    raise references.circular([name], template)
            for key in _REFERRING[section]:
                for found in _targets(part.get(key), template, (section, name, key), has_attribute):
                    if found.name not in resources and found.name not in names:
                        missing.setdefault(found.name, found.path)
        if missing:
            raise references.unresolved(list(missing), section, template, next(iter(missing.values())))


def _targets(value: Any, template: Template, path: Path, has_attribute: HasAttribute | None) -> Iterator[references.Reference]:
    """What `value` refers to as a whole; of what it asks an attribute of, it is checked that there is one."""
    resources = template.section("Resources")
    for found in references.references(value, template, path):
        if not found.is_attribute:
            yield found
        elif found.name not in resources:
            raise TemplateFault(
                f"Template error: instance of Fn::GetAtt references undefined resource {found.name}", template.line(found.path)
            )
        elif has_attribute and isinstance(found.attribute, str) and not has_attribute(resources[found.name]["Type"], found.attribute):
            words = f"resource {found.name} does not support attribute type {found.attribute} in Fn::GetAtt"
            raise TemplateFault(f"Template error: {words}", template.line(found.path))


def _check_circles(template: Template) -> None:
    """Circles that no parameter can open: those that pass through no Fn::If."""
    resources = template.section("Resources")
    edges = {}
    for name, resource in resources.items():
        found = references.references(resource.get("Properties"), template, ("Resources", name, "Properties"))
        edges[name] = frozenset(references.depends_on(resource)) | {each.name for each in found if "Fn::If" not in each.path}
    if circle := syntax.cycle(edges):
        raise references.circular(circle, template)
