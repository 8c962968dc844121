"""Whether a template and its parameters would change anything of a stack."""

from __future__ import annotations

from collections.abc import Mapping

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.running.phases import change_of
from batchyard.services.cloudformation.running.records import Resource, Stack
from batchyard.services.cloudformation.running.target import Target

NESTED = "AWS::CloudFormation::Stack"


def is_change(target: Target, stack: Stack, resources: Mapping[str, Resource]) -> bool:
    """Whether a resource, a policy, a tag or an output would become another one. A nested stack may always have changed inside."""
    there = {id for id, resource in resources.items() if resource.current is not None}
    if there != set(target.needs) or dict(target.tags) != stack.tags:
        return True
    scope = target.scope(resources)
    try:
        if target.outputs(scope) != stack.outputs:
            return True
        for logical_id in target.needs:
            current, wanted = resources[logical_id].current, target.wanted(logical_id, scope)
            assert current is not None
            if current.type == NESTED or change_of(current, wanted) != "none":
                return True
            before = (current.deletion_policy, current.update_replace_policy, resources[logical_id].metadata)
            if before != (wanted.deletion_policy, wanted.update_replace_policy, target.metadata(logical_id, scope)):
                return True
    except Fault:
        return True  # what cannot be said beforehand shows on the way
    return False
