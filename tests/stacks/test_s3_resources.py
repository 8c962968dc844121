"""Buckets and their policies as stacks make them: every property acts or is refused by name, and nothing of a refused one is left."""

from __future__ import annotations

import json
from typing import Any

import pytest
from stack_hands import ACCOUNT, REGION, Workbench
from yard_hands import standing, wanted

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.resources import s3
from batchyard.services.cloudformation.resources.s3_lifecycle import to_api
from batchyard.services.cloudformation.resources.s3_settings import REFUSED, SETTINGS
from batchyard.services.cloudformation.schemas.reading import schema
from batchyard.services.repeating import Step, current_step

BUCKET, POLICY = s3.TYPES
BLOCKED = {"BlockPublicAcls": True, "IgnorePublicAcls": True, "BlockPublicPolicy": True, "RestrictPublicBuckets": True}
WHOLE: dict[str, Any] = {
    "BucketEncryption": {
        "ServerSideEncryptionConfiguration": [{"ServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms"}, "BucketKeyEnabled": True}]
    },
    "LifecycleConfiguration": {
        "Rules": [
            {"Id": "old", "Status": "Enabled", "ExpirationInDays": 30, "Prefix": "tmp/"},
            {
                "Id": "many",
                "Status": "Disabled",
                "TagFilters": [{"Key": "a", "Value": "b"}],
                "ObjectSizeGreaterThan": "1000",
                "Transition": {"StorageClass": "STANDARD_IA", "TransitionInDays": 40},
                "NoncurrentVersionExpirationInDays": 5,
            },
        ]
    },
    "PublicAccessBlockConfiguration": BLOCKED,
    "OwnershipControls": {"Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]},
    "VersioningConfiguration": {"Status": "Enabled"},
    "LoggingConfiguration": {"LogFilePrefix": "access/"},
    "AccessControl": "LogDeliveryWrite",
    "Tags": [{"Key": "Project", "Value": "p"}],
}


async def test_a_bucket_with_all_that_is_served(bench: Workbench) -> None:
    hands = bench.hands
    asked = wanted(BUCKET, WHOLE, name="stack-bucket-1", tags={"Team": "t"})
    made = await BUCKET.create(hands, asked)
    assert made.physical_id == "stack-bucket-1"
    assert made.attributes == {
        "Arn": "arn:aws:s3:::stack-bucket-1",
        "DomainName": "stack-bucket-1.s3.amazonaws.com",
        "RegionalDomainName": f"stack-bucket-1.s3.{REGION}.amazonaws.com",
        "DualStackDomainName": f"stack-bucket-1.s3.dualstack.{REGION}.amazonaws.com",
        "WebsiteURL": f"http://stack-bucket-1.s3-website-{REGION}.amazonaws.com",
    }
    grants = (await hands.call("s3", "GetBucketAcl", {"Bucket": "stack-bucket-1"}))["Grants"]
    assert [one["Permission"] for one in grants] == ["FULL_CONTROL", "WRITE", "READ_ACP"]
    logging = (await hands.call("s3", "GetBucketLogging", {"Bucket": "stack-bucket-1"}))["LoggingEnabled"]
    assert logging["TargetBucket"] == "stack-bucket-1"  # its own, as on AWS
    kept = standing(asked, made)
    read = await BUCKET.read(hands, kept)
    compared = {name: value for name, value in WHOLE.items() if name not in ("AccessControl", "LoggingConfiguration")}
    assert {name: read[name] for name in compared} == compared

    bare = wanted(BUCKET, {}, tags={"Team": "t"})
    assert await BUCKET.update(hands, bare, kept) == made
    assert await BUCKET.update(hands, bare, kept) == made  # the same step again
    read = await BUCKET.read(hands, standing(bare, made))
    assert read["PublicAccessBlockConfiguration"] == BLOCKED
    assert read["VersioningConfiguration"] == {"Status": "Suspended"}
    assert not {"BucketEncryption", "LifecycleConfiguration", "LoggingConfiguration", "Tags"} & set(read)
    tags = (await hands.call("s3", "GetBucketTagging", {"Bucket": "stack-bucket-1"}))["TagSet"]
    assert tags == [{"Key": "Team", "Value": "t"}]
    assert await BUCKET.update(hands, asked, standing(bare, made)) == made
    assert {name: (await BUCKET.read(hands, kept))[name] for name in compared} == compared

    await hands.call("s3", "PutObject", {"Bucket": "stack-bucket-1", "Key": "k", "Body": b"x"})
    with pytest.raises(Fault) as refused:
        await BUCKET.delete(hands, kept)
    assert (refused.value.code, refused.value.message) == ("BucketNotEmpty", "The bucket you tried to delete is not empty")
    for version in (await hands.call("s3", "ListObjectVersions", {"Bucket": "stack-bucket-1"}))["Versions"]:
        await hands.call("s3", "DeleteObject", {"Bucket": "stack-bucket-1", "Key": "k", "VersionId": version["VersionId"]})
    await BUCKET.delete(hands, kept)
    await BUCKET.delete(hands, kept)
    assert await BUCKET.read(hands, kept) is None


