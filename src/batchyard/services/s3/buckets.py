"""CreateBucket, HeadBucket, DeleteBucket, ListBuckets and GetBucketLocation."""

from __future__ import annotations

import ipaddress
import re
from typing import Any

import apsw
import msgspec

from batchyard.model.fault import Fault
from batchyard.services.s3 import acls
from batchyard.services.s3.access import ENFORCED
from batchyard.services.s3.call import Call
from batchyard.services.s3.listing import pack_token, unpack_token
from batchyard.services.s3.route import not_implemented
from batchyard.services.s3.traits import checked_tags
from batchyard.store import objects_keys as keys
from batchyard.wire.http import HttpResponse

BUCKETS_PAGE = 10_000
HOME_REGION = "us-east-1"  # the region that S3 leaves unsaid

_NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
_FORBIDDEN_PREFIXES = ("xn--", "sthree-", "amzn-s3-demo-")
_FORBIDDEN_SUFFIXES = ("-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3", "-an")


async def create_bucket(call: Call) -> HttpResponse:
    """CreateBucket. A bucket that the caller has already: 200 in us-east-1, else `BucketAlreadyOwnedByYou`."""
    configuration = (await call.document()).get("CreateBucketConfiguration", {})
    check_name(call.bucket)
    region = _region(call, configuration)
    tags = checked_tags([(tag["Key"], tag["Value"]) for tag in configuration.get("Tags", [])], 50)
    if call.header("x-amz-bucket-object-lock-enabled").lower() == "true":
        raise not_implemented("object lock")
    ownership = call.header("x-amz-object-ownership") or ENFORCED
    grants = acls.grants_in_headers(call.request.headers, call.caller.account) or []
    if grants and ownership == ENFORCED:
        raise acl_with_ownership()
    if acls.is_public(grants):  # every new bucket blocks them, as on AWS
        raise Fault("AccessDenied", "Access Denied: public access control lists are blocked until DeletePublicAccessBlock")

    def change(index: apsw.Connection) -> None:
        bucket = keys.find_bucket(index, call.bucket)
        if bucket is not None and bucket.account != call.caller.account:
            raise Fault(
                "BucketAlreadyExists",
                "The requested bucket name is not available. The bucket namespace is shared by all users of the system."
                " Please select a different name and try again.",
                BucketName=call.bucket,
            )
        if bucket is not None:
            if region == bucket.region == HOME_REGION:
                return
            raise Fault(
                "BucketAlreadyOwnedByYou",
                "Your previous request to create the named bucket succeeded and you already own it.",
                BucketName=call.bucket,
            )
        bucket = keys.add_bucket(index, call.bucket, call.caller.account, region, call.store.now_ms())
        for kind, document in _first_settings(ownership, tags, grants).items():
            keys.put_setting(index, bucket.id, kind, msgspec.json.encode(document).decode())

    await call.change(change)
    return HttpResponse(200, {"location": f"/{call.bucket}", "x-amz-bucket-arn": f"arn:aws:s3:::{call.bucket}"})


async def head_bucket(call: Call) -> HttpResponse:
    """HeadBucket."""
    bucket = await call.look(call.own_bucket)
    return HttpResponse(
        200,
        {
            "x-amz-bucket-region": bucket.region,
            "x-amz-access-point-alias": "false",
            "x-amz-bucket-arn": f"arn:aws:s3:::{bucket.name}",
        },
    )


async def delete_bucket(call: Call) -> HttpResponse:
    """DeleteBucket; uploads in progress do not keep a bucket, objects do."""

    def change(index: apsw.Connection) -> None:
        bucket = call.own_bucket(index)
        if keys.holds_objects(index, bucket.id):
            raise Fault("BucketNotEmpty", "The bucket you tried to delete is not empty", BucketName=bucket.name)
        keys.remove_bucket(index, bucket.id)

    await call.change(change)
    await call.work(call.store.logging_changed)
    return HttpResponse(204)


