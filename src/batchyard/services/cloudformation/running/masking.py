"""What events may say: no value of a NoEcho parameter, no secret of an access key, nothing that is a secret by its name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from batchyard.services.cloudformation.planning.secrets import MASK, hidden, masked
from batchyard.services.cloudformation.running.records import Physical, Resource, Stack
from batchyard.services.cloudformation.running.target import Target

SHORTEST = 4  # of a text that is looked for within others: shorter ones stand in half of all words
_KEY, _SECRET = "AWS::IAM::AccessKey", "SecretAccessKey"


def secrets_of(stack: Stack, resources: Iterable[Resource]) -> list[str]:
    """The texts that must not be told, the longest first: of the stack as it is, as it was and as it is to be."""
    operation, found = stack.operation, set()
    names = {*stack.hidden, *(operation.hidden if operation else ())}
    sources: list[Mapping[str, str]] = [stack.parameters, stack.looked_up]
    if operation is not None:
        sources += [operation.parameters, operation.looked_up, operation.old_parameters, operation.old_looked_up]
    for text in (source[name] for source in sources for name in names if name in source):
        found |= {text, *(element.strip() for element in text.split(","))}  # of a list, Fn::Select may have taken one
    for resource in resources:
        for physical in filter(None, (resource.current, resource.before, *resource.leftovers)):
            if physical.type == _KEY:
                found.add(str(physical.attributes.get(_SECRET, "")))
    return sorted((text for text in found if len(text) >= SHORTEST), key=len, reverse=True)


def without(value: Any, secrets: list[str]) -> Any:
    """A value, whose texts have `****` in place of secrets."""
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, MASK)
        return value
    if isinstance(value, Mapping):
        return {key: without(inner, secrets) for key, inner in value.items()}
    return [without(inner, secrets) for inner in value] if isinstance(value, list | tuple) else value


def properties_shown(logical_id: str, physical: Physical, stack: Stack, targets: Iterable[Target], secrets: list[str]) -> Any:
    """The properties as an event has them. `targets` are the templates that they may have come of."""
    operation = stack.operation
    names = [*stack.hidden, *(operation.hidden if operation else ())]
    fragments = [target.fragment(logical_id).get("Properties") for target in targets if logical_id in target.needs]
    places = frozenset().union(*(hidden(physical.type, fragment, physical.properties, names) for fragment in (None, *fragments)))
    return without(masked(physical.properties, places), secrets)
