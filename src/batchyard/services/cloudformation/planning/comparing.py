"""What an update changes: resources as they stand against resources as they are wanted, property by property."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.planning.changes import NESTED_STACK, Change, Detail, Place, Standing, Wanted, is_later
from batchyard.services.cloudformation.planning.fragments import Source, at, behind, placed, sources
from batchyard.services.cloudformation.planning.secrets import hidden
from batchyard.services.cloudformation.schemas.reading import schema
from batchyard.services.cloudformation.schemas.replacing import ALWAYS, CONDITIONALLY, NEVER, replacement, would_ask
from batchyard.services.cloudformation.schemas.typing import typed
from batchyard.services.cloudformation.template.functions import LATER

__all__ = ["LATER", "Change", "Detail", "Standing", "Wanted", "compare"]

Replaces = Callable[[str, dict[str, Any], dict[str, Any]], Collection[str]]
_ABSENT: Any = object()
# What of a resource's body is no property: its name in templates, and the field that holds it
_BESIDE = (
    ("Metadata", "metadata"),
    ("CreationPolicy", "creation_policy"),
    ("UpdatePolicy", "update_policy"),
    ("DeletionPolicy", "deletion_policy"),
    ("UpdateReplacePolicy", "update_replace_policy"),
)
_WEIGHT = {NEVER: 0, CONDITIONALLY: 1, ALWAYS: 2}


def compare(
    before: Mapping[str, Standing],
    after: Mapping[str, Wanted],
    *,
    changed_parameters: Collection[str] | None = None,
    conditions: Mapping[str, bool] | None = None,
    no_echo: Collection[str] = (),
    replaces: Replaces | None = None,
) -> list[Change]:
    """The changes that lead from `before` to `after`, by logical id; resources that stay as they are have none.

    A nested stack is always one ("Automatic"), since its own template may have changed. What refers to a resource that is replaced has
    details of its own ("Dynamic"), though its value is the same so far. `changed_parameters` are the parameters with new values (None:
    any may be), `conditions` the new template's as they are decided (None: either value of an Fn::If may be meant), `no_echo` the
    parameters whose values must not be shown, `replaces` gives the properties whose change replaces a resource beside
    those of its schema. Raises ValidationError when a resource has another type than before.
    """
    retyped = sorted(name for name in before.keys() & after.keys() if before[name].type != after[name].type)
    if retyped:
        raise Fault(
            "ValidationError",
            "Update of resource type is not permitted. The new template modifies resource type of the following resources: "
            f"[{', '.join(retyped)}]",
        )
    changes = {name: _removed(name, before[name], no_echo) for name in before if name not in after}
    seen = _Seen(frozenset(after), changed_parameters, conditions, {})
    for name in _in_order(after):
        change = _one(name, before.get(name), after[name], seen, no_echo, replaces)
        if change is not None:
            changes[name] = change
            seen.changes[name] = change
    return [changes[name] for name in sorted(changes)]


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is known while going along: the new template's resources, the parameters that changed, the changes so far."""

    resources: frozenset[str]
    parameters: Collection[str] | None
    conditions: Mapping[str, bool] | None
    changes: dict[str, Change]


def _one(
    name: str, before: Standing | None, after: Wanted, seen: _Seen, no_echo: Collection[str], replaces: Replaces | None
) -> Change | None:
    new = typed(after.type, after.properties)
    if before is None:
        return Change(
            logical_id=name,
            type=after.type,
            action="Import" if after.imported else "Add",
            physical_id=after.imported,
            after=_body(after, new),
            hidden=hidden(after.type, after.unresolved, new, no_echo),
        )
    old = typed(before.type, before.properties)
    details = tuple(_details(before, after, old, new, seen, replaces))
    if not details:
        return None
    is_replaced = _replacement(details)
    policy = after.update_replace_policy or "Delete"
    return Change(
        logical_id=name,
        type=after.type,
        action="Modify",
        replacement=is_replaced,
        scope=tuple(dict.fromkeys(detail.attribute for detail in details)),
        details=details,
        physical_id=before.physical_id,
        before=_body(before, old),
        after=_body(after, _with_later(new, details)),
        policy_action="" if is_replaced == "False" else f"ReplaceAnd{policy}",
        hidden=hidden(before.type, before.unresolved, old, no_echo) | hidden(after.type, after.unresolved, new, no_echo),
    )


