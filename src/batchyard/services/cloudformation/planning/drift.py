"""How a resource differs from what its stack made of it, as DescribeStackResourceDrifts shows it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from batchyard.services.cloudformation.planning.changes import Place
from batchyard.services.cloudformation.planning.secrets import hidden, masked
from batchyard.services.cloudformation.schemas.reading import Pointer, Schema, schema
from batchyard.services.cloudformation.schemas.typing import member, typed

_ABSENT: Any = object()
_EMPTY: tuple[Any, ...] = (None, "", [], {})
IN_SYNC, MODIFIED, DELETED, NOT_CHECKED = "IN_SYNC", "MODIFIED", "DELETED", "NOT_CHECKED"


@dataclass(frozen=True, slots=True)
class Difference:
    """One property that is not as it should be. `expected` or `actual` is None where there is nothing."""

    place: Place
    kind: str  # ADD, REMOVE, NOT_EQUAL
    expected: Any
    actual: Any


def status(found: Collection[Difference] | None) -> str:
    """The StackResourceDriftStatus: DELETED when there is no resource any more (None), MODIFIED, or IN_SYNC."""
    if found is None:
        return DELETED
    return MODIFIED if found else IN_SYNC


def differences(
    type_name: str, expected: Mapping[str, Any], actual: Mapping[str, Any], *, stack_tags: Collection[str] = ()
) -> list[Difference]:
    """What of the properties that the template gives is not so now, in the template's order.

    Only what the template has is looked at: what the service adds by itself, what it alone sets and what it never tells is no drift.
    Of lists whose order says nothing only the elements count. Tags of the stack (`stack_tags`, and `aws:` ones) are the stack's own.
    """
    held = schema(type_name) or Schema(type_name, {})
    compared = _Comparison(held, frozenset(stack_tags))
    return list(compared.members(held.content, typed(type_name, expected), typed(type_name, actual), (), ()))


def shown(found: Collection[Difference], places: Collection[Place] = ()) -> list[dict[str, str]]:
    """The PropertyDifferences of the API; values at hidden `places`, and secrets by name, are `****`."""
    return [
        {
            "PropertyPath": "/" + "/".join(map(str, one.place)),
            "ExpectedValue": _text(one.expected, one.place, places),
            "ActualValue": _text(one.actual, one.place, places),
            "DifferenceType": one.kind,
        }
        for one in found
    ]


def told(type_name: str, properties: Mapping[str, Any], places: Collection[Place] = ()) -> str:
    """ExpectedProperties or ActualProperties: the properties as JSON, without what only the service sets, secrets hidden."""
    held = schema(type_name)
    kept = typed(type_name, properties)
    read_only = held.read_only if held else frozenset()
    kept = {key: value for key, value in kept.items() if (key,) not in read_only}
    return _json(masked(kept, {*places, *hidden(type_name, None, kept, ())}))


class _Comparison:
    def __init__(self, held: Schema, stack_tags: frozenset[str]) -> None:
        self.held = held
        self.stack_tags = stack_tags
        self.unseen = held.read_only | held.write_only

    def members(
        self, part: Mapping[str, Any], expected: Mapping[str, Any], actual: Mapping[str, Any], place: Place, pointer: Pointer
    ) -> Iterator[Difference]:
        """Of an object: its members by name. Where the schema names none (a map, JSON), those that were added count too."""
        for key, wanted in expected.items():
            if (*pointer, key) not in self.unseen:
                inner = self.held.part(member(part, key) or {})
                yield from self.value(inner, wanted, actual.get(key, _ABSENT), (*place, key), (*pointer, key))
        if not part.get("properties"):
            for key in actual:
                if key not in expected and not self._is_own_tag(place, key):
                    yield Difference((*place, key), "ADD", None, actual[key])

    def value(self, part: Mapping[str, Any], expected: Any, actual: Any, place: Place, pointer: Pointer) -> Iterator[Difference]:
        if actual is _ABSENT or actual is None:
            if expected not in _EMPTY and expected != part.get("default", _ABSENT) and expected is not False:
                yield Difference(place, "REMOVE", expected, None)
        elif isinstance(expected, Mapping) and isinstance(_parsed(actual), Mapping):
            yield from self.members(part, expected, _parsed(actual), place, pointer)
        elif isinstance(_parsed(expected), Mapping) and isinstance(actual, Mapping):
            yield from self.members(part, _parsed(expected), actual, place, pointer)
        elif isinstance(expected, list) and isinstance(actual, list):
            yield from self.items(part, expected, actual, place, pointer)
        elif not self._is_same(part, expected, actual):
            yield Difference(place, "NOT_EQUAL", expected, actual)

    def items(
        self, part: Mapping[str, Any], expected: list[Any], actual: list[Any], place: Place, pointer: Pointer
    ) -> Iterator[Difference]:
        inner = self.held.part(part.get("items", {}))
        if part.get("insertionOrder", True) and not self._is_tags(place):
            for i in range(max(len(expected), len(actual))):
                if i >= len(expected):
                    yield Difference((*place, i), "ADD", None, actual[i])
                else:
                    there = actual[i] if i < len(actual) else _ABSENT
                    yield from self.value(inner, expected[i], there, (*place, i), (*pointer, "*"))
            return
        rest = dict(enumerate(actual))
        for i, wanted in enumerate(expected):
            found = self._partner(inner, wanted, rest, pointer)
            there = rest.pop(found) if found is not None else _ABSENT
            yield from self.value(inner, wanted, there, (*place, i), (*pointer, "*"))
        for i, there in rest.items():
            if not (isinstance(there, Mapping) and self._is_own_tag(place, there.get("Key"))):
                yield Difference((*place, i), "ADD", None, there)

    def _partner(self, part: Mapping[str, Any], wanted: Any, rest: Mapping[int, Any], pointer: Pointer) -> int | None:
        """The element that is the wanted one: the same, or with the same Key."""
        for i, there in rest.items():
            if not any(self.value(part, wanted, there, (), (*pointer, "*"))):
                return i
        key = wanted.get("Key") if isinstance(wanted, Mapping) else None
        return next((i for i, there in rest.items() if key and isinstance(there, Mapping) and there.get("Key") == key), None)

    def _is_same(self, part: Mapping[str, Any], expected: Any, actual: Any) -> bool:
        if isinstance(expected, list) != isinstance(actual, list) and not part.get("items"):  # JSON such as policies: "x" is ["x"]
            return (expected if isinstance(expected, list) else [expected]) == (actual if isinstance(actual, list) else [actual])
        if "enumCaseInsensitive" in part:
            return str(expected).lower() == str(actual).lower()
        return bool(expected == actual) or (isinstance(expected, str) and expected.startswith("{{resolve:"))

    def _is_tags(self, place: Place) -> bool:
        return len(place) == 1 and place[0] == (self.held.tag_property or "Tags")

    def _is_own_tag(self, place: Place, key: Any) -> bool:
        return self._is_tags(place) and (str(key).startswith("aws:") or key in self.stack_tags)


def _parsed(value: Any) -> Any:
    """JSON that is given as text; anything else as it is."""
    if isinstance(value, str) and value.lstrip().startswith("{"):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _text(value: Any, place: Place, places: Collection[Place]) -> str:
    if value is None:
        return "null"
    value = masked({place[-1]: value}, hidden("", None, {str(place[-1]): value}, ()))[place[-1]]
    value = masked(value, places, place)
    if isinstance(value, Mapping | list):
        return _json(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
