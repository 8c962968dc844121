"""Lifecycle rules through boto3, carried out by the chore at a time of the test's choosing; encryption and logging beside them."""

from __future__ import annotations

import datetime as dt
import itertools
import time
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError

from batchyard.store import objects_lifecycle
from batchyard.store.objects import ObjectStore
from batchyard.store.objects_rules import DAY_MS, due_ms

NUMBERS = itertools.count()


def refused(call: Callable[..., Any], **kwargs: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**kwargs)
    return str(caught.value.response["Error"]["Code"])


@pytest.fixture
def bucket(s3: Any) -> str:
    name = f"lifecycle-{next(NUMBERS)}"
    s3.create_bucket(Bucket=name)
    return name


def set_rules(s3: Any, bucket: str, *rules: dict[str, Any]) -> None:
    made = [{"ID": f"r{n}", "Status": "Enabled", "Filter": {"Prefix": ""}, **rule} for n, rule in enumerate(rules)]
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": made})


def put(s3: Any, bucket: str, *names: str, **options: Any) -> None:
    for name in names:
        s3.put_object(Bucket=bucket, Key=name, Body=b"12345", **options)


def keys_of(s3: Any, bucket: str) -> list[str]:
    return [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


def versions_of(s3: Any, bucket: str) -> tuple[int, int]:
    """(versions, delete markers)."""
    page = s3.list_object_versions(Bucket=bucket)
    return len(page.get("Versions", [])), len(page.get("DeleteMarkers", []))


def in_days(days: float) -> int:
    return time.time_ns() // 1_000_000 + int(days * DAY_MS)


def test_days_are_over_at_midnight() -> None:
    assert due_ms(5 * DAY_MS + 1, 1) == 7 * DAY_MS
    assert due_ms(5 * DAY_MS, 1) == 6 * DAY_MS


def test_objects_expire_where_the_filter_says(s3: Any, shared_store: ObjectStore, bucket: str) -> None:
    set_rules(
        s3,
        bucket,
        {"Filter": {"Prefix": "tmp/"}, "Expiration": {"Days": 7}},
        {"Filter": {"Tag": {"Key": "keep", "Value": "no"}}, "Expiration": {"Days": 1}},
        {"Filter": {"ObjectSizeGreaterThan": 100}, "Expiration": {"Days": 1}},
        {"Filter": {"And": {"Prefix": "a", "Tags": [{"Key": "x", "Value": "y"}]}}, "Expiration": {"Days": 1}},
        {"Filter": {"Prefix": "sleeping"}, "Expiration": {"Days": 1}, "Status": "Disabled"},
    )
    put(s3, bucket, "tmp/1", "tmp/2", "kept", "abc", "sleeping")
    put(s3, bucket, "tagged", Tagging="keep=no")
    put(s3, bucket, "a-both", Tagging="x=y")
    s3.put_object(Bucket=bucket, Key="large", Body=bytes(101))
    assert objects_lifecycle.run_once(shared_store, in_days(0.5)) > 0
    assert len(keys_of(s3, bucket)) == 8
    objects_lifecycle.run_once(shared_store, in_days(3))
    assert keys_of(s3, bucket) == ["abc", "kept", "sleeping", "tmp/1", "tmp/2"]
    objects_lifecycle.run_once(shared_store, in_days(9))
    assert keys_of(s3, bucket) == ["abc", "kept", "sleeping"]
    set_rules(s3, bucket, {"Expiration": {"Date": dt.datetime(2020, 1, 1, tzinfo=dt.UTC)}})
    objects_lifecycle.run_once(shared_store, in_days(0))
    assert keys_of(s3, bucket) == []


def test_versions_expire_markers_too(s3: Any, shared_store: ObjectStore, bucket: str) -> None:
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for _ in range(5):
        put(s3, bucket, "k")
    set_rules(s3, bucket, {"NoncurrentVersionExpiration": {"NoncurrentDays": 2, "NewerNoncurrentVersions": 1}})
    objects_lifecycle.run_once(shared_store, in_days(1))
    assert versions_of(s3, bucket) == (5, 0)
    objects_lifecycle.run_once(shared_store, in_days(4))
    assert versions_of(s3, bucket) == (2, 0)
    set_rules(s3, bucket, {"Expiration": {"Days": 1}, "NoncurrentVersionExpiration": {"NoncurrentDays": 1}})
    objects_lifecycle.run_once(shared_store, in_days(3))
    assert versions_of(s3, bucket) == (1, 1)  # a marker hides what has expired
    objects_lifecycle.run_once(shared_store, in_days(9))
    assert versions_of(s3, bucket) == (0, 1)
    set_rules(s3, bucket, {"Expiration": {"ExpiredObjectDeleteMarker": True}})
    objects_lifecycle.run_once(shared_store, in_days(0))
    assert versions_of(s3, bucket) == (0, 0)
    s3.delete_bucket(Bucket=bucket)


def test_uploads_that_nobody_ends_are_aborted(s3: Any, shared_store: ObjectStore, bucket: str) -> None:
    upload = s3.create_multipart_upload(Bucket=bucket, Key="tmp/big")["UploadId"]
    s3.upload_part(Bucket=bucket, Key="tmp/big", UploadId=upload, PartNumber=1, Body=b"x")
    s3.create_multipart_upload(Bucket=bucket, Key="other")
    set_rules(s3, bucket, {"Filter": {"Prefix": "tmp/"}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 3}})
    objects_lifecycle.run_once(shared_store, in_days(2))
    assert len(s3.list_multipart_uploads(Bucket=bucket)["Uploads"]) == 2
    objects_lifecycle.run_once(shared_store, in_days(5))
    assert [entry["Key"] for entry in s3.list_multipart_uploads(Bucket=bucket)["Uploads"]] == ["other"]


