"""What the functions of templates look like: their names, their arguments, and how texts refer to things with ${...}."""

from __future__ import annotations

import graphlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from batchyard.services.cloudformation.template import words
from batchyard.services.cloudformation.template.model import Path, Template, TemplateFault

EXTENSIONS = "AWS::LanguageExtensions"
NO_VALUE_NAME = "AWS::NoValue"
PSEUDO = frozenset(
    {
        "AWS::AccountId",
        "AWS::NotificationARNs",
        NO_VALUE_NAME,
        "AWS::Partition",
        "AWS::Region",
        "AWS::StackId",
        "AWS::StackName",
        "AWS::URLSuffix",
    }
)
VALUES = frozenset(
    {
        "Ref",
        "Fn::Base64",
        "Fn::Cidr",
        "Fn::FindInMap",
        "Fn::GetAtt",
        "Fn::GetAZs",
        "Fn::GetStackOutput",
        "Fn::If",
        "Fn::ImportValue",
        "Fn::Join",
        "Fn::Select",
        "Fn::Split",
        "Fn::Sub",
    }
)
EXTENDED = frozenset({"Fn::Length", "Fn::ToJsonString"})  # beside Fn::ForEach; with the transform AWS::LanguageExtensions only
TESTS = frozenset({"Condition", "Fn::And", "Fn::Equals", "Fn::Not", "Fn::Or"})
RULES = frozenset({"Fn::Contains", "Fn::EachMemberEquals", "Fn::EachMemberIn", "Fn::RefAll", "Fn::ValueOf", "Fn::ValueOfAll"})
KNOWN = VALUES | EXTENDED | TESTS | RULES | {"Fn::ForEach", "Fn::Transform"}

_VARIABLE = re.compile(r"\$\{([^!{}][^{}]*|!)?\}|\$\{!([^{}]*)\}")
_NAME = re.compile(r"[A-Za-z0-9_.:]+\Z")


class Part(NamedTuple):
    """A stretch of a Fn::Sub text: literal, or the name between ${ and }."""

    text: str
    is_name: bool


def function(value: Any) -> tuple[str, Any] | None:
    """The function that `value` calls and its argument; None when it is no call. {"Condition": ...} is one in conditions only."""
    if isinstance(value, Mapping) and len(value) == 1:
        ((name, argument),) = value.items()
        if name == "Ref" or (isinstance(name, str) and name[:4].lower() == "fn::"):
            return name, argument
    return None


def has_extensions(template: Template) -> bool:
    """Whether the template asks for the transform AWS::LanguageExtensions."""
    return EXTENSIONS in transforms(template)


def transforms(template: Template) -> list[str]:
    """Names of the transforms that the template declares, in order."""
    declared = template.content.get("Transform")
    names = declared if isinstance(declared, list) else [] if declared is None else [declared]
    return [str(each.get("Name", "")) if isinstance(each, Mapping) else str(each) for each in names]


def parts(text: str) -> list[Part]:
    """A Fn::Sub text in pieces. `${!X}` is the literal ${X}; a ${ that no } closes is literal too."""
    found: list[Part] = []
    end = 0
    for match in _VARIABLE.finditer(text):
        found.append(Part(text[end : match.start()], False))
        literal = match[2]
        found.append(Part("${" + literal + "}", False) if literal is not None else Part(match[1] or "", True))
        end = match.end()
    found.append(Part(text[end:], False))
    return [part for part in found if part.is_name or part.text]


def sub(argument: Any, template: Template, path: Path) -> tuple[list[Part], Mapping[str, Any]]:
    """The parts of a Fn::Sub and its variables. Raises TemplateFault for any other argument than a text or [text, variables]."""
    text, variables = argument, {}
    if isinstance(argument, list) and len(argument) == 2 and isinstance(argument[1], Mapping):
        text, variables = argument
    if not isinstance(text, str):
        raise TemplateFault(
            "Template error: One or more Fn::Sub intrinsic functions don't specify expected arguments. Specify a string as first argument,"
            " and an optional second argument to specify a mapping of values to replace in the string",
            template.line(path),
        )
    found = parts(text)
    if not all(_NAME.match(part.text) for part in found if part.is_name):
        raise TemplateFault(
            "Template error: variable names in Fn::Sub syntax must contain only alphanumeric characters, underscores, periods, and colons",
            template.line(path),
        )
    return found, variables


def attribute(argument: Any, template: Template, path: Path) -> tuple[str, Any]:
    """The resource and the attribute (a name, or a function that gives one) of a Fn::GetAtt. Raises TemplateFault."""
    if isinstance(argument, str):
        name, dot, rest = argument.partition(".")
        if not (name and dot and rest):
            raise TemplateFault(
                "Template error: if specifying one argument to Fn::GetAtt, that argument must be a non-empty string in format"
                " <LogicalId>.<Attribute>",
                template.line(path),
            )
        return name, rest
    is_pair = isinstance(argument, list) and len(argument) == 2 and isinstance(argument[0], str)
    if not is_pair or not argument[0] or not argument[1] or not (isinstance(argument[1], str) or function(argument[1])):
        raise TemplateFault(
            f"Template error: {words.GET_ATT}",
            template.line(path),
        )
    return argument[0], argument[1]


def cycle(edges: Mapping[str, Iterable[str]]) -> list[str]:
    """Those that lie on a circle of `edges`, in the order of `edges`; [] when there is none.

    Of several circles one. Edges to what is no key do not count.
    """
    try:
        order(edges)
    except graphlib.CycleError as error:
        return [name for name in edges if name in error.args[1]]
    return []


def order(edges: Mapping[str, Iterable[str]]) -> list[str]:
    """The keys of `edges`, each after those that it leads to. Raises graphlib.CycleError."""
    sorter = graphlib.TopologicalSorter({name: sorted(other for other in others if other in edges) for name, others in edges.items()})
    return list(sorter.static_order())
