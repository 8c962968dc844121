"""Who needs whom: the resources that must exist before another can be made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from batchyard.services.cloudformation.template import syntax
from batchyard.services.cloudformation.template.conditions import holds
from batchyard.services.cloudformation.template.model import Path, Template, TemplateFault


class Reference(NamedTuple):
    """A name that something refers to: by Ref or a ${Name} of Fn::Sub, or an attribute of it; `path` is where."""

    name: str
    is_attribute: bool
    path: Path
    attribute: Any = None  # a name, or a function that gives one


def needs(template: Template, conditions: Mapping[str, bool]) -> dict[str, frozenset[str]]:
    """Logical id of each resource whose condition holds -> those of them that must exist before.

    By DependsOn, and by Ref, GetAtt and Sub in its properties; of Fn::If the branch that is taken. A DependsOn of what is not to be there
    is passed over, as AWS does; a reference to it is refused. Raises TemplateFault, for circles too.
    """
    resources = template.section("Resources")
    active = {name for name, resource in resources.items() if holds(resource, conditions)}
    found: dict[str, frozenset[str]] = {}
    for name, resource in resources.items():
        if name not in active:
            continue
        path: Path = ("Resources", name, "Properties")
        wanted = {reference.name: reference.path for reference in references(resource.get("Properties"), template, path, conditions)}
        if gone := [other for other in wanted if other in resources and other not in active]:
            raise unresolved(gone, "Resources", template, wanted[gone[0]])
        found[name] = frozenset(other for other in (*depends_on(resource), *wanted) if other in active)
    if circle := syntax.cycle(found):
        raise circular(circle, template)
    return found


def references(value: Any, template: Template, path: Path, conditions: Mapping[str, bool] | None = None) -> Iterator[Reference]:
    """What `value` refers to: parameters, pseudo parameters and resources. Without `conditions` both branches of Fn::If count."""
    call = syntax.function(value)
    if call is not None:
        name, argument = call
        here = (*path, name)
        if name == "Fn::If" and conditions is not None and isinstance(argument, list) and len(argument) == 3:
            chosen = 1 if conditions.get(argument[0], False) else 2
            yield from references(argument[chosen], template, (*here, chosen), conditions)
            return
        if name == "Ref":
            if isinstance(argument, str):
                yield Reference(argument, False, here)
            return
        if name == "Fn::GetAtt":
            resource, attribute = syntax.attribute(argument, template, here)
            yield Reference(resource, True, here, attribute)
        if name == "Fn::Sub":
            parts, variables = syntax.sub(argument, template, here)
            yield from _of_text(parts, variables, here)
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from references(inner, template, (*path, key), conditions)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from references(inner, template, (*path, index), conditions)


def _of_text(parts: list[syntax.Part], variables: Mapping[str, Any], path: Path) -> Iterator[Reference]:
    for part in parts:
        if part.is_name and part.text not in variables:
            name, dot, attribute = part.text.partition(".")
            yield Reference(name, bool(dot), path, attribute or None)


def depends_on(resource: Mapping[str, Any]) -> list[str]:
    """The names of a resource's DependsOn, a string or a list."""
    named = resource.get("DependsOn", [])
    return [str(each) for each in named] if isinstance(named, list) else [str(named)]


def unresolved(names: list[str], block: str, template: Template, path: Path) -> TemplateFault:
    """AWS's refusal of references to what is not there."""
    return TemplateFault(
        f"Template format error: Unresolved resource dependencies [{', '.join(names)}] in the {block} block of the template",
        template.line(path),
    )


def circular(names: list[str], template: Template) -> TemplateFault:
    """AWS's refusal of resources that need each other."""
    return TemplateFault(f"Circular dependency between resources: [{', '.join(names)}]", template.line(("Resources", names[0])))
