"""Buckets, listing and bucket settings through boto3."""

from __future__ import annotations

import datetime as dt
import http.client
import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from s3_serving import client

from batchyard.services.s3 import RECORDED_ONLY


def refused(call: Callable[..., Any], **kwargs: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as caught:
        call(**kwargs)
    answer = caught.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


@pytest.mark.parametrize(
    "name",
    ["ab", "x" * 64, "Upper", "under_score", "-dash", "dash-", "dots..dots", "192.168.5.4", "xn--x", "a-s3alias", "é-bucket"],
)
def test_a_name_that_aws_refuses_is_refused(open_endpoint: str, name: str) -> None:
    """Asked by hand: boto3 refuses most of these by itself."""
    connection = http.client.HTTPConnection(open_endpoint.removeprefix("http://"), timeout=60)
    connection.request("PUT", "/" + name.replace("é", "%C3%A9"))
    response = connection.getresponse()
    assert (response.status, b"<Code>InvalidBucketName</Code>" in response.read()) == (400, True)
    connection.close()


def test_the_life_of_a_bucket(s3: Any) -> None:
    answer = s3.create_bucket(Bucket="life.of-1-bucket")
    assert (answer["Location"], answer["BucketArn"]) == ("/life.of-1-bucket", "arn:aws:s3:::life.of-1-bucket")
    assert s3.head_bucket(Bucket="life.of-1-bucket")["BucketRegion"] == "us-east-1"
    assert s3.get_bucket_location(Bucket="life.of-1-bucket")["LocationConstraint"] is None
    s3.create_bucket(Bucket="life.of-1-bucket")  # in us-east-1 S3 answers 200 to its owner
    s3.put_object(Bucket="life.of-1-bucket", Key="k", Body=b"")
    assert refused(s3.delete_bucket, Bucket="life.of-1-bucket") == ("BucketNotEmpty", 409)
    s3.delete_object(Bucket="life.of-1-bucket", Key="k")
    s3.delete_bucket(Bucket="life.of-1-bucket")
    assert refused(s3.head_bucket, Bucket="life.of-1-bucket")[1] == 404
    for call in (s3.delete_bucket, s3.list_objects_v2, s3.list_objects, s3.get_bucket_location):
        assert refused(call, Bucket="life.of-1-bucket") == ("NoSuchBucket", 404)
    with pytest.raises(ClientError) as caught:
        s3.list_objects_v2(Bucket="life.of-1-bucket")
    assert caught.value.response["Error"]["BucketName"] == "life.of-1-bucket"


def test_where_a_bucket_is(s3: Any, endpoint: str) -> None:
    europe = client(endpoint, region="eu-central-1")
    here = {"LocationConstraint": "eu-central-1"}
    europe.create_bucket(Bucket="in-europe", CreateBucketConfiguration=here)
    assert s3.get_bucket_location(Bucket="in-europe")["LocationConstraint"] == "eu-central-1"
    again = {"Bucket": "in-europe", "CreateBucketConfiguration": here}
    assert refused(europe.create_bucket, **again) == ("BucketAlreadyOwnedByYou", 409)
    there = {"LocationConstraint": "eu-west-1"}
    for configuration in ({"CreateBucketConfiguration": there}, {}):
        wrong = {"Bucket": "elsewhere", **configuration}
        assert refused(europe.create_bucket, **wrong) == ("IllegalLocationConstraintException", 400)
    s3.create_bucket(Bucket="from-us-to-europe", CreateBucketConfiguration=there)
    assert s3.head_bucket(Bucket="from-us-to-europe")["BucketRegion"] == "eu-west-1"
    # a bucket answers whichever region the request was signed for
    s3.put_object(Bucket="in-europe", Key="k", Body=b"x")
    assert europe.get_object(Bucket="in-europe", Key="k")["Body"].read() == b"x"
    lock = {"Bucket": "locked", "ObjectLockEnabledForBucket": True}
    assert refused(s3.create_bucket, **lock) == ("NotImplemented", 501)
    assert refused(s3.create_bucket, Bucket="public", ACL="public-read") == ("InvalidBucketAclWithObjectOwnership", 400)


def test_buckets_are_listed(s3: Any) -> None:
    for name in ("list-a", "list-b", "list-c"):
        s3.create_bucket(Bucket=name, CreateBucketConfiguration={"Tags": [{"Key": "t", "Value": name}]})
    answer = s3.list_buckets(Prefix="list-")
    assert [entry["Name"] for entry in answer["Buckets"]] == ["list-a", "list-b", "list-c"]
    assert abs((answer["Buckets"][0]["CreationDate"] - dt.datetime.now(dt.UTC)).total_seconds()) < 300
    pages = s3.get_paginator("list_buckets").paginate(Prefix="list-", PaginationConfig={"PageSize": 2})
    assert [len(page["Buckets"]) for page in pages] == [2, 1]
    assert s3.list_buckets(BucketRegion="mars-north-1")["Buckets"] == []
    assert s3.get_bucket_tagging(Bucket="list-b")["TagSet"] == [{"Key": "t", "Value": "list-b"}]


KEYS = sorted(["a", "b/1", "b/2", "b/c/3", "d e/é", "f+g", "h%2F", "i<&>"])


@pytest.fixture(scope="module")
def listed(s3: Any) -> str:
    s3.create_bucket(Bucket="listed")
    for key in KEYS:
        s3.put_object(Bucket="listed", Key=key, Body=key.encode(), ChecksumAlgorithm="SHA1")
    return "listed"


def keys_of(answer: Any) -> list[str]:
    return [entry["Key"] for entry in answer.get("Contents", [])]


@pytest.mark.parametrize("operation", ["list_objects", "list_objects_v2"])
def test_keys_are_listed_in_pages(s3: Any, listed: str, operation: str) -> None:
    assert keys_of(getattr(s3, operation)(Bucket=listed)) == KEYS
    for size in (1, 3, 1000):
        pages = list(s3.get_paginator(operation).paginate(Bucket=listed, PaginationConfig={"PageSize": size}))
        assert [key for page in pages for key in keys_of(page)] == KEYS
        assert len(pages) == -(-len(KEYS) // size)
        folded = list(s3.get_paginator(operation).paginate(Bucket=listed, Delimiter="/", PaginationConfig={"PageSize": size}))
        assert [key for page in folded for key in keys_of(page)] == [key for key in KEYS if "/" not in key]
        prefixes = [entry["Prefix"] for page in folded for entry in page.get("CommonPrefixes", [])]
        assert prefixes == ["b/", "d e/"]
    answer = getattr(s3, operation)(Bucket=listed, Prefix="b/", Delimiter="/")
    assert keys_of(answer) == ["b/1", "b/2"]
    assert answer["CommonPrefixes"] == [{"Prefix": "b/c/"}]
    empty = getattr(s3, operation)(Bucket=listed, MaxKeys=0)
    assert (keys_of(empty), empty["IsTruncated"], empty["MaxKeys"]) == ([], False, 0)
    assert keys_of(getattr(s3, operation)(Bucket=listed, Prefix="zzz")) == []
    assert refused(getattr(s3, operation), Bucket=listed, EncodingType="base64") == ("InvalidArgument", 400)
    assert refused(getattr(s3, operation), Bucket=listed, MaxKeys=-1) == ("InvalidArgument", 400)


def test_an_entry_tells_of_its_object(s3: Any, listed: str) -> None:
    [entry] = s3.list_objects_v2(Bucket=listed, Prefix="d", FetchOwner=True)["Contents"]
    head = s3.head_object(Bucket=listed, Key="d e/é")
    assert (entry["ETag"], entry["Size"], entry["StorageClass"]) == (head["ETag"], head["ContentLength"], "STANDARD")
    assert entry["LastModified"].replace(microsecond=0) == head["LastModified"]
    assert (entry["ChecksumAlgorithm"], len(entry["Owner"]["ID"])) == (["SHA1"], 64)
    assert "Owner" not in s3.list_objects_v2(Bucket=listed, Prefix="d")["Contents"][0]
    assert "Owner" in s3.list_objects(Bucket=listed, Prefix="d")["Contents"][0]


def test_where_a_list_begins(s3: Any, listed: str) -> None:
    answer = s3.list_objects_v2(Bucket=listed, StartAfter="b/2", MaxKeys=2)
    assert (keys_of(answer), answer["StartAfter"], answer["KeyCount"]) == (["b/c/3", "d e/é"], "b/2", 2)
    token = answer["NextContinuationToken"]
    answer = s3.list_objects_v2(Bucket=listed, ContinuationToken=token, StartAfter="zzz")
    assert (keys_of(answer), answer["ContinuationToken"]) == (["f+g", "h%2F", "i<&>"], token)
    assert keys_of(s3.list_objects(Bucket=listed, Marker="h")) == ["h%2F", "i<&>"]
    answer = s3.list_objects(Bucket=listed, Delimiter="/", MaxKeys=2)
    assert answer["NextMarker"] == "b/"
    for token in ("nonsense", "1!!!", "1gA"):
        wrong = {"Bucket": listed, "ContinuationToken": token}
        assert refused(s3.list_objects_v2, **wrong) == ("InvalidArgument", 400)


def test_versions_are_listed_in_pages(s3: Any, listed: str) -> None:
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=listed, PaginationConfig={"PageSize": 3})
    assert [entry["Key"] for page in pages for entry in page["Versions"]] == KEYS


@pytest.fixture(scope="module")
def setting_bucket(s3: Any) -> str:
    s3.create_bucket(Bucket="settings")
    return "settings"


POLICY = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Deny", "Principal": "*", "Action": "s3:DeleteBucket", "Resource": "arn:aws:s3:::*"}],
    }
)
BLOCK = {"BlockPublicAcls": True, "IgnorePublicAcls": False, "BlockPublicPolicy": True, "RestrictPublicBuckets": False}
SETTINGS = [
    ("bucket_tagging", {"Tagging": {"TagSet": [{"Key": "a", "Value": "1"}]}}, ("TagSet",), "NoSuchTagSet"),
    (
        "bucket_encryption",
        {
            "ServerSideEncryptionConfiguration": {
                "Rules": [
                    {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": True},
                    {"BlockedEncryptionTypes": {"EncryptionType": ["SSE-C"]}},
                ]
            }
        },
        ("ServerSideEncryptionConfiguration",),
        "ServerSideEncryptionConfigurationNotFoundError",
    ),
    (
        "public_access_block",
        {"PublicAccessBlockConfiguration": BLOCK},
        ("PublicAccessBlockConfiguration",),
        "NoSuchPublicAccessBlockConfiguration",
    ),
    (
        "bucket_lifecycle_configuration",
        {
            "LifecycleConfiguration": {
                "Rules": [
                    {"ID": "r", "Filter": {"Prefix": "tmp/"}, "Status": "Enabled", "Expiration": {"Days": 7}},
                    {
                        "ID": "d",
                        "Filter": {"Prefix": ""},
                        "Status": "Disabled",
                        "Expiration": {"Date": dt.datetime(2030, 1, 1, tzinfo=dt.UTC)},
                    },
                ]
            }
        },
        ("Rules",),
        "NoSuchLifecycleConfiguration",
    ),
    ("bucket_policy", {"Policy": POLICY}, ("Policy",), "NoSuchBucketPolicy"),
    (
        "bucket_ownership_controls",
        {"OwnershipControls": {"Rules": [{"ObjectOwnership": "ObjectWriter"}]}},
        ("OwnershipControls",),
        "OwnershipControlsNotFoundError",
    ),
]


@pytest.mark.parametrize(("name", "given", "member", "missing"), SETTINGS, ids=[row[0] for row in SETTINGS])
def test_a_setting_is_kept_and_given_back(
    s3: Any, setting_bucket: str, name: str, given: dict[str, Any], member: tuple[str], missing: str
) -> None:
    getattr(s3, f"put_{name}")(Bucket=setting_bucket, **given)
    answer = getattr(s3, f"get_{name}")(Bucket=setting_bucket)
    [wanted] = given.values()
    assert answer[member[0]] == (wanted[member[0]] if member[0] in ("TagSet", "Rules") else wanted)
    delete = getattr(s3, f"delete_{name.removesuffix('_configuration')}")
    delete(Bucket=setting_bucket)
    delete(Bucket=setting_bucket)
    assert refused(getattr(s3, f"get_{name}"), Bucket=setting_bucket) == (missing, 404)
    assert refused(getattr(s3, f"get_{name}"), Bucket="no-such-bucket") == ("NoSuchBucket", 404)
    assert refused(getattr(s3, f"put_{name}"), Bucket="no-such-bucket", **given) == ("NoSuchBucket", 404)


def test_what_a_new_bucket_has(s3: Any) -> None:
    s3.create_bucket(Bucket="brand-new")
    block = s3.get_public_access_block(Bucket="brand-new")["PublicAccessBlockConfiguration"]
    assert set(block.values()) == {True}
    [rule] = s3.get_bucket_ownership_controls(Bucket="brand-new")["OwnershipControls"]["Rules"]
    assert rule == {"ObjectOwnership": "BucketOwnerEnforced"}
    assert refused(s3.get_bucket_encryption, Bucket="brand-new")[1] == 404
    assert "Status" not in s3.get_bucket_versioning(Bucket="brand-new")
    assert s3.get_bucket_request_payment(Bucket="brand-new")["Payer"] == "BucketOwner"
    for call in (s3.get_bucket_logging, s3.get_bucket_notification_configuration, s3.get_bucket_accelerate_configuration):
        assert set(call(Bucket="brand-new")) == {"ResponseMetadata"}
    for call, code in (
        (s3.get_bucket_cors, "NoSuchCORSConfiguration"),
        (s3.get_bucket_website, "NoSuchWebsiteConfiguration"),
        (s3.get_bucket_replication, "ReplicationConfigurationNotFoundError"),
        (s3.get_object_lock_configuration, "ObjectLockConfigurationNotFoundError"),
        (s3.get_bucket_policy_status, "NoSuchBucketPolicy"),
    ):
        assert refused(call, Bucket="brand-new") == (code, 404)
    for call in (s3.delete_bucket_cors, s3.delete_bucket_website, s3.delete_bucket_replication):
        call(Bucket="brand-new")


def test_what_would_not_be_done_is_not_recorded(s3: Any, setting_bucket: str) -> None:
    s3.put_bucket_versioning(Bucket=setting_bucket, VersioningConfiguration={"Status": "Suspended"})
    assert s3.get_bucket_versioning(Bucket=setting_bucket)["Status"] == "Suspended"
    s3.put_bucket_logging(Bucket=setting_bucket, BucketLoggingStatus={})
    topic = {"TopicConfigurations": [{"TopicArn": "arn:aws:sns:us-east-1:1:t", "Events": ["s3:ObjectCreated:*"]}]}
    notify = s3.put_bucket_notification_configuration
    assert refused(notify, Bucket=setting_bucket, NotificationConfiguration=topic) == ("NotImplemented", 501)
    notify(Bucket=setting_bucket, NotificationConfiguration={})


def test_documents_that_s3_would_not_take(s3: Any, setting_bucket: str) -> None:
    put = s3.put_bucket_policy
    assert refused(put, Bucket=setting_bucket, Policy="no json") == ("MalformedPolicy", 400)
    assert refused(put, Bucket=setting_bucket, Policy="{}") == ("MalformedPolicy", 400)
    assert refused(put, Bucket=setting_bucket, Policy="{" + " " * 21_000 + "}") == ("PolicyTooLarge", 400)
    doubled = {"TagSet": [{"Key": "a", "Value": "1"}, {"Key": "a", "Value": "2"}]}
    assert refused(s3.put_bucket_tagging, Bucket=setting_bucket, Tagging=doubled) == ("InvalidTag", 400)
    no_rules = {"ServerSideEncryptionConfiguration": {"Rules": []}}
    assert refused(s3.put_bucket_encryption, Bucket=setting_bucket, **no_rules) == ("MalformedXML", 400)
    sleeping = {"Rules": [{"Status": "Asleep", "Prefix": ""}]}
    lifecycle = s3.put_bucket_lifecycle_configuration
    assert refused(lifecycle, Bucket=setting_bucket, LifecycleConfiguration=sleeping) == ("MalformedXML", 400)


def test_the_table_of_what_is_only_recorded_is_for_people() -> None:
    assert all(sentence.endswith(".") for sentence in RECORDED_ONLY.values())
