"""What a change set would take over of what is there already: nothing can be yet, so whoever asks for it is told what stands there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from batchyard.model.fault import Fault
from batchyard.services import Caller
from batchyard.services.cloudformation.operations.requests import invalid
from batchyard.services.cloudformation.planning.changes import Change, is_later
from batchyard.services.cloudformation.resources import types
from batchyard.services.cloudformation.resources.acts import is_gone
from batchyard.services.cloudformation.resources.type import Kept
from batchyard.services.cloudformation.running.hands import StackHands
from batchyard.services.cloudformation.schemas.reading import schema


async def refuse_existing(desk: Any, caller: Caller, stack_name: str, changes: Sequence[Change]) -> None:
    """For ImportExistingResources: raises ValidationError where one of the resources to be added is there.

    As on AWS only what its template gives a name of its own is looked for; what is not there will be created.
    """
    hands = StackHands(desk, caller)
    found = [f"{kept.logical_id} ({kept.type} {kept.physical_id})" for kept in _named(stack_name, changes) if await _is_there(hands, kept)]
    if found:
        words = "ImportExistingResources cannot take over what is there in this version of Batchyard"
        raise invalid(f"{words}: {', '.join(found)}. Remove it, or give the resource another name.")


def _named(stack_name: str, changes: Sequence[Change]) -> Iterator[Kept]:
    """The resources to be added whose template says by which name they would be known."""
    for change in changes:
        published = schema(change.type) if change.action == "Add" else None
        if published is None or len(published.identifier) != 1:
            continue
        properties = (change.after or {}).get("Properties") or {}
        name = properties.get(published.identifier[0][0])
        if isinstance(name, str) and not is_later(name):
            yield Kept("", stack_name, change.logical_id, change.type, name, dict(properties))


async def _is_there(hands: StackHands, kept: Kept) -> bool:
    found = types().get(kept.type)
    if found is None or found.read is None:
        return False
    try:
        return await found.read(hands, kept) is not None
    except Fault as fault:
        if is_gone(fault):
            return False
        raise
