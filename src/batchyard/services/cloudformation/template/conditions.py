"""Decides the conditions of a template: each once, in whatever order they refer to one another."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from batchyard.services.cloudformation.template import syntax, words
from batchyard.services.cloudformation.template.functions import Scope, arguments, as_text, resolve
from batchyard.services.cloudformation.template.model import Path, TemplateFault


def decide(scope: Scope) -> dict[str, bool]:
    """Condition -> whether it holds. `scope` needs parameters and pseudo parameters. Raises TemplateFault, for circular ones too."""
    deciding = _Deciding(scope)
    expressions = scope.template.section("Conditions")
    edges = {name: frozenset(mentioned(expression)) for name, expression in expressions.items()}
    if not syntax.cycle(edges):
        for name in syntax.order(edges):  # those that others refer to first: a long chain is no deep one
            deciding[name]
    return {name: deciding[name] for name in expressions}


def mentioned(expression: Any) -> list[str]:
    """The conditions that one refers to, by {"Condition": ...} and by Fn::If."""
    found: list[str] = []
    if isinstance(expression, Mapping):
        for key, inner in expression.items():
            if key == "Condition" and isinstance(inner, str):
                found.append(inner)
            if key == "Fn::If" and isinstance(inner, list) and inner and isinstance(inner[0], str):
                found.append(inner[0])
            found += mentioned(inner)
    elif isinstance(expression, list):
        for inner in expression:
            found += mentioned(inner)
    return found


def holds(part: Any, conditions: Mapping[str, bool]) -> bool:
    """Whether a resource or an output of the template is to be there at all."""
    name = part.get("Condition") if isinstance(part, Mapping) else None
    return not isinstance(name, str) or conditions.get(name, False)


class _Deciding(Mapping[str, bool]):
    """The conditions, decided when they are asked for: so Fn::If, within one condition, finds any other."""

    def __init__(self, scope: Scope) -> None:
        self.scope = replace(scope, conditions=self)
        self.expressions = scope.template.section("Conditions")
        self.decided: dict[str, bool] = {}
        self.open: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return iter(self.expressions)

    def __len__(self) -> int:
        return len(self.expressions)

    def __contains__(self, name: object) -> bool:
        return name in self.expressions

    def __getitem__(self, name: str) -> bool:
        if name in self.decided:
            return self.decided[name]
        path: Path = ("Conditions", name)
        if name in self.open:
            circle = ", ".join(self.open[self.open.index(name) :])
            raise TemplateFault(f"Template error: Found circular condition dependency: [{circle}]", self.scope.template.line(path))
        self.open.append(name)
        self.decided[name] = test(self.expressions[name], self.scope, path)
        self.open.pop()
        return self.decided[name]


def test(expression: Any, scope: Scope, path: Path) -> bool:
    """Whether an expression of the condition functions holds. Raises TemplateFault."""
    if isinstance(expression, bool):
        return expression
    if isinstance(expression, Mapping) and len(expression) == 1:
        ((name, argument),) = expression.items()
        inner = (*path, name)
        match name:
            case "Fn::Equals":
                return _equals(argument, scope, inner)
            case "Fn::Not":
                return not test(arguments(argument, range(1, 2), words.NOT, scope.template, inner)[0], scope, (*inner, 0))
            case "Fn::And" | "Fn::Or":
                operands = arguments(argument, range(2, 11), words.MANY.format(name), scope.template, inner)
                outcomes = [test(operand, scope, (*inner, index)) for index, operand in enumerate(operands)]
                return all(outcomes) if name == "Fn::And" else any(outcomes)
            case "Condition":
                if argument in scope.conditions:
                    return scope.conditions[argument]
                raise TemplateFault(
                    f"Template format error: Unresolved condition dependency {argument} in the Conditions block of the template",
                    scope.template.line(inner),
                )
    if syntax.function(expression) is not None:
        outcome = resolve(expression, scope, path)
        if isinstance(outcome, bool) or outcome in ("true", "false"):
            return outcome in (True, "true")
    raise TemplateFault(
        "Template format error: Conditions can only be boolean operations on parameters and other conditions", scope.template.line(path)
    )


def _equals(argument: Any, scope: Scope, path: Path) -> bool:
    both = arguments(argument, range(2, 3), words.EQUALS, scope.template, path)
    left, right = (as_text(resolve(each, scope, (*path, index))) for index, each in enumerate(both))
    if left is None or right is None:
        raise TemplateFault(f"Template error: {words.EQUALS}", scope.template.line(path))
    return left == right
