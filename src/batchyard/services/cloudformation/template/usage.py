"""Checks how a template uses functions: which there are, where they may stand, and that they have the arguments that they need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NoReturn

from batchyard.services.cloudformation.template import functions, parameters, references, syntax, words
from batchyard.services.cloudformation.template.functions import arguments
from batchyard.services.cloudformation.template.model import Path, Template, TemplateFault

_IN_RULES = syntax.TESTS - {"Condition"} | syntax.RULES | {"Ref"}
_IN_MAP = frozenset({"Ref", "Fn::FindInMap"})  # without the transform AWS::LanguageExtensions
_LISTS = frozenset({"Fn::Cidr", "Fn::GetAZs", "Fn::RefAll", "Fn::Split", "Fn::ValueOfAll"})
_TEXTS = frozenset({"Fn::Base64", "Fn::GetStackOutput", "Fn::ImportValue", "Fn::Join", "Fn::Length", "Fn::Sub", "Fn::ToJsonString"})
_OUTSIDE = frozenset({"Fn::GetAZs", "Fn::GetStackOutput", "Fn::ImportValue"})
_STACK_OUTPUT = frozenset({"OutputName", "Region", "RoleArn", "StackName"})
_WORDS = {
    "Fn::Contains": words.CONTAINS,
    "Fn::EachMemberEquals": words.EACH.format("Fn::EachMemberEquals"),
    "Fn::EachMemberIn": words.EACH.format("Fn::EachMemberIn"),
    "Fn::ValueOf": words.OF_ALL.format("Fn::ValueOf"),
    "Fn::ValueOfAll": words.OF_ALL.format("Fn::ValueOfAll"),
    "Fn::And": words.MANY.format("Fn::And"),
    "Fn::Or": words.MANY.format("Fn::Or"),
    "Fn::Not": words.NOT,
    "Fn::Equals": words.EQUALS,
    "Fn::Join": words.JOIN,
    "Fn::Split": words.SPLIT,
    "Fn::Select": words.SELECT,
    "Fn::If": words.IF,
    "Fn::Cidr": words.CIDR,
}
_COUNTS = {"Fn::And": range(2, 11), "Fn::Or": range(2, 11), "Fn::Not": range(1, 2), "Fn::If": range(3, 4), "Fn::Cidr": range(2, 4)}


def check(value: Any, template: Template, path: Path, where: str) -> None:
    """Raises TemplateFault for a function in `value` that cannot stand there. `where` is "values", "conditions" or "rules"."""
    if isinstance(value, Mapping):
        _check_alone(value, template, path)
        call = syntax.function(value) or (
            ("Condition", value["Condition"]) if where == "conditions" and set(value) == {"Condition"} else None
        )
        if call is not None:
            _check_call(*call, template, (*path, call[0]), where)
        for key, inner in value.items():
            check(inner, template, (*path, key), where)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            check(inner, template, (*path, index), where)


def _check_alone(value: Mapping[str, Any], template: Template, path: Path) -> None:
    """A function is all that there is of an object; Fn::ForEach alone stands among members, under a name of its own."""
    if "Fn::Transform" in value:
        refuse_transform(value["Fn::Transform"], template, (*path, "Fn::Transform"))
    calls = [key for key in value if key[:4].lower() == "fn::" and not key.startswith("Fn::ForEach::")]
    if calls and len(value) > 1:
        beside = next(key for key in value if key != calls[0])
        message = f"Template error: {calls[0]} must be the only member of its object, beside it stands {beside}"
        raise TemplateFault(message, template.line((*path, calls[0])))


def _check_call(name: str, argument: Any, template: Template, path: Path, where: str) -> None:
    allowed = syntax.VALUES | (syntax.TESTS if where == "conditions" else frozenset())
    if syntax.has_extensions(template):
        allowed |= syntax.EXTENDED
    if where == "rules":
        allowed = _IN_RULES
    if where == "conditions":
        allowed -= {"Fn::ImportValue", "Fn::GetAZs", "Fn::Cidr", "Fn::Base64"}
    if name not in allowed:
        refusal = words.COLLAPSED if name in syntax.TESTS and where == "values" else words.UNSUPPORTED
        raise TemplateFault(f"Template error: {refusal.format(name)}", template.line(path))
    if name in _WORDS:
        found = arguments(argument, _COUNTS.get(name, range(2, 3)), _WORDS[name], template, path)
        _check_arguments(name, found, template, path)
    elif name == "Fn::FindInMap":
        _check_find(argument, template, path)
    elif name == "Fn::Sub":
        _check_sub(argument, template, path)
    elif name == "Fn::GetAtt":
        syntax.attribute(argument, template, path)
    elif name in ("Ref", "Condition", "Fn::RefAll") and (not isinstance(argument, str) or not argument):
        raise TemplateFault(f"Template error: every {name} object must have a single String value.", template.line(path))
    elif name == "Fn::ImportValue" and depends(argument, template, path):
        raise TemplateFault(f"Template error: {words.IMPORT_DEPENDS}", template.line(path))
    elif name in ("Fn::Base64", "Fn::GetAZs", "Fn::ImportValue") and kind(argument, template) not in ("text", ""):
        raise TemplateFault(f"Template error: every {name} object must have a String-typed value.", template.line(path))
    elif name == "Fn::GetStackOutput":
        if not isinstance(argument, Mapping) or not {"OutputName", "StackName"} <= argument.keys() <= _STACK_OUTPUT:
            raise TemplateFault(f"Template error: {words.STACK_OUTPUT}", template.line(path))
        if "RoleArn" in argument:
            raise TemplateFault("Template error: Fn::GetStackOutput with a RoleArn is not there yet", template.line((*path, "RoleArn")))
    elif name == "Fn::Length" and kind(argument, template) not in ("list", ""):
        raise TemplateFault(f"Template error: {words.LENGTH}", template.line(path))


def depends(value: Any, template: Template, path: Path) -> bool:
    """Whether `value` cannot be known before there are resources, or asks other stacks or for zones."""
    if any(found.is_attribute or found.name in template.section("Resources") for found in references.references(value, template, path)):
        return True
    return not _OUTSIDE.isdisjoint(_called(value))


def _called(value: Any) -> Iterator[str]:
    """The names of all functions in `value`."""
    if isinstance(value, Mapping):
        call = syntax.function(value)
        if call is not None:
            yield call[0]
        for inner in value.values():
            yield from _called(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _called(inner)


def refuse_transform(argument: Any, template: Template, path: Path) -> NoReturn:
    """Raises the refusal of a Fn::Transform, by the name of its transform, the first of several."""
    first = argument[0] if isinstance(argument, list) and argument else argument
    name = first.get("Name") if isinstance(first, Mapping) else first
    raise TemplateFault(f"No transform named {name} found.", template.line(path))


def kind(value: Any, template: Template) -> str:
    """What `value` will come to, as far as that can be known: "text", "list", "map", or "" for either."""
    call = syntax.function(value)
    if call is None:
        return "list" if isinstance(value, list) else "map" if isinstance(value, Mapping) else "text"
    name, argument = call
    if name == "Ref" and argument == "AWS::NoValue":
        return ""
    if name == "Ref":
        return "list" if argument == "AWS::NotificationARNs" or is_list_parameter(argument, template) else "text"
    return "list" if name in _LISTS else "text" if name in _TEXTS else ""


def is_list_parameter(name: Any, template: Template) -> bool:
    """Whether `name` is that of a parameter whose value is a list."""
    declared = template.section("Parameters").get(name) if isinstance(name, str) else None
    return isinstance(declared, Mapping) and parameters.is_list(str(declared.get("Type")))


def _check_arguments(name: str, found: list[Any], template: Template, path: Path) -> None:
    """What the literal ones among the arguments must be; those that are functions show it when they are resolved."""
    match name:
        case "Fn::Join":
            is_right = isinstance(found[0], str) and kind(found[1], template) in ("list", "")
            if isinstance(found[1], list):
                is_right = is_right and all(kind(each, template) in ("text", "") for each in found[1])
        case "Fn::Split":
            is_right = isinstance(found[0], str) and found[0] != "" and kind(found[1], template) in ("text", "")
        case "Fn::Select":
            is_right = kind(found[1], template) in ("list", "") and (syntax.function(found[0]) is not None or str(found[0]).isdecimal())
            if is_right and isinstance(found[1], list) and str(found[0]).isdecimal() and int(found[0]) >= len(found[1]):
                raise TemplateFault(
                    f"Template error: Fn::Select cannot select nonexistent value at index {int(found[0])}", template.line(path)
                )
        case "Fn::If":
            is_right = isinstance(found[0], str)
            if is_right and found[0] not in template.section("Conditions"):
                raise TemplateFault(f"Template error: unresolved condition dependency {found[0]} in Fn::If", template.line(path))
        case "Fn::Equals":
            is_right = all(kind(each, template) in ("text", "") for each in found)
        case "Fn::And" | "Fn::Or" | "Fn::Not":
            is_right = all(isinstance(each, Mapping | bool) for each in found)
        case "Fn::Cidr":
            is_right = all(kind(each, template) in ("text", "") for each in found)
        case "Fn::Contains":
            is_right = kind(found[0], template) in ("list", "") and kind(found[1], template) in ("text", "")
        case "Fn::EachMemberEquals":
            is_right = kind(found[0], template) in ("list", "") and kind(found[1], template) in ("text", "")
        case "Fn::EachMemberIn":
            is_right = kind(found[0], template) in ("list", "") and kind(found[1], template) in ("list", "")
        case _:
            is_right = all(isinstance(each, str) for each in found)
    if not is_right:
        raise TemplateFault(f"Template error: {_WORDS[name]}", template.line(path))


def _check_find(argument: Any, template: Template, path: Path) -> None:
    has_extensions = syntax.has_extensions(template)
    found = arguments(argument, range(3, 5) if has_extensions else range(3, 4), words.FIND, template, path)
    for each in found[:3]:
        call = syntax.function(each)
        if (call is None and functions.as_text(each) is None) or (call is not None and not has_extensions and call[0] not in _IN_MAP):
            raise TemplateFault(f"Template error: {words.FIND}", template.line(path))
    if len(found) == 4 and not (isinstance(found[3], Mapping) and set(found[3]) == {"DefaultValue"}):
        raise TemplateFault(f"Template error: {words.FIND}", template.line(path))
    mappings = template.section("Mappings")
    name, key, attribute = (functions.as_text(each) for each in found[:3])
    if name is None or len(found) == 4:
        return
    if name not in mappings:
        raise TemplateFault(
            f"Template error: Mapping named '{name}' is not present in the 'Mappings' section of template.", template.line(path)
        )
    if key is not None and (key not in mappings[name] or (attribute is not None and attribute not in mappings[name][key])):
        raise TemplateFault(f"Template error: Unable to get mapping for {name}::{key}::{attribute}", template.line(path))


def _check_sub(argument: Any, template: Template, path: Path) -> None:
    parts, variables = syntax.sub(argument, template, path)
    for part in parts:
        if part.is_name and part.text not in variables and kind({"Ref": part.text}, template) == "list":
            raise TemplateFault(
                f"Template error: variable {part.text} in Fn::Sub expression does not resolve to a string", template.line(path)
            )
    for key, each in variables.items():
        if kind(each, template) not in ("text", ""):
            raise TemplateFault(
                f"Template error: {words.SUB_VALUES}",
                template.line((*path, 1, key)),
            )
