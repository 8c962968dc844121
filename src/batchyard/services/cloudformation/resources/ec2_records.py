"""What the resource types of EC2 share: tags on what is made, and how a record is found again."""

from __future__ import annotations

from typing import Any

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.resources.acts import Steps, is_gone, listed, own_tags, tag_changes, tags_of
from batchyard.services.cloudformation.resources.type import Asked, Hands, Kept, Properties

SERVICE = "ec2"


def tagged(resource_type: str, asked: Asked, *, is_marked: bool = True) -> Properties:
    """The parameter that gives a new record its tags: the stack's, its own, and (if it `is_marked`) those that say which stack it is of."""
    tags = {**tags_of(asked), **(asked.system_tags if is_marked else {})}
    return {"TagSpecifications": [{"ResourceType": resource_type, "Tags": listed(tags)}]} if tags else {}


async def change_tags(steps: Steps, id: str, asked: Asked, kept: Kept) -> None:
    """The tags that differ."""
    put, gone = tag_changes(asked, kept)
    before = tags_of(kept)
    if gone:
        await steps.call("DeleteTags", {"Resources": [id], "Tags": [{"Key": key} for key in gone]})
        steps.undo("CreateTags", {"Resources": [id], "Tags": listed({key: before[key] for key in gone})})
    if put:
        await steps.call("CreateTags", {"Resources": [id], "Tags": listed(put)})
        new = [{"Key": key} for key in put if key not in before]
        if new:
            steps.undo("DeleteTags", {"Resources": [id], "Tags": new})
        old = {key: before[key] for key in put if key in before}
        if old:
            steps.undo("CreateTags", {"Resources": [id], "Tags": listed(old)})


async def found(hands: Hands, operation: str, ids: str, id: str, member: str) -> dict[str, Any] | None:
    """The one record that a Describe gives for an id; None when there is none."""
    try:
        records: list[dict[str, Any]] = (await hands.call(SERVICE, operation, {ids: [id]}))[member]
    except Fault as fault:
        if is_gone(fault):
            return None
        raise
    return records[0] if records else None


def with_tags(properties: Properties, record: dict[str, Any], kept: Kept) -> Properties:
    """Properties that were read, and the tags of the record if it has any of its own."""
    tags = own_tags(record.get("Tags", []), kept)
    return {**properties, "Tags": tags} if tags else properties