async def test_every_property_is_served_or_refused_by_name(bench: Workbench) -> None:
    published = schema("AWS::S3::Bucket")
    assert published is not None
    served = {"BucketName", "AccessControl", "Tags", *(one.property for one in SETTINGS)}
    answers = {"Arn", "DomainName", "DualStackDomainName", "RegionalDomainName", "WebsiteURL"}
    assert set(published.content["properties"]) == served | answers | set(REFUSED)
    for name in REFUSED:
        with pytest.raises(Fault, match=f"Property {name} of AWS::S3::Bucket is not available"):
            await BUCKET.create(bench.hands, wanted(BUCKET, {name: {"Something": "x"}}, name="refused-bucket"))
    assert (await bench.hands.call("s3", "ListBuckets")).get("Buckets", []) == []
    harmless = {"ObjectLockEnabled": False, "AccelerateConfiguration": {"AccelerationStatus": "Suspended"}, "InventoryConfigurations": []}
    await BUCKET.create(bench.hands, wanted(BUCKET, harmless, name="harmless-bucket"))


@pytest.mark.parametrize(
    ("properties", "words"),
    [
        ({"AccessControl": "LogDeliveryWrite"}, "Bucket cannot have ACLs set with ObjectOwnership's BucketOwnerEnforced setting"),
        (
            {"AccessControl": "PublicRead", "OwnershipControls": {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}},
            "AccessControl: Access Denied",
        ),
        ({"LoggingConfiguration": {"DestinationBucketName": "not-there"}}, "LoggingConfiguration: The target bucket for logging"),
        ({"LifecycleConfiguration": {"Rules": [{"Status": "Enabled"}]}}, "LifecycleConfiguration: At least one action"),
        ({"LifecycleConfiguration": {"Rules": [{"Status": "Enabled", "Colour": "red"}]}}, "LifecycleConfiguration.Rules.Colour"),
    ],
)
async def test_what_s3_refuses_leaves_no_bucket(bench: Workbench, properties: dict[str, Any], words: str) -> None:
    with pytest.raises(Fault) as refused:
        await BUCKET.create(bench.hands, wanted(BUCKET, properties, name="short-lived"))
    assert words in refused.value.message
    assert (await bench.hands.call("s3", "ListBuckets")).get("Buckets", []) == []


async def test_a_public_bucket_says_so_in_full(bench: Workbench) -> None:
    properties = {
        "AccessControl": "PublicRead",
        "OwnershipControls": {"Rules": [{"ObjectOwnership": "ObjectWriter"}]},
        "PublicAccessBlockConfiguration": {"BlockPublicPolicy": True},
    }
    await BUCKET.create(bench.hands, wanted(BUCKET, properties, name="open-bucket"))
    blocked = (await bench.hands.call("s3", "GetPublicAccessBlock", {"Bucket": "open-bucket"}))["PublicAccessBlockConfiguration"]
    assert blocked == {"BlockPublicAcls": False, "IgnorePublicAcls": False, "BlockPublicPolicy": True, "RestrictPublicBuckets": False}


