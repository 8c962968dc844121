"""AWS::EC2::LaunchTemplate, PlacementGroup and KeyPair."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.resources.acts import (
    Steps,
    call_if_there,
    changed,
    given,
    is_gone,
    listed,
    own_tags,
    require_known,
)
from batchyard.services.cloudformation.resources.ec2_records import SERVICE, change_tags, found, tagged, with_tags
from batchyard.services.cloudformation.resources.type import Asked, Hands, Kept, Made, NameRule, Properties, ResourceType, Update

# --- launch templates ---

_TEMPLATE = ("LaunchTemplateData", "LaunchTemplateName", "TagSpecifications", "VersionDescription")
_KIND = "launch-template"


async def create_template(hands: Hands, asked: Asked) -> Made:
    """A launch template with its first version. Ref is its id."""
    require_known(asked, _TEMPLATE)
    params = {"LaunchTemplateName": asked.properties.get("LaunchTemplateName") or asked.name, **_version(asked.properties)}
    if tags := _template_tags(asked):
        params["TagSpecifications"] = [{"ResourceType": _KIND, "Tags": listed(tags)}]
    return _made((await hands.call(SERVICE, "CreateLaunchTemplate", params))["LaunchTemplate"])


def _made(template: Mapping[str, Any]) -> Made:
    id = template["LaunchTemplateId"]
    numbers = {name: str(template[name]) for name in ("DefaultVersionNumber", "LatestVersionNumber")}
    return Made(id, {"LaunchTemplateId": id, **numbers})


def _version(properties: Properties) -> dict[str, Any]:
    return {"LaunchTemplateData": _content(properties["LaunchTemplateData"]), **given(properties, "VersionDescription")}


def _content(written: Properties) -> dict[str, Any]:
    """What a version says, as EC2 takes it: the names are the same, but a time is not a text there."""
    spot = (written.get("InstanceMarketOptions") or {}).get("SpotOptions") or {}
    if not isinstance(spot.get("ValidUntil"), str):
        return dict(written)
    try:
        until = datetime.fromisoformat(spot["ValidUntil"])
    except ValueError:
        raise Fault("InvalidRequest", f"SpotOptions.ValidUntil: {spot['ValidUntil']!r} is no time such as 2030-01-31T12:00:00Z.") from None
    until = until if until.tzinfo else until.replace(tzinfo=UTC)
    market = {**written["InstanceMarketOptions"], "SpotOptions": {**spot, "ValidUntil": until.timestamp()}}
    return {**written, "InstanceMarketOptions": market}


def _template_tags(resource: Asked | Kept) -> dict[str, str]:
    """The tags of the template itself. Those of what it launches stand in what it says; the stack's own do not go onto it."""
    tags: dict[str, str] = {}
    for one in resource.properties.get("TagSpecifications") or []:
        if one.get("ResourceType") != _KIND:
            raise Fault(
                "InvalidRequest", f"TagSpecifications: {one.get('ResourceType')!r} is not {_KIND}, the one that can be tagged here."
            )
        tags |= {tag["Key"]: str(tag["Value"]) for tag in one.get("Tags") or []}
    return tags


async def update_template(hands: Hands, asked: Asked, kept: Kept) -> Made:
    """Another content is another version. Which is the default one stays as it is, as on AWS."""
    require_known(asked, _TEMPLATE)
    id, before, after = kept.physical_id, _template_tags(kept), _template_tags(asked)
    async with Steps(hands, SERVICE) as steps:
        if changed(kept.properties, asked.properties, "LaunchTemplateData", "VersionDescription"):
            answer = await steps.call("CreateLaunchTemplateVersion", {"LaunchTemplateId": id, **_version(asked.properties)})
            number = str(answer["LaunchTemplateVersion"]["VersionNumber"])
            steps.undo("DeleteLaunchTemplateVersions", {"LaunchTemplateId": id, "Versions": [number]})
        if gone := [{"Key": key, "Value": value} for key, value in before.items() if key not in after]:
            await steps.call("DeleteTags", {"Resources": [id], "Tags": gone})
            steps.undo("CreateTags", {"Resources": [id], "Tags": gone})
        if put := {key: value for key, value in after.items() if before.get(key) != value}:
            await steps.call("CreateTags", {"Resources": [id], "Tags": listed(put)})
        template = (await steps.call("DescribeLaunchTemplates", {"LaunchTemplateIds": [id]}))["LaunchTemplates"][0]
    return _made(template)


async def delete_template(hands: Hands, kept: Kept) -> None:
    await call_if_there(hands, SERVICE, "DeleteLaunchTemplate", {"LaunchTemplateId": kept.physical_id})


