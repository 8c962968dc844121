"""AWS::S3::Bucket and AWS::S3::BucketPolicy.

Every property is acted on, or refused by name before anything is made. A bucket whose public access a template says nothing of is
blocked, as each new one is on AWS; so is one whose template no longer says it. Tags: the stack's and its own; S3 refuses
`aws:cloudformation:*` tags from everybody, so they are not put on. BucketPolicy: its physical id is the bucket's name.
"""

from __future__ import annotations

import re
from typing import Any

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.resources import s3_lifecycle
from batchyard.services.cloudformation.resources.acts import document_of, document_text, listed, own_tags, require_known, tags_of
from batchyard.services.cloudformation.resources.s3_settings import REFUSED, SETTINGS, harmless, look, put, take_away
from batchyard.services.cloudformation.resources.spelling import essence
from batchyard.services.cloudformation.resources.standing import given_name, noted, refuse_taken
from batchyard.services.cloudformation.resources.type import Asked, Hands, Kept, Made, NameRule, Properties, ResourceType

HOME_REGION = "us-east-1"  # the region that S3 leaves unsaid
ENFORCED = "BucketOwnerEnforced"
_KNOWN = frozenset(("BucketName", "AccessControl", "Tags", *(setting.property for setting in SETTINGS)))
# Regions whose web sites have a dash before the region (S3 User Guide, "Website endpoints").
_DASHED = frozenset(
    (
        *("us-east-1", "us-west-1", "us-west-2", "ap-southeast-1", "ap-southeast-2", "ap-northeast-1", "eu-west-1", "sa-east-1"),
        "us-gov-west-1",
    )
)


async def create(hands: Hands, asked: Asked) -> Made:
    """Makes it with all its settings; if one of them is refused, it is not left. Ref is its name."""
    _check(asked)
    name = given_name(asked, "BucketName")
    is_there = await _exists(hands, name)
    await refuse_taken(hands, asked, name, is_there)
    if not is_there:
        await hands.call("s3", "CreateBucket", _creation(hands, asked, name))
    try:
        for setting in SETTINGS:
            if asked.properties.get(setting.property) is not None:
                await put(hands, name, setting, asked.properties[setting.property])
        if _canned(asked.properties) != "private":
            await _put_acl(hands, name, asked.properties)
        if tags_of(asked):
            await _put_tags(hands, name, tags_of(asked))
    except Fault:
        await _removed(hands, name)
        raise
    return _made(hands, name)


async def update(hands: Hands, asked: Asked, kept: Kept) -> Made:
    """Changes what differs. Grants are taken back before ownership could forbid them, and given after it allows them."""
    _check(asked)
    name, before, after = kept.physical_id, kept.properties, asked.properties
    new_acl = _canned(after)
    if new_acl == "private" != _canned(before):
        await _put_acl(hands, name, after)
    for setting in SETTINGS:
        old, new = before.get(setting.property), after.get(setting.property)
        if new is None and old is not None:
            await take_away(hands, name, setting)
        elif essence(old) != essence(new) or (old is None) != (new is None):
            await put(hands, name, setting, new)
    if new_acl not in ("private", _canned(before)):
        await _put_acl(hands, name, after)
    wanted, had = tags_of(asked), tags_of(kept)
    if wanted != had:
        found = {tag["Key"]: tag["Value"] for tag in await _tags(hands, name)}
        await _put_tags(hands, name, {**{key: value for key, value in found.items() if key not in had}, **wanted})
    return _made(hands, name)


async def delete(hands: Hands, kept: Kept) -> None:
    """Takes it away; one that holds objects is refused, as on AWS."""
    await _removed(hands, kept.physical_id)


async def read(hands: Hands, kept: Kept) -> Properties | None:
    """As it is now. AccessControl is not compared, as on AWS."""
    name = kept.physical_id
    if not await _exists(hands, name):
        return None
    found: Properties = {"BucketName": name}
    for setting in SETTINGS:
        value = await look(hands, name, setting)
        if value is not None:
            found[setting.property] = value
    written = kept.properties.get("LifecycleConfiguration")
    if written and "LifecycleConfiguration" in found:
        found["LifecycleConfiguration"] = s3_lifecycle.as_it_was_written(found["LifecycleConfiguration"], written)
    tags = own_tags(await _tags(hands, name), kept)
    return {**found, **({"Tags": tags} if tags else {}), **_made(hands, name).attributes}


def _check(asked: Asked) -> None:
    require_known(Asked(asked.stack_id, asked.stack_name, asked.logical_id, asked.type, harmless(asked.properties)), _KNOWN, REFUSED)
    if not re.fullmatch(r"[A-Za-z]*", asked.properties.get("AccessControl") or ""):
        raise Fault("ValidationException", f"AccessControl {asked.properties['AccessControl']} is not valid.")