async def test_a_repeated_step_finds_its_own_bucket_and_nobody_elses(bench: Workbench) -> None:
    asked = wanted(BUCKET, {"BucketName": "named-bucket"})
    current_step.set(Step("1" * 32, ACCOUNT, bench.sealer))
    first = await BUCKET.create(bench.hands, asked)
    current_step.set(Step("1" * 32, ACCOUNT, bench.sealer))
    assert await BUCKET.create(bench.hands, asked) == first
    for _ in range(2):
        current_step.set(Step("2" * 32, ACCOUNT, bench.sealer))
        with pytest.raises(Fault) as refused:
            await BUCKET.create(bench.hands, asked)
        assert refused.value.message == "Resource of type 'AWS::S3::Bucket' with identifier 'named-bucket' already exists."
    assert await BUCKET.read(bench.hands, standing(asked, first)) is not None


async def test_a_bucket_policy(bench: Workbench) -> None:
    hands = bench.hands
    await hands.call("s3", "CreateBucket", {"Bucket": "reads", "CreateBucketConfiguration": {"LocationConstraint": REGION}})
    principal = {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}
    statement = {"Effect": "Allow", "Principal": principal, "Action": "s3:GetObject", "Resource": "arn:aws:s3:::reads/*"}
    document = {"Version": "2012-10-17", "Statement": [statement]}
    asked = wanted(POLICY, {"Bucket": "reads", "PolicyDocument": document})
    made = await POLICY.create(hands, asked)
    assert made.physical_id == "reads"
    kept = standing(asked, made)
    assert await POLICY.read(hands, kept) == {"Bucket": "reads", "PolicyDocument": document}
    with pytest.raises(Fault, match=r"The bucket policy already exists on bucket reads\."):
        await POLICY.create(hands, asked)
    other = {**document, "Statement": [{**statement, "Action": "s3:PutObject"}]}
    await POLICY.update(hands, wanted(POLICY, {"Bucket": "reads", "PolicyDocument": json.dumps(other)}), kept)
    assert (await POLICY.read(hands, kept))["PolicyDocument"] == other
    await POLICY.delete(hands, kept)
    await POLICY.delete(hands, kept)
    assert await POLICY.read(hands, kept) is None
    await hands.call("s3", "DeleteBucket", {"Bucket": "reads"})
    await POLICY.delete(hands, kept)


def test_rules_of_a_life_cycle_in_both_spellings() -> None:
    rule = {
        "Status": "Enabled",
        "ExpirationDate": "2030-01-01T00:00:00Z",
        "Transitions": [{"StorageClass": "Glacier", "TransitionDate": "2029-01-01T00:00:00Z"}],
        "NoncurrentVersionTransition": {"StorageClass": "GLACIER_IR", "TransitionInDays": 3, "NewerNoncurrentVersions": 2},
        "NoncurrentVersionExpiration": {"NoncurrentDays": 9},
        "TagFilters": [{"Key": "a", "Value": "b"}],
    }
    params = to_api({"Rules": [rule], "TransitionDefaultMinimumObjectSize": "varies_by_storage_class"})
    assert params["TransitionDefaultMinimumObjectSize"] == "varies_by_storage_class"
    assert params["LifecycleConfiguration"]["Rules"] == [
        {
            "Status": "Enabled",
            "Filter": {"Tag": {"Key": "a", "Value": "b"}},
            "Expiration": {"Date": "2030-01-01T00:00:00Z"},
            "Transitions": [{"StorageClass": "GLACIER", "Date": "2029-01-01T00:00:00Z"}],
            "NoncurrentVersionTransitions": [{"StorageClass": "GLACIER_IR", "NoncurrentDays": 3, "NewerNoncurrentVersions": 2}],
            "NoncurrentVersionExpiration": {"NoncurrentDays": 9},
        }
    ]
    assert to_api({"Rules": [{"Status": "Enabled", "ExpirationInDays": 1}]})["LifecycleConfiguration"]["Rules"][0]["Filter"] == {
        "Prefix": ""
    }