async def read_template(hands: Hands, kept: Kept) -> Properties | None:
    """The template with its newest version."""
    template = await found(hands, "DescribeLaunchTemplates", "LaunchTemplateIds", kept.physical_id, "LaunchTemplates")
    if template is None:
        return None
    asked = {"LaunchTemplateId": kept.physical_id, "Versions": ["$Latest"]}
    version = (await hands.call(SERVICE, "DescribeLaunchTemplateVersions", asked))["LaunchTemplateVersions"][0]
    content = version["LaunchTemplateData"]
    if content == _content(kept.properties["LaunchTemplateData"]):
        content = kept.properties["LaunchTemplateData"]
    properties = {**given(template, "LaunchTemplateName"), "LaunchTemplateData": content}
    if version.get("VersionDescription"):
        properties["VersionDescription"] = version["VersionDescription"]
    if template.get("Tags"):
        properties["TagSpecifications"] = [{"ResourceType": _KIND, "Tags": own_tags(template["Tags"], kept)}]
    return properties


# --- placement groups ---

_PLACEMENT = ("PartitionCount", "SpreadLevel", "Strategy", "Tags")


async def create_placement(hands: Hands, asked: Asked) -> Made:
    """A placement group; its name is always made up. Ref is the name."""
    require_known(asked, _PLACEMENT)
    params = {"GroupName": asked.name, **given(asked.properties, *_PLACEMENT[:3]), **tagged("placement-group", asked, is_marked=False)}
    group = (await hands.call(SERVICE, "CreatePlacementGroup", params))["PlacementGroup"]
    return Made(asked.name, {"GroupName": asked.name, "GroupId": group["GroupId"]})


async def delete_placement(hands: Hands, kept: Kept) -> None:
    await call_if_there(hands, SERVICE, "DeletePlacementGroup", {"GroupName": kept.physical_id})


async def read_placement(hands: Hands, kept: Kept) -> Properties | None:
    """The group as EC2 has it."""
    group = await found(hands, "DescribePlacementGroups", "GroupNames", kept.physical_id, "PlacementGroups")
    return None if group is None else with_tags(given(group, *_PLACEMENT[:3]), group, kept)


# --- key pairs ---

_PAIR = ("KeyName", "PublicKeyMaterial", "Tags")
_NO_PAIR = "keys are made elsewhere: give PublicKeyMaterial"


async def create_pair(hands: Hands, asked: Asked) -> Made:
    """A public key under a name. Ref is the name."""
    require_known(asked, _PAIR, {"KeyType": _NO_PAIR, "KeyFormat": _NO_PAIR})
    properties = asked.properties
    if not properties.get("PublicKeyMaterial"):
        raise Fault("InvalidRequest", f"AWS::EC2::KeyPair: no key is made in this version of Batchyard; {_NO_PAIR}.")
    material = str(properties["PublicKeyMaterial"]).encode()
    params = {"KeyName": properties["KeyName"], "PublicKeyMaterial": material, **tagged("key-pair", asked, is_marked=False)}
    pair = await hands.call(SERVICE, "ImportKeyPair", params)
    return Made(pair["KeyName"], given(pair, "KeyName", "KeyPairId", "KeyFingerprint"))


async def delete_pair(hands: Hands, kept: Kept) -> None:
    await call_if_there(hands, SERVICE, "DeleteKeyPair", {"KeyName": kept.physical_id})


async def read_pair(hands: Hands, kept: Kept) -> Properties | None:
    """The pair as EC2 has it; the key itself is not told, so it is the one that was given as long as its fingerprint is the same."""
    try:
        pair = (await hands.call(SERVICE, "DescribeKeyPairs", {"KeyNames": [kept.physical_id]}))["KeyPairs"][0]
    except Fault as fault:
        if is_gone(fault):
            return None
        raise
    properties = given(pair, "KeyName")
    if pair["KeyFingerprint"] == kept.attributes.get("KeyFingerprint"):
        properties |= given(kept.properties, "PublicKeyMaterial")
    return with_tags(properties, pair, kept)


def _tagger(attribute: str) -> Update:
    """The stack's tags changed in place; a change of the resource's own replaces it, by the schema."""

    async def update(hands: Hands, asked: Asked, kept: Kept) -> Made:
        async with Steps(hands, SERVICE) as steps:
            await change_tags(steps, kept.attributes[attribute], asked, kept)
        return Made(kept.physical_id, kept.attributes)

    return update


TYPES = (
    ResourceType(
        "AWS::EC2::LaunchTemplate",
        create_template,
        update_template,
        delete_template,
        read_template,
        named=NameRule("LaunchTemplateName", 128),
    ),
    ResourceType(
        "AWS::EC2::PlacementGroup",
        create_placement,
        _tagger("GroupId"),
        delete_placement,
        read_placement,
        named=NameRule("GroupName", 255),
        has_stack_tags=True,
    ),
    ResourceType("AWS::EC2::KeyPair", create_pair, _tagger("KeyPairId"), delete_pair, read_pair, has_stack_tags=True),
)