def _removed(name: str, before: Standing, no_echo: Collection[str]) -> Change:
    old = typed(before.type, before.properties)
    policy = before.deletion_policy or "Delete"
    return Change(
        logical_id=name,
        type=before.type,
        action="Remove",
        physical_id=before.physical_id,
        before=_body(before, old),
        policy_action="Retain" if policy.startswith("Retain") else policy,
        hidden=hidden(before.type, before.unresolved, old, no_echo),
    )


def _details(
    before: Standing, after: Wanted, old: dict[str, Any], new: dict[str, Any], seen: _Seen, replaces: Replaces | None
) -> Iterator[Detail]:
    asked = replacement(after.type, old, new)
    asked |= dict.fromkeys(replaces(after.type, old, new) if replaces and asked else (), ALWAYS)
    held = schema(after.type)
    tags = held.tag_property if held else "Tags"
    was, will = placed(before.unresolved, old), placed(after.unresolved, new)
    changed: set[Place] = set()
    for place, left, right in _differences(old, new, ()):
        changed.add(place)
        yield Detail(
            "Tags" if place[0] == tags else "Properties",
            place,
            _kind(left, right),
            None if left is _ABSENT else left,
            None if right is _ABSENT else right,
            _asked(asked, place),
            "Dynamic" if is_later(right) else "Static",
            *_source(behind(was, place), behind(will, place), seen),
        )
    if before.tags != after.tags:
        yield Detail("Tags", (), _kind(before.tags, after.tags), before.tags, after.tags, NEVER, "Static", "DirectModification")
    yield from _beside(before, after)
    yield from _dynamic(after.type, placed(after.unresolved, new, (), seen.conditions), new, changed, tags, seen)
    if after.type == NESTED_STACK and not changed:
        yield Detail("Properties", (), "Modify", None, None, NEVER, "Dynamic", "Automatic")


def _beside(before: Standing, after: Wanted) -> Iterator[Detail]:
    for attribute, name in _BESIDE:
        left, right = getattr(before, name) or None, getattr(after, name) or None
        if left != right:
            yield Detail(attribute, (), _kind(left, right), left, right, NEVER, "Static", "DirectModification")


def _dynamic(
    type_name: str, will: Mapping[Place, Any], new: dict[str, Any], changed: set[Place], tags: str, seen: _Seen
) -> Iterator[Detail]:
    """What may change since what it refers to does."""
    for place, fragment in will.items():
        if any(one[: len(place)] == place for one in changed):
            continue
        for source in sorted(sources(fragment)):
            if _may_change(source, seen):
                yield Detail(
                    "Tags" if place[:1] == (tags,) else "Properties",
                    place,
                    "Modify",
                    at(new, place),
                    LATER,
                    would_ask(type_name, place, new),
                    "Dynamic",
                    "ResourceAttribute" if source.attribute else "ResourceReference",
                    f"{source.name}.{source.attribute}" if source.attribute else source.name,
                )
                break


def _may_change(source: Source, seen: _Seen) -> bool:
    """Whether the change of a resource may give a reference to it another value.

    Ref and what names the resource (ids, ARNs) do when it is replaced; other attributes do when anything of it is modified.
    """
    change = seen.changes.get(source.name)
    if change is None or change.action != "Modify":
        return False
    if change.replacement != "False":
        return True
    return (
        bool(source.attribute)
        and not source.attribute.endswith(("Arn", "Id", "Name"))
        and set(change.scope) & {"Properties", "Tags"} != set()
    )


