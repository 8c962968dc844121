"""Which changes of properties need a new resource, as the published schema has it.

`createOnlyProperties` always do. `conditionalCreateOnlyProperties` do under conditions that no schema says: for compute environments
of AWS Batch they are known and decided here (docs/decisions/0023); elsewhere the service decides when it is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from batchyard.services.cloudformation.schemas.reading import CUSTOM_RESOURCE, Pointer, Schema, schema
from batchyard.services.cloudformation.schemas.typing import typed

NEVER, CONDITIONALLY, ALWAYS = "Never", "Conditionally", "Always"
_ABSENT: Any = object()
Decide = Callable[[Pointer, Mapping[str, Any], Mapping[str, Any]], str]


def replacement(type_name: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, str]:
    """What each changed property asks for: "Never", "Conditionally" or "Always", by its path ("ComputeResources.InstanceTypes").

    The paths go as deep as the schema names members of objects; lists, maps and JSON are compared whole. Both sides are settled first
    (`typed`), so "3" and 3 are the same. Empty when nothing changed. A type without a schema: each changed property "Conditionally".
    """
    held = schema(type_name)
    if held is None:
        names = sorted({*before, *after})
        return {name: CONDITIONALLY for name in names if before.get(name, _ABSENT) != after.get(name, _ABSENT)}
    old, new = typed(type_name, before), typed(type_name, after)
    found: dict[str, str] = {}
    for pointer, part, was, will in _changes(held, held.content, old, new, ()):
        found[".".join(pointer)] = NEVER if _is_reordered(part, was, will) else _asks(held, pointer, was, will, old, new)
    return found


def would_ask(type_name: str, place: Sequence[str | int], properties: Mapping[str, Any]) -> str:
    """What a change of the value at `place` would ask for, when its new value is not known: "Never", "Conditionally" or "Always"."""
    held = schema(type_name)
    if held is None:
        return CONDITIONALLY
    pointer: list[str] = []
    part = held.content
    was: Any = properties
    for step in place:  # as deep as the schema names members
        if not isinstance(step, str) or step not in part.get("properties", {}):
            break
        pointer.append(step)
        part = held.part(part["properties"][step])
        was = was.get(step, _ABSENT) if isinstance(was, Mapping) else _ABSENT
    return _asks(held, tuple(pointer), was, _ABSENT, properties, properties) if pointer else NEVER


def _changes(
    held: Schema, part: Mapping[str, Any], before: Any, after: Any, pointer: Pointer
) -> Iterator[tuple[Pointer, Mapping[str, Any], Any, Any]]:
    """The innermost named properties that differ: where, what the schema says of them, what they were and will be."""
    old, new = (before if before is not _ABSENT else {}), (after if after is not _ABSENT else {})
    named = part.get("properties", {})
    if not named or not isinstance(old, Mapping) or not isinstance(new, Mapping):
        yield pointer, part, before, after
        return
    count = 0
    for key in dict.fromkeys((*old, *new)):
        was, will = old.get(key, _ABSENT), new.get(key, _ABSENT)
        if was is _ABSENT or will is _ABSENT or was != will:
            count += 1
            yield from _changes(held, held.part(named.get(key, {})), was, will, (*pointer, key))
    if not count and pointer:  # an empty object came or went
        yield pointer, part, before, after


def _is_reordered(part: Mapping[str, Any], before: Any, after: Any) -> bool:
    """Whether the same elements stand in another order in a list whose order says nothing."""
    if part.get("insertionOrder", True) or not isinstance(before, list) or not isinstance(after, list) or len(before) != len(after):
        return False
    rest = list(after)
    for item in before:
        if item not in rest:
            return False
        rest.remove(item)
    return True


def _asks(held: Schema, pointer: Pointer, was: Any, will: Any, before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    if any(_touches(pointer, fixed, was, will) for fixed in held.create_only):
        return ALWAYS
    if any(_touches(pointer, fixed, was, will) for fixed in held.conditional):
        decide = _DECIDED.get(held.type_name)
        return decide(pointer, before, after) if decide else CONDITIONALLY
    is_custom = held.type_name.startswith("Custom::") or held.type_name == CUSTOM_RESOURCE
    return CONDITIONALLY if is_custom else NEVER  # its function replaces it by answering another physical id


def _touches(pointer: Pointer, fixed: Pointer, was: Any, will: Any) -> bool:
    """Whether a change at `pointer` is one of `fixed`: the same, within it, or around it with a difference just there."""
    if pointer[: len(fixed)] == fixed:
        return True
    if fixed[: len(pointer)] != pointer:
        return False
    rest = fixed[len(pointer) :]
    return _inner(was, rest) != _inner(will, rest)


def _inner(value: Any, rest: Pointer) -> list[Any]:
    """The values at the end of `rest`, "*" being every element."""
    if not rest:
        return [value]
    if rest[0] == "*":
        return [found for item in value for found in _inner(item, rest[1:])] if isinstance(value, list) else []
    return _inner(value[rest[0]], rest[1:]) if isinstance(value, Mapping) and rest[0] in value else []


_FARGATE_IN_PLACE = frozenset({("ComputeResources", "Subnets"), ("ComputeResources", "SecurityGroupIds")})


def _compute_environment(pointer: Pointer, before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """A compute environment: `ReplaceComputeEnvironment` (true when not given) says it, but for Fargate's network, which is updated."""
    kinds = ["".join(map(str, _inner(side, ("ComputeResources", "Type")))).upper() for side in (before, after)]
    if all(kind.startswith("FARGATE") for kind in kinds) and pointer[:2] in _FARGATE_IN_PLACE:
        return NEVER
    return NEVER if after.get("ReplaceComputeEnvironment", True) is False else ALWAYS


_DECIDED: dict[str, Decide] = {"AWS::Batch::ComputeEnvironment": _compute_environment}