def _creation(hands: Hands, asked: Asked, name: str) -> dict[str, Any]:
    params: dict[str, Any] = {"Bucket": name}
    if hands.region != HOME_REGION:
        params["CreateBucketConfiguration"] = {"LocationConstraint": hands.region}
    ownership = _ownership(asked.properties)
    if ownership != ENFORCED:
        params["ObjectOwnership"] = ownership
    elif _canned(asked.properties) != "private":
        params["ACL"] = _canned(asked.properties)  # which S3 refuses in its own words
    return params


def _ownership(properties: Properties) -> str:
    rules = (properties.get("OwnershipControls") or {}).get("Rules") or [{}]
    return str(rules[0].get("ObjectOwnership") or ENFORCED)


def _canned(properties: Properties) -> str:
    """The canned ACL in S3's spelling: LogDeliveryWrite is log-delivery-write."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", properties.get("AccessControl") or "Private").lower()


async def _put_acl(hands: Hands, name: str, properties: Properties) -> None:
    try:
        await hands.call("s3", "PutBucketAcl", {"Bucket": name, "ACL": _canned(properties)})
    except Fault as fault:
        raise Fault(fault.code, f"AccessControl: {fault.message}", **fault.fields) from fault


async def _put_tags(hands: Hands, name: str, tags: dict[str, str]) -> None:
    if tags:
        await hands.call("s3", "PutBucketTagging", {"Bucket": name, "Tagging": {"TagSet": listed(tags)}})
    else:
        await hands.call("s3", "DeleteBucketTagging", {"Bucket": name})


async def _tags(hands: Hands, name: str) -> list[dict[str, str]]:
    try:
        tags: list[dict[str, str]] = (await hands.call("s3", "GetBucketTagging", {"Bucket": name}))["TagSet"]
    except Fault as fault:
        if fault.code != "NoSuchTagSet":
            raise
        return []
    return tags


async def _exists(hands: Hands, name: str) -> bool:
    """Whether a bucket of this name is there, whosever it is."""
    try:
        await hands.call("s3", "GetBucketLocation", {"Bucket": name})
    except Fault as fault:
        if fault.code == "NoSuchBucket":
            return False
        if fault.code != "AccessDenied":
            raise
    return True


async def _removed(hands: Hands, name: str) -> None:
    try:
        await hands.call("s3", "DeleteBucket", {"Bucket": name})
    except Fault as fault:
        if fault.code != "NoSuchBucket":
            raise


def _made(hands: Hands, name: str) -> Made:
    """What GetAtt gives (template reference, "Return values")."""
    region = hands.region
    return Made(
        name,
        {
            "Arn": f"arn:{hands.partition}:s3:::{name}",
            "DomainName": f"{name}.s3.amazonaws.com",
            "RegionalDomainName": f"{name}.s3.{region}.amazonaws.com",
            "DualStackDomainName": f"{name}.s3.dualstack.{region}.amazonaws.com",
            "WebsiteURL": f"http://{name}.s3-website{'-' if region in _DASHED else '.'}{region}.amazonaws.com",
        },
    )


# ---- policies ---------------------------------------------------------------------------------------------------------------


async def create_policy(hands: Hands, asked: Asked) -> Made:
    """Sets it. A bucket that has one already is not this resource's. Ref is the name of the bucket."""
    bucket = asked.properties["Bucket"]
    if await noted(hands, await _policy(hands, bucket) is not None):
        raise Fault("AlreadyExists", f"The bucket policy already exists on bucket {bucket}.")
    await _put_policy(hands, asked)
    return Made(bucket)


async def update_policy(hands: Hands, asked: Asked, _: Kept) -> Made:
    """Sets it anew."""
    await _put_policy(hands, asked)
    return Made(asked.properties["Bucket"])


async def delete_policy(hands: Hands, kept: Kept) -> None:
    """Takes it away; with the bucket it is gone already."""
    try:
        await hands.call("s3", "DeleteBucketPolicy", {"Bucket": kept.physical_id})
    except Fault as fault:
        if fault.code not in ("NoSuchBucket", "NoSuchBucketPolicy"):
            raise


async def read_policy(hands: Hands, kept: Kept) -> Properties | None:
    """As it is now."""
    text = await _policy(hands, kept.physical_id)
    return None if text is None else {"Bucket": kept.physical_id, "PolicyDocument": document_of(text)}


async def _put_policy(hands: Hands, asked: Asked) -> None:
    policy = document_text(asked.properties["PolicyDocument"])
    await hands.call("s3", "PutBucketPolicy", {"Bucket": asked.properties["Bucket"], "Policy": policy})


async def _policy(hands: Hands, bucket: str) -> str | None:
    try:
        return str((await hands.call("s3", "GetBucketPolicy", {"Bucket": bucket}))["Policy"])
    except Fault as fault:
        if fault.code in ("NoSuchBucketPolicy", "NoSuchBucket"):
            return None
        raise


TYPES = (
    ResourceType(
        "AWS::S3::Bucket",
        create,
        update,
        delete,
        read,
        named=NameRule("BucketName", 63, is_lower=True),
        has_stack_tags=True,
    ),
    ResourceType("AWS::S3::BucketPolicy", create_policy, update_policy, delete_policy, read_policy),
)
