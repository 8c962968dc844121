"""What the handlers of Batch, S3 and Logs share, which are not on the shelf: whose a thing of a chosen name is, and Batch's tags."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from batchyard.model.fault import Fault
from batchyard.model.tags import fitting
from batchyard.services.cloudformation.resources.acts import listed, own_tags, tag_changes, tags_of
from batchyard.services.cloudformation.resources.type import Asked, Hands, Kept
from batchyard.services.shelved import changed
from batchyard.store.shelf import Place


async def noted(hands: Hands, found: Any) -> Any:
    """What the first try of this step found, however often the step is repeated.

    Batch, S3 and Logs cannot tell a repeated creation from a name that is taken. So what stood under the name before the first try is
    noted, durably, before anything is made: what stands there on a repeated try and was not there then, is this step's own.
    """
    place = Place("cloudformation", hands.account, hands.region)
    return await changed(hands.desk, place, lambda _: found)


async def refuse_taken(hands: Hands, asked: Asked, name: str, is_there: bool) -> None:
    """Refuse a name that somebody else had before the first try of this step."""
    if await noted(hands, is_there):
        raise already_exists(asked.type, name)


def already_exists(type_name: str, identifier: str) -> Fault:
    """CloudFormation's words for a name that is taken."""
    return Fault("AlreadyExists", f"Resource of type '{type_name}' with identifier '{identifier}' already exists.")


def does_not_exist(fault: Fault) -> bool:
    """Whether a service says that what was to be changed or deleted is not there."""
    return "does not exist" in fault.message or fault.code == "ResourceNotFoundException"


def given_name(asked: Asked, member: str) -> str:
    """The name that the template gives, or else the one that was chosen for it."""
    return str(asked.properties.get(member) or asked.name)


def tags_for(kind: str, resource: Asked | Kept) -> dict[str, str]:
    """The tags of a thing of a kind: the stack's, but for those of ours that are for other kinds of things, and its own."""
    return tags_of(replace(resource, tags=fitting(kind, resource.tags)))


def tag_changes_for(kind: str, asked: Asked, kept: Kept) -> tuple[dict[str, str], list[str]]:
    """(tags to put, keys to take away) of an update of a thing of a kind."""
    return tag_changes(replace(asked, tags=fitting(kind, asked.tags)), replace(kept, tags=fitting(kind, kept.tags)))


async def retag_in_batch(kind: str, hands: Hands, asked: Asked, kept: Kept) -> None:
    """Give a thing of Batch the tags that are asked for now, and take away those that were asked for before; others stay."""
    put, removed = tag_changes_for(kind, asked, kept)
    if removed:
        await hands.call("batch", "UntagResource", {"resourceArn": kept.physical_id, "tagKeys": removed})
    if put:
        await hands.call("batch", "TagResource", {"resourceArn": kept.physical_id, "tags": put})


def own_tag_map(tags: Mapping[str, str] | None, kept: Kept) -> dict[str, str]:
    """Of the tags that were found, those that the property Tags could have, for drift."""
    return {tag["Key"]: tag["Value"] for tag in own_tags(listed(tags or {}), kept)}
