"""What the handlers of services that are not on the shelf share: whose a thing of a chosen name is, tags, and refusals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.resources.type import Asked, Hands, Kept, Properties
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
    return "does not exist" in fault.message or fault.code in _MISSING


_MISSING = frozenset(("ResourceNotFoundException", "NoSuchBucket", "NoSuchBucketPolicy", "404"))


def given_name(asked: Asked, member: str) -> str:
    """The name that the template gives, or else the one that was chosen for it."""
    return str(asked.properties.get(member) or asked.name)


def map_tags(asked: Asked | Kept) -> dict[str, str]:
    """All tags of a resource whose Tags are a map: the stack's, and its own, which win."""
    return {**asked.tags, **(asked.properties.get("Tags") or {})}


def list_tags(asked: Asked | Kept) -> dict[str, str]:
    """All tags of a resource whose Tags are a list of Key and Value."""
    return {**asked.tags, **{tag["Key"]: tag["Value"] for tag in asked.properties.get("Tags") or []}}


async def retag_in_batch(hands: Hands, asked: Asked, kept: Kept) -> None:
    """Give a thing of Batch the tags that are asked for now, and take away those that were asked for before."""
    put, removed = different_tags(map_tags(kept), map_tags(asked))
    if removed:
        await hands.call("batch", "UntagResource", {"resourceArn": kept.physical_id, "tagKeys": removed})
    if put:
        await hands.call("batch", "TagResource", {"resourceArn": kept.physical_id, "tags": put})


def different_tags(before: Mapping[str, str], after: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """(tags to put, keys to take away): tags that others put on stay."""
    return {key: value for key, value in after.items() if before.get(key) != value}, sorted(set(before) - set(after))


def own_tags(tags: Mapping[str, str], kept: Kept) -> dict[str, str]:
    """A resource's tags without those that it has from its stack: what its property Tags is, for drift."""
    own = kept.properties.get("Tags") or {}
    named = set(own) if isinstance(own, Mapping) else {tag["Key"] for tag in own}
    return {key: value for key, value in tags.items() if key in named or kept.tags.get(key) != value}


def tag_list(tags: Mapping[str, str]) -> list[dict[str, str]]:
    """Tags as a list of Key and Value."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def refuse(properties: Properties, reasons: Mapping[str, str]) -> None:
    """Refuse by name what a template says and nothing here would act on; empty ones and false say nothing."""
    for name, why in reasons.items():
        if properties.get(name) not in (None, False, "", [], {}):
            raise Fault("InvalidRequest", f"{name} is not available in this version of Batchyard: {why}.")