async def list_buckets(call: Call) -> HttpResponse:
    """ListBuckets: those of the caller's account, by name."""
    limit = call.number("max-buckets", BUCKETS_PAGE, 1, BUCKETS_PAGE)
    token = call.query.get("continuation-token", "")
    after = unpack_token(token) if token else ""
    prefix, region = call.query.get("prefix", ""), call.query.get("bucket-region", "")
    found = await call.look(lambda index: keys.account_buckets(index, call.caller.account, prefix, region, after, limit + 1))
    result: dict[str, Any] = {
        "Owner": call.owner(),
        "Buckets": [
            {
                "Name": bucket.name,
                "CreationDate": bucket.created_at_ms / 1000,
                "BucketRegion": bucket.region,
                "BucketArn": f"arn:aws:s3:::{bucket.name}",
            }
            for bucket in found[:limit]
        ],
    }
    if prefix:
        result["Prefix"] = prefix
    if len(found) > limit:
        result["ContinuationToken"] = pack_token(found[limit - 1].name)
    return call.answer(result)


async def get_bucket_location(call: Call) -> HttpResponse:
    """GetBucketLocation: empty for us-east-1, as on AWS."""
    bucket = await call.look(call.own_bucket)
    return call.answer({"LocationConstraint": "" if bucket.region == HOME_REGION else bucket.region})


def check_name(name: str) -> None:
    """Raises `InvalidBucketName` for a name that S3 refuses (S3 User Guide, "General purpose bucket naming rules")."""
    legal = (
        _NAME.fullmatch(name)
        and ".." not in name
        and ".-" not in name
        and "-." not in name
        and not name.startswith(_FORBIDDEN_PREFIXES)
        and not name.endswith(_FORBIDDEN_SUFFIXES)
        and not _is_ip_address(name)
    )
    if not legal:
        raise Fault("InvalidBucketName", "The specified bucket is not valid.", BucketName=name)


def _is_ip_address(name: str) -> bool:
    try:
        ipaddress.IPv4Address(name)
    except ValueError:
        return False
    return True


def _region(call: Call, configuration: dict[str, Any]) -> str:
    """Where the bucket is to be. Raises `IllegalLocationConstraintException` when that is not the region of the request."""
    asked: str = configuration.get("LocationConstraint", "")
    if "Location" in configuration or "Bucket" in configuration:
        raise not_implemented("directory buckets")
    if asked == "EU":
        asked = "eu-west-1"
    here = call.caller.region
    if asked and here != HOME_REGION and asked != here:
        raise Fault(
            "IllegalLocationConstraintException",
            f"The {asked} location constraint is incompatible for the region specific endpoint this request was sent to.",
        )
    if asked == HOME_REGION:
        raise Fault("InvalidLocationConstraint", "The specified location-constraint is not valid", LocationConstraint=asked)
    if not asked and here != HOME_REGION:
        raise Fault(
            "IllegalLocationConstraintException",
            "The unspecified location constraint is incompatible for the region specific endpoint this request was sent to.",
        )
    return asked or here


def _first_settings(ownership: str, tags: dict[str, str], grants: acls.Grants) -> dict[str, Any]:
    """What a new bucket has, as on AWS since April 2023: no public access, and no ACLs unless it asks for them."""
    settings: dict[str, Any] = {
        "publicAccessBlock": {
            "BlockPublicAcls": True,
            "IgnorePublicAcls": True,
            "BlockPublicPolicy": True,
            "RestrictPublicBuckets": True,
        },
        "ownershipControls": {"Rules": [{"ObjectOwnership": ownership}]},
    }
    if tags:
        settings["tagging"] = {"TagSet": [{"Key": name, "Value": value} for name, value in tags.items()]}
    if grants:
        settings["acl"] = grants
    return settings


def acl_with_ownership() -> Fault:
    """What S3 says of a bucket that is to have an ACL while its owner owns all objects."""
    return Fault("InvalidBucketAclWithObjectOwnership", "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting")
