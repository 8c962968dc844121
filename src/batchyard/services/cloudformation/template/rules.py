"""The Rules section: what must hold of parameters together, decided before anything is made."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from batchyard.services.cloudformation.template import parameters, syntax
from batchyard.services.cloudformation.template.conditions import test
from batchyard.services.cloudformation.template.functions import Scope, as_text, resolve
from batchyard.services.cloudformation.template.model import Path, TemplateFault

Facts = Mapping[str, Sequence[Mapping[str, Any]]]
_OPERATORS = frozenset({"Fn::And", "Fn::Or", "Fn::Not", "Fn::Equals", "Fn::Contains", "Fn::EachMemberEquals", "Fn::EachMemberIn"})


def check(scope: Scope, facts: Facts | None = None) -> None:
    """Raises TemplateFault for the first assertion that does not hold, of rules whose condition does.

    `facts`: parameter type ("AWS::EC2::Subnet::Id") -> what exists of it, each with its "Id" and attributes ("VpcId", "Tags.Name").
    """
    for name, rule in scope.template.section("Rules").items():
        path: Path = ("Rules", name)
        if "RuleCondition" in rule and not _holds(rule["RuleCondition"], scope, facts or {}, (*path, "RuleCondition")):
            continue
        for index, assertion in enumerate(rule["Assertions"]):
            here = (*path, "Assertions", index)
            if not _holds(assertion["Assert"], scope, facts or {}, (*here, "Assert")):
                described = assertion.get("AssertDescription")
                message = str(described) if described is not None else f"Assertion {index + 1} of the rule {name} does not hold"
                raise TemplateFault(message, scope.template.line(here))


def _holds(expression: Any, scope: Scope, facts: Facts, path: Path) -> bool:
    call = syntax.function(expression)
    if call is None or call[0] not in _OPERATORS:
        return test(expression, scope, path)
    name, argument = call
    here = (*path, name)
    operands = argument if isinstance(argument, list) else [argument]
    if name in ("Fn::And", "Fn::Or", "Fn::Not"):
        outcomes = [_holds(operand, scope, facts, (*here, index)) for index, operand in enumerate(operands)]
        return all(outcomes) if name == "Fn::And" else any(outcomes) if name == "Fn::Or" else not outcomes[0]
    left, right = (_operand(operand, scope, facts, (*here, index)) for index, operand in enumerate(operands))
    match name:
        case "Fn::Equals":
            return _texts(left) == _texts(right)
        case "Fn::Contains":
            return set(_texts(right)) <= set(_texts(left))
        case "Fn::EachMemberEquals":
            return set(_texts(left)) <= set(_texts(right))
        case _:
            return set(_texts(left)) <= set(_texts(right))


def _operand(value: Any, scope: Scope, facts: Facts, path: Path) -> Any:
    """What a rule function's operand comes to: RefAll, ValueOf and ValueOfAll ask the facts, the rest is resolved."""
    call = syntax.function(value)
    if call is None:
        if isinstance(value, list):
            return [_operand(each, scope, facts, (*path, index)) for index, each in enumerate(value)]
        return value
    name, argument = call
    match name:
        case "Fn::RefAll":
            return _given(scope, str(argument))
        case "Fn::ValueOfAll":
            return [_attribute(facts, str(argument[0]), each, str(argument[1])) for each in _given(scope, str(argument[0]))]
        case "Fn::ValueOf":
            parameter = str(argument[0])
            declared = str(scope.template.section("Parameters").get(parameter, {}).get("Type"))
            kind = declared.removeprefix("List<").removesuffix(">")
            found = parameters.value(scope.template, parameter, scope.parameters.get(parameter, ""))
            several = [_attribute(facts, kind, each, str(argument[1])) for each in (found if isinstance(found, list) else [found])]
            return several if isinstance(found, list) else several[0]
    return resolve(value, scope, path)


def _given(scope: Scope, kind: str) -> list[str]:
    """The values of all parameters of a type, single ones and lists."""
    found: list[str] = []
    for name, parts in scope.template.section("Parameters").items():
        if parts.get("Type") in (kind, f"List<{kind}>") and name in scope.parameters:
            value = parameters.value(scope.template, name, scope.parameters[name])
            found += value if isinstance(value, list) else [value]
    return found


def _attribute(facts: Facts, kind: str, wanted: str, attribute: str) -> str:
    for fact in facts.get(kind, ()):
        if fact.get("Id") == wanted:
            return as_text(fact.get(attribute, "")) or ""
    return ""


def _texts(value: Any) -> list[str]:
    several = value if isinstance(value, list) else [value]
    return [as_text(each) or "" for each in several]
