"""Why a value is what it is: which references of the template stand behind which place of the resolved properties."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from batchyard.services.cloudformation.planning.changes import Place

_IN_SUB = re.compile(r"\$\{([^!${}][^${}]*)\}")


@dataclass(frozen=True, slots=True, order=True)
class Source:
    """A reference: a parameter or a resource by name, and of a resource the attribute, "" for Ref."""

    name: str
    attribute: str = ""


def sources(fragment: Any) -> frozenset[Source]:
    """All references in a piece of a template, in whatever function they stand; pseudo parameters too ("AWS::Region")."""
    return frozenset(_sources(fragment))


def _sources(fragment: Any) -> Iterator[Source]:
    if isinstance(fragment, Mapping):
        for key, value in fragment.items():
            if key == "Ref" and isinstance(value, str):
                yield Source(value)
            elif key == "Fn::GetAtt":
                name, _, attribute = ".".join(map(str, value)).partition(".") if isinstance(value, list) else str(value).partition(".")
                yield Source(name, attribute)
            elif key == "Fn::Sub":
                yield from _in_sub(value)
            else:
                yield from _sources(value)
    elif isinstance(fragment, list | tuple):
        for value in fragment:
            yield from _sources(value)


def _in_sub(value: Any) -> Iterator[Source]:
    text, given = (value[0], value[1]) if isinstance(value, list) and len(value) == 2 else (value, {})
    for found in _IN_SUB.finditer(str(text)):
        name, _, attribute = found[1].strip().partition(".")
        if found[1].strip() not in given:
            yield Source(name, attribute)
    yield from _sources(given)


def placed(fragment: Any, value: Any, place: Place = (), conditions: Mapping[str, bool] | None = None) -> dict[Place, Any]:
    """The functions of an unresolved piece, by the place in its resolved `value` that they make up.

    Where a list lost elements on the way (AWS::NoValue), the whole list counts as made up by a function. With `conditions` an Fn::If is
    the value that was chosen, and the other one is not there.
    """
    if isinstance(fragment, Mapping):
        chosen = fragment.get("Fn::If")
        if conditions is not None and isinstance(chosen, list) and len(chosen) == 3 and chosen[0] in conditions:
            taken = chosen[1] if conditions[chosen[0]] else chosen[2]
            return {} if taken == {"Ref": "AWS::NoValue"} else placed(taken, value, place, conditions)
        if any(key == "Ref" or str(key).startswith("Fn::") for key in fragment):
            return {place: fragment}
        inner = value if isinstance(value, Mapping) else {}
        found: dict[Place, Any] = {}
        for key, part in fragment.items():
            found |= placed(part, inner.get(key), (*place, key), conditions)
        return found
    if isinstance(fragment, list | tuple):
        if not isinstance(value, list | tuple) or len(value) != len(fragment):
            return {place: fragment} if sources(fragment) else {}
        found = {}
        for i, part in enumerate(fragment):
            found |= placed(part, value[i], (*place, i), conditions)
        return found
    return {}


def behind(places: Mapping[Place, Any], place: Place) -> Any:
    """The function that makes up `place`: the one there or the nearest around it; None when it is written out."""
    for length in range(len(place), -1, -1):
        if place[:length] in places:
            return places[place[:length]]
    return None


def at(value: Any, place: Place) -> Any:
    """The value at a place, None when there is none."""
    for step in place:
        if isinstance(value, Mapping):
            value = value.get(step)
        elif isinstance(value, list | tuple) and isinstance(step, int) and step < len(value):
            value = value[step]
        else:
            return None
    return value
