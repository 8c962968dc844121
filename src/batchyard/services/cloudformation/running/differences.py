"""What a template and its parameters would change of a stack, beforehand."""

from __future__ import annotations

import json
from collections.abc import Mapping

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.planning.changes import Change, Standing, Wanted
from batchyard.services.cloudformation.planning.comparing import compare
from batchyard.services.cloudformation.resources import types
from batchyard.services.cloudformation.running.records import Resource, Stack
from batchyard.services.cloudformation.running.target import Target
from batchyard.services.cloudformation.template import functions


def changes(
    target: Target, stack: Stack, resources: Mapping[str, Resource], old: Target | None, *, hidden: list[str] | None = None
) -> list[Change]:
    """What becomes of each resource. `old` is the target that the stack was made from. Raises Fault, as for another type of a resource."""
    # What is new, or another one, is not known yet: what refers to it must be made known as later.
    scope = target.scope({id: resource for id, resource in resources.items() if id in target.needs}, is_plan=True)
    before = {id: _standing(resource, id, old) for id, resource in resources.items() if resource.current is not None}
    after = {id: _wanted(target, id, scope) for id in target.needs}
    parameters = (
        None if old is None else {n for n in {*target.parameters, *old.parameters} if target.parameters.get(n) != old.parameters.get(n)}
    )
    return compare(
        before,
        after,
        changed_parameters=parameters,
        conditions=target.conditions,
        no_echo=[*(hidden or ()), *stack.hidden],
        replaces=_replaces,
    )


def _replaces(type_name: str, before: dict[str, object], after: dict[str, object]) -> frozenset[str]:
    found = types().get(type_name)
    return found.replaces(before, after) if found is not None and found.replaces is not None else frozenset()


def _is_tagged(type_name: str) -> bool:
    found = types().get(type_name)
    return found is not None and found.has_stack_tags


def _standing(resource: Resource, id: str, old: Target | None) -> Standing:
    current = resource.current
    assert current is not None
    fragment = old.fragment(id) if old is not None and id in old.needs else {}
    return Standing(
        current.type,
        current.physical_id,
        current.properties,
        current.tags if _is_tagged(current.type) else {},
        current.deletion_policy,
        current.update_replace_policy,
        json.loads(resource.metadata) if resource.metadata else None,
        fragment.get("CreationPolicy"),
        fragment.get("UpdatePolicy"),
        fragment.get("Properties"),
    )


def _wanted(target: Target, id: str, scope: functions.Scope) -> Wanted:
    fragment, physical = target.fragment(id), target.wanted(id, scope)
    metadata = target.metadata(id, scope)
    return Wanted(
        physical.type,
        physical.properties,
        target.needs[id],
        physical.tags if _is_tagged(physical.type) else {},
        physical.deletion_policy,
        physical.update_replace_policy,
        json.loads(metadata) if metadata else None,
        fragment.get("CreationPolicy"),
        fragment.get("UpdatePolicy"),
        fragment.get("Properties"),
    )


def is_other_outside(target: Target, stack: Stack, resources: Mapping[str, Resource]) -> bool:
    """Whether an output or a tag of the stack becomes another one."""
    if dict(target.tags) != stack.tags:
        return True
    try:
        return target.outputs(target.scope(resources)) != stack.outputs
    except Fault:
        return True  # what cannot be said beforehand shows on the way
