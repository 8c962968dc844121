"""What the resource types of EC2 share: tags on what is made, and how a record is found again."""

from __future__ import annotations

from typing import Any

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.resources import acts
from batchyard.services.cloudformation.resources.acts import Steps, is_gone, listed, own_tags, tags_of
from batchyard.services.cloudformation.resources.type import Asked, Hands, Kept, Properties

SERVICE = "ec2"


def tagged(resource_type: str, asked: Asked, *, is_marked: bool = True) -> Properties:
    """The parameter that gives a new record its tags: the stack's, its own, and (if it `is_marked`) those that say which stack it is of."""
    tags = {**tags_of(asked), **(asked.system_tags if is_marked else {})}
    return {"TagSpecifications": [{"ResourceType": resource_type, "Tags": listed(tags)}]} if tags else {}


async def change_tags(steps: Steps, id: str, asked: Asked, kept: Kept) -> None:
    """The tags that differ."""
    await acts.change_tags(
        steps,
        asked,
        kept,
        put=lambda tags: ("CreateTags", {"Resources": [id], "Tags": listed(tags)}),
        take=lambda keys: ("DeleteTags", {"Resources": [id], "Tags": [{"Key": key} for key in keys]}),
    )


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
