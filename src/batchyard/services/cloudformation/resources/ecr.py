"""AWS::ECR::Repository."""

from __future__ import annotations

from typing import Any

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.resources.acts import (
    Steps,
    call_if_there,
    change_tags,
    changed,
    document_of,
    document_text,
    given,
    is_gone,
    listed,
    own_tags,
    require_known,
    tags_of,
)
from batchyard.services.cloudformation.resources.type import Asked, Hands, Kept, Made, NameRule, Properties, ResourceType

SERVICE = "ecr"
_FILTERS = "ImageTagMutabilityExclusionFilters"
_KNOWN = (
    "EmptyOnDelete",
    "EncryptionConfiguration",
    "ImageScanningConfiguration",
    "ImageTagMutability",
    "LifecyclePolicy",
    "RepositoryName",
    "RepositoryPolicyText",
    "Tags",
    _FILTERS,
)


async def create_repository(hands: Hands, asked: Asked) -> Made:
    """A repository with its policies. Ref is its name."""
    require_known(asked, _KNOWN)
    properties, tags = asked.properties, {**tags_of(asked), **asked.system_tags}
    name = properties.get("RepositoryName") or asked.name
    params = {"repositoryName": name, **_mutability(properties), "imageScanningConfiguration": _scanning(properties)}
    if encryption := properties.get("EncryptionConfiguration"):
        params["encryptionConfiguration"] = {_small(member): value for member, value in encryption.items() if value is not None}
    if tags:
        params["tags"] = listed(tags)
    async with Steps(hands, SERVICE) as steps:
        repository = (await steps.call("CreateRepository", params))["repository"]
        steps.undo("DeleteRepository", {"repositoryName": name, "force": True})
        for policies in (_lifecycle, _policy):
            put, _ = policies(name, properties)
            if put is not None:
                await steps.call(*put)
    return Made(name, {"Arn": repository["repositoryArn"], "RepositoryUri": repository["repositoryUri"]})


def _small(name: str) -> str:
    return name[0].lower() + name[1:]


def _mutability(properties: Properties) -> dict[str, Any]:
    found: dict[str, Any] = {"imageTagMutability": properties.get("ImageTagMutability") or "MUTABLE"}
    if properties.get(_FILTERS):
        found[_small(_FILTERS)] = [
            {"filterType": one["ImageTagMutabilityExclusionFilterType"], "filter": one["ImageTagMutabilityExclusionFilterValue"]}
            for one in properties[_FILTERS]
        ]
    return found


def _scanning(properties: Properties) -> dict[str, bool]:
    return {"scanOnPush": bool((properties.get("ImageScanningConfiguration") or {}).get("ScanOnPush"))}


Call = tuple[str, dict[str, Any]]


def _lifecycle(name: str, properties: Properties) -> tuple[Call | None, Call]:
    """(the call that puts the lifecycle policy, if there is to be one; the call that takes it away)."""
    policy = properties.get("LifecyclePolicy") or {}
    named = {"repositoryName": name, **({"registryId": policy["RegistryId"]} if policy.get("RegistryId") else {})}
    text = policy.get("LifecyclePolicyText")
    put = ("PutLifecyclePolicy", {**named, "lifecyclePolicyText": text}) if text else None
    return put, ("DeleteLifecyclePolicy", {"repositoryName": name})


def _policy(name: str, properties: Properties) -> tuple[Call | None, Call]:
    """The same of the policy that says who may pull and push."""
    document = properties.get("RepositoryPolicyText")
    put = ("SetRepositoryPolicy", {"repositoryName": name, "policyText": document_text(document)}) if document else None
    return put, ("DeleteRepositoryPolicy", {"repositoryName": name})


async def update_repository(hands: Hands, asked: Asked, kept: Kept) -> Made:
    """All but name and encryption, each where it differs."""
    require_known(asked, _KNOWN)
    name, before, after = kept.physical_id, kept.properties, asked.properties
    arn = kept.attributes["Arn"]
    async with Steps(hands, SERVICE) as steps:
        if changed(before, after, "ImageTagMutability", _FILTERS):
            await steps.call("PutImageTagMutability", {"repositoryName": name, **_mutability(after)})
            steps.undo("PutImageTagMutability", {"repositoryName": name, **_mutability(before)})
        if _scanning(before) != _scanning(after):
            named = {"repositoryName": name}
            await steps.call("PutImageScanningConfiguration", {**named, "imageScanningConfiguration": _scanning(after)})
            steps.undo("PutImageScanningConfiguration", {**named, "imageScanningConfiguration": _scanning(before)})
        for policies in (_lifecycle, _policy):
            old, _ = policies(name, before)
            new, take = policies(name, after)
            if new is not None and new != old:
                await steps.call(*new)
                steps.undo(*(old or take))
            elif new is None and old is not None and await steps.call_if_there(*take):
                steps.undo(*old)
        await change_tags(
            steps,
            asked,
            kept,
            put=lambda tags: ("TagResource", {"resourceArn": arn, "tags": listed(tags)}),
            take=lambda keys: ("UntagResource", {"resourceArn": arn, "tagKeys": keys}),
        )
    return Made(name, kept.attributes)


async def delete_repository(hands: Hands, kept: Kept) -> None:
    """With its images only where EmptyOnDelete says so."""
    params = {"repositoryName": kept.physical_id, "force": bool(kept.properties.get("EmptyOnDelete"))}
    await call_if_there(hands, SERVICE, "DeleteRepository", params)


async def read_repository(hands: Hands, kept: Kept) -> Properties | None:
    """The repository as ECR has it."""
    named = {"repositoryName": kept.physical_id}
    try:
        shown = (await hands.call(SERVICE, "DescribeRepositories", {"repositoryNames": [kept.physical_id]}))["repositories"][0]
    except Fault as fault:
        if is_gone(fault):
            return None
        raise
    encryption = {member[0].upper() + member[1:]: value for member, value in shown["encryptionConfiguration"].items()}
    found: Properties = {
        "RepositoryName": shown["repositoryName"],
        "ImageTagMutability": shown["imageTagMutability"],
        "ImageScanningConfiguration": {"ScanOnPush": shown["imageScanningConfiguration"]["scanOnPush"]},
        "EncryptionConfiguration": encryption,
    }
    if filters := shown.get(_small(_FILTERS)):
        found[_FILTERS] = [
            {"ImageTagMutabilityExclusionFilterType": one["filterType"], "ImageTagMutabilityExclusionFilterValue": one["filter"]}
            for one in filters
        ]
    if text := await _text(hands, "GetLifecyclePolicy", "lifecyclePolicyText", named):
        found["LifecyclePolicy"] = {"LifecyclePolicyText": text}
    if text := await _text(hands, "GetRepositoryPolicy", "policyText", named):
        found["RepositoryPolicyText"] = document_of(text)
    tags = own_tags((await hands.call(SERVICE, "ListTagsForResource", {"resourceArn": shown["repositoryArn"]}))["tags"], kept)
    return {**found, **({"Tags": tags} if tags else {}), **given(kept.properties, "EmptyOnDelete")}


async def _text(hands: Hands, operation: str, member: str, named: Properties) -> str | None:
    """A policy's text, None when there is none."""
    try:
        return str((await hands.call(SERVICE, operation, named))[member])
    except Fault as fault:
        if is_gone(fault):
            return None
        raise


TYPES = (
    ResourceType(
        "AWS::ECR::Repository",
        create_repository,
        update_repository,
        delete_repository,
        read_repository,
        named=NameRule("RepositoryName", 256, is_lower=True),
        has_stack_tags=True,
    ),
)