def _source(left: Any, right: Any, seen: _Seen) -> tuple[str, str]:
    """The group that the cause of a difference belongs to, and its name: what a reference that stayed the same refers to."""
    if right is None or left != right:
        return "DirectModification", ""
    found = sorted(sources(right))
    for source in found:
        if source.name in seen.changes:
            kind = "ResourceAttribute" if source.attribute else "ResourceReference"
            return kind, f"{source.name}.{source.attribute}" if source.attribute else source.name
    for source in found:
        is_parameter = source.name not in seen.resources and "::" not in source.name
        if is_parameter and (seen.parameters is None or source.name in seen.parameters):
            return "ParameterReference", source.name
    return "DirectModification", ""


def _differences(before: Any, after: Any, place: Place) -> Iterator[tuple[Place, Any, Any]]:
    """The innermost differences: members that came, went or differ; elements of lists by their index."""
    if isinstance(before, Mapping) and isinstance(after, Mapping) and (place == () or (before and after)):
        for key in dict.fromkeys((*before, *after)):
            left, right = before.get(key, _ABSENT), after.get(key, _ABSENT)
            if left is _ABSENT or right is _ABSENT or left != right:
                yield from _differences(left, right, (*place, key))
    elif isinstance(before, list) and isinstance(after, list) and before and after:
        for i in range(max(len(before), len(after))):
            left = before[i] if i < len(before) else _ABSENT
            right = after[i] if i < len(after) else _ABSENT
            if left is _ABSENT or right is _ABSENT or left != right:
                yield from _differences(left, right, (*place, i))
    else:
        yield place, before, after


def _asked(asked: Mapping[str, str], place: Place) -> str:
    """What a difference asks for: what was found for the nearest property around it, the most of those within."""
    path = ".".join(map(str, place))
    around = [key for key in asked if path == key or path.startswith(f"{key}.")]
    within = [key for key in asked if key.startswith(f"{path}.")]
    return max((asked[key] for key in (*around, *within)), key=_WEIGHT.__getitem__, default=NEVER)


def _kind(left: Any, right: Any) -> str:
    if left is _ABSENT or left is None or left == {}:
        return "Add"
    return "Remove" if right is _ABSENT or right is None or right == {} else "Modify"


def _replacement(details: Collection[Detail]) -> str:
    """True when a known change needs a new resource, Conditional when one may, else False."""
    if any(detail.requires_recreation == ALWAYS and detail.evaluation == "Static" for detail in details):
        return "True"
    return "Conditional" if any(detail.requires_recreation != NEVER for detail in details) else "False"


def _with_later(properties: dict[str, Any], details: Collection[Detail]) -> dict[str, Any]:
    """The properties with the mark of what is known later where a detail says that it is."""
    result: Any = properties
    for detail in details:
        if detail.after == LATER and detail.place:
            result = _put(result, detail.place)
    return dict(result)


def _put(value: Any, place: Place) -> Any:
    if not place:
        return LATER
    step, rest = place[0], place[1:]
    if isinstance(value, list) and isinstance(step, int) and step < len(value):
        return [*value[:step], _put(value[step], rest), *value[step + 1 :]]
    if isinstance(value, Mapping):
        return {**value, step: _put(value.get(step), rest)}
    return value


def _body(resource: Standing | Wanted, properties: Mapping[str, Any]) -> dict[str, Any]:
    beside = {attribute: getattr(resource, name) for attribute, name in _BESIDE}
    return {"Properties": properties} | {attribute: value for attribute, value in beside.items() if value}


def _in_order(after: Mapping[str, Wanted]) -> list[str]:
    """The resources, each after those that it needs."""
    found: dict[str, None] = {}
    for root in sorted(after):
        begun: set[str] = set()
        stack = [(root, False)]
        while stack:
            name, is_done = stack.pop()
            if is_done:
                found.setdefault(name)
            elif name not in begun and name not in found and name in after:
                begun.add(name)
                stack.append((name, True))
                referred = {source.name for source in sources(after[name].unresolved)}
                stack += [(need, False) for need in sorted(after[name].needs | referred, reverse=True)]
    return list(found)