def test_classes_change_when_it_is_time(s3: Any, shared_store: ObjectStore, bucket: str) -> None:
    put(s3, bucket, "k")
    steps = [{"Days": 30, "StorageClass": "STANDARD_IA"}, {"Days": 60, "StorageClass": "GLACIER_IR"}]
    set_rules(s3, bucket, {"Transitions": steps})
    for days, name in ((10, None), (35, "STANDARD_IA"), (65, "GLACIER_IR")):
        objects_lifecycle.run_once(shared_store, in_days(days))
        assert s3.head_object(Bucket=bucket, Key="k").get("StorageClass") == name


def test_many_pages(s3: Any, shared_store: ObjectStore, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objects_lifecycle, "PAGE", 3)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for number in range(4):
        for _ in range(4):
            put(s3, bucket, f"k{number}")
    set_rules(s3, bucket, {"NoncurrentVersionExpiration": {"NoncurrentDays": 1, "NewerNoncurrentVersions": 2}})
    objects_lifecycle.run_once(shared_store, in_days(5))
    assert versions_of(s3, bucket) == (12, 0)


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ({}, "InvalidRequest"),
        ({"Expiration": {}}, "InvalidRequest"),
        ({"Expiration": {"Days": 0}}, "InvalidArgument"),
        ({"Expiration": {"Days": 1, "ExpiredObjectDeleteMarker": True}}, "MalformedXML"),
        ({"Expiration": {"Date": dt.datetime(2030, 1, 1, 5, tzinfo=dt.UTC)}}, "InvalidArgument"),
        ({"Expiration": {"Days": 1}, "ID": "x" * 256}, "InvalidArgument"),
        ({"Filter": {"Tag": {"Key": "a", "Value": "b"}}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 1}}, "InvalidRequest"),
        ({"Filter": {"And": {"Prefix": "a"}}, "Expiration": {"Days": 1}}, "MalformedXML"),
        ({"Transitions": [{"Days": 1, "StorageClass": "GLACIER"}]}, "NotImplemented"),
        ({"NoncurrentVersionExpiration": {"NoncurrentDays": 1, "NewerNoncurrentVersions": 101}}, "InvalidArgument"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(s3: Any, bucket: str, rule: dict[str, Any], code: str) -> None:
    with pytest.raises(ClientError) as caught:
        set_rules(s3, bucket, rule)
    assert caught.value.response["Error"]["Code"] == code
    assert refused(s3.get_bucket_lifecycle_configuration, Bucket=bucket) == "NoSuchLifecycleConfiguration"
    twice = {"Expiration": {"Days": 1}, "ID": "same"}
    with pytest.raises(ClientError, match="must be unique"):
        set_rules(s3, bucket, twice, twice)


def test_encryption_is_kept_and_said(s3: Any, bucket: str) -> None:
    put(s3, bucket, "plain")
    answer = s3.put_object(Bucket=bucket, Key="kms", Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId="key-1", BucketKeyEnabled=True)
    assert (answer["ServerSideEncryption"], answer["SSEKMSKeyId"], answer["BucketKeyEnabled"]) == ("aws:kms", "key-1", True)
    assert s3.head_object(Bucket=bucket, Key="kms")["SSEKMSKeyId"] == "key-1"
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "key-2"}
    rules = [{"ApplyServerSideEncryptionByDefault": default, "BucketKeyEnabled": True}]
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": rules})
    assert s3.put_object(Bucket=bucket, Key="by default", Body=b"x")["SSEKMSKeyId"] == "key-2"
    assert s3.get_object(Bucket=bucket, Key="by default")["ServerSideEncryption"] == "aws:kms"
    assert "ServerSideEncryption" not in s3.head_object(Bucket=bucket, Key="plain")
    assert s3.copy_object(Bucket=bucket, Key="copy", CopySource=f"{bucket}/plain")["ServerSideEncryption"] == "aws:kms"
    upload = s3.create_multipart_upload(Bucket=bucket, Key="parts")
    assert upload["ServerSideEncryption"] == "aws:kms"
    blocked = {"Rules": [{"BlockedEncryptionTypes": {"EncryptionType": ["SSE-C"]}}]}  # what Toil sends
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=blocked)
    assert s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"] == blocked
    wrong = {"Rules": [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256", "KMSMasterKeyID": "k"}}]}
    assert refused(s3.put_bucket_encryption, Bucket=bucket, ServerSideEncryptionConfiguration=wrong) == "InvalidArgument"
    without = {"Bucket": bucket, "Key": "x", "Body": b"", "SSEKMSKeyId": "k"}
    assert refused(s3.put_object, **without) == "InvalidArgument"


def test_where_access_logs_should_go(s3: Any, bucket: str) -> None:
    wanted = {"LoggingEnabled": {"TargetBucket": bucket, "TargetPrefix": "logs/"}}
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus=wanted)
    assert s3.get_bucket_logging(Bucket=bucket)["LoggingEnabled"] == wanted["LoggingEnabled"]
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={})
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=bucket)
    nowhere = {"LoggingEnabled": {"TargetBucket": "not-there-at-all", "TargetPrefix": ""}}
    assert refused(s3.put_bucket_logging, Bucket=bucket, BucketLoggingStatus=nowhere) == "InvalidTargetBucketForLogging"
