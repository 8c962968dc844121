"""Server access logs through boto3: what stands in a line, where lines are delivered, and what becomes of those that nobody takes."""

from __future__ import annotations

import itertools
import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from access_log_lines import logged, parsed, policy
from botocore.exceptions import ClientError
from s3_serving import ACCOUNT, OTHER_ACCOUNT, client, served

from batchyard.services.s3 import AccessLogs, carry_out_lifecycles
from batchyard.services.s3.access_lines import name_of
from batchyard.services.s3.route import _ROUTES, SERVED, SERVICE
from batchyard.store.objects import ObjectStore
from batchyard.store.objects_rules import DAY_MS
from batchyard.store.spool import Spool

NUMBERS = itertools.count()
OWNER = ACCOUNT.rjust(64, "0")


@pytest.fixture(scope="module")
def logs(shared_store: ObjectStore, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AccessLogs]:
    made = AccessLogs(shared_store, tmp_path_factory.mktemp("spool"), 60.0)
    yield made
    made.close()


@pytest.fixture(scope="module")
def endpoint(shared_store: ObjectStore, logs: AccessLogs) -> Iterator[str]:
    with served(shared_store, access_logs=logs) as url:
        yield url


@pytest.fixture
def source(s3: Any) -> str:
    name = f"source-{next(NUMBERS)}"
    s3.create_bucket(Bucket=name)
    return name


@pytest.fixture
def target(s3: Any, source: str) -> str:
    name = source.replace("source", "target")
    s3.create_bucket(Bucket=name)
    s3.put_bucket_policy(Bucket=name, Policy=json.dumps(policy(name, "", ACCOUNT)))
    return name


def log_to(s3: Any, source: str, target: str, prefix: str = "logs/", **more: Any) -> None:
    enabled = {"TargetBucket": target, "TargetPrefix": prefix, **more}
    s3.put_bucket_logging(Bucket=source, BucketLoggingStatus={"LoggingEnabled": enabled})


def deliver(s3: Any, logs: AccessLogs) -> None:
    """Deliver all that was answered. A line is noted just after its answer has gone out; once another request is answered it is there."""
    s3.list_buckets()
    logs.deliver()


def lines(s3: Any, logs: AccessLogs, target: str, prefix: str = "logs/") -> list[dict[str, str]]:
    deliver(s3, logs)
    return logged(s3, target, prefix)


def by_operation(records: list[dict[str, str]]) -> dict[str, dict[str, str]]:
    return {record["operation"]: record for record in records}


def test_every_field_of_a_line(s3: Any, logs: AccessLogs, source: str, target: str, endpoint: str) -> None:
    log_to(s3, source, target)
    s3.put_bucket_versioning(Bucket=source, VersioningConfiguration={"Status": "Enabled"})
    put = s3.put_object(Bucket=source, Key="reads/a b+ä.fq", Body=b"ACGT" * 10)
    got = s3.get_object(Bucket=source, Key="reads/a b+ä.fq", Range="bytes=0-3")
    assert got["Body"].read() == b"ACGT"
    s3.head_object(Bucket=source, Key="reads/a b+ä.fq")
    found = by_operation(lines(s3, logs, target))
    line = found["REST.GET.OBJECT"]
    assert re.fullmatch(r"\d\d/[A-Z][a-z][a-z]/\d{4}:\d\d:\d\d:\d\d \+0000", line.pop("time"))
    assert int(line.pop("total")) >= int(line.pop("turn_around")) >= 0
    agent = line.pop("agent")
    assert agent.startswith('"Boto3/')
    assert line == {
        "owner": OWNER,
        "bucket": source,
        "remote": "127.0.0.1",
        "requester": OWNER,
        "request_id": got["ResponseMetadata"]["RequestId"],
        "operation": "REST.GET.OBJECT",
        "key": "reads/a%20b%2B%C3%A4.fq",
        "uri": f'"GET /{source}/reads/a%20b%2B%C3%A4.fq HTTP/1.1"',
        "status": "206",
        "error": "-",
        "sent": "4",
        "size": "40",
        "referer": '"-"',
        "version": put["VersionId"],
        "host_id": got["ResponseMetadata"]["HostId"],
        "signature": "SigV4",
        "cipher": "-",
        "auth": "AuthHeader",
        "host": endpoint.removeprefix("http://"),
        "tls": "-",
        "access_point": "-",
        "acl": "-",
        "region": "us-east-1",
    }
    assert (found["REST.PUT.OBJECT"]["size"], found["REST.PUT.OBJECT"]["sent"]) == ("40", "-")
    assert (found["REST.HEAD.OBJECT"]["size"], found["REST.HEAD.OBJECT"]["sent"]) == ("40", "-")
    assert found["REST.PUT.VERSIONING"]["key"] == "-"


def test_what_is_refused_is_logged_too(s3: Any, logs: AccessLogs, source: str, target: str, endpoint: str) -> None:
    log_to(s3, source, target)
    with pytest.raises(ClientError):
        s3.get_object(Bucket=source, Key="not-there")
    with pytest.raises(ClientError):
        s3.head_object(Bucket=source, Key="not-there")
    with pytest.raises(ClientError):
        client(endpoint, OTHER_ACCOUNT).get_object(Bucket=source, Key="theirs")
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(f"{endpoint}/{source}/by-anybody", timeout=60)
    headers = {
        "Authorization": "AWS4-HMAC-SHA256 Credential=AKIANOBODY/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=00"
    }
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{source}/forged", headers=headers), timeout=60)
    found = [
        (line["key"], line["operation"], line["status"], line["error"], line["requester"])
        for line in lines(s3, logs, target)
        if line["operation"].endswith("OBJECT")
    ]
    forged = found.pop()
    assert found == [
        ("not-there", "REST.GET.OBJECT", "404", "NoSuchKey", OWNER),
        ("not-there", "REST.HEAD.OBJECT", "404", "NoSuchKey", OWNER),
        ("theirs", "REST.GET.OBJECT", "403", "AccessDenied", OTHER_ACCOUNT.rjust(64, "0")),
        ("by-anybody", "REST.GET.OBJECT", "403", "AccessDenied", "-"),
    ]
    assert forged[:2] == ("forged", "REST.GET.OBJECT") and forged[2] in ("400", "403") and forged[4] == "-"


def test_batches_copies_and_uploads(s3: Any, logs: AccessLogs, source: str, target: str) -> None:
    s3.put_object(Bucket=target, Key="elsewhere", Body=b"12345")  # of a bucket without logging
    log_to(s3, source, target)
    s3.put_object(Bucket=source, Key="a", Body=b"1234567")
    s3.copy_object(Bucket=source, Key="b", CopySource=f"{source}/a")
    s3.copy_object(Bucket=target, Key="c", CopySource=f"{source}/a")  # the source's bucket hears of it
    upload = s3.create_multipart_upload(Bucket=source, Key="parts")["UploadId"]
    part = s3.upload_part(Bucket=source, Key="parts", UploadId=upload, PartNumber=1, Body=b"part")
    made = {"Parts": [{"PartNumber": 1, "ETag": part["ETag"]}]}
    s3.complete_multipart_upload(Bucket=source, Key="parts", UploadId=upload, MultipartUpload=made)
    s3.delete_objects(Bucket=source, Delete={"Objects": [{"Key": "a"}, {"Key": "b"}]})
    found = [(line["operation"], line["key"], line["size"]) for line in lines(s3, logs, target)]
    assert [entry for entry in found if "LOGGING" not in entry[0]] == [
        ("REST.PUT.OBJECT", "a", "7"),
        ("REST.COPY.OBJECT", "b", "7"),
        ("REST.COPY.OBJECT_GET", "a", "7"),
        ("REST.COPY.OBJECT_GET", "a", "7"),
        ("REST.POST.UPLOADS", "parts", "-"),
        ("REST.PUT.PART", "parts", "4"),
        ("REST.POST.UPLOAD", "parts", "4"),
        ("REST.POST.MULTI_OBJECT_DELETE", "-", "-"),
        ("BATCH.DELETE.OBJECT", "a", "-"),
        ("BATCH.DELETE.OBJECT", "b", "-"),
    ]


def test_presigned_urls_do_not_come_to_light(s3: Any, logs: AccessLogs, source: str, target: str) -> None:
    s3.put_object(Bucket=source, Key="a", Body=b"1")
    log_to(s3, source, target)
    url = s3.generate_presigned_url("get_object", Params={"Bucket": source, "Key": "a"})
    request = urllib.request.Request(url, headers={"User-Agent": 'a "quoted" one', "Referer": "https://example.org/x"})
    assert urllib.request.urlopen(request, timeout=60).read() == b"1"
    line = by_operation(lines(s3, logs, target))["REST.GET.OBJECT"]
    assert line["auth"] == "QueryString"
    assert "Signature=-" in line["uri"] and re.search("Signature=([^&]+)", url)[1] not in line["uri"]  # type: ignore[index]
    assert (line["agent"], line["referer"]) == ('"a %22quoted%22 one"', '"https://example.org/x"')


def test_an_access_control_list_that_was_needed(s3: Any, logs: AccessLogs, target: str, endpoint: str) -> None:
    name = f"with-acls-{next(NUMBERS)}"
    s3.create_bucket(Bucket=name, ObjectOwnership="ObjectWriter")
    s3.delete_public_access_block(Bucket=name)
    s3.put_object(Bucket=name, Key="public", Body=b"1", ACL="public-read")
    log_to(s3, name, target)
    assert urllib.request.urlopen(f"{endpoint}/{name}/public", timeout=60).read() == b"1"
    s3.get_object(Bucket=name, Key="public")
    found = [(line["requester"], line["acl"], line["auth"]) for line in lines(s3, logs, target) if line["operation"] == "REST.GET.OBJECT"]
    assert found == [("-", "Yes", "-"), (OWNER, "-", "AuthHeader")]


def test_what_lifecycle_rules_do(s3: Any, logs: AccessLogs, shared_store: ObjectStore, source: str, target: str) -> None:
    versioned = f"{source}-versioned"
    s3.create_bucket(Bucket=versioned)
    s3.put_bucket_versioning(Bucket=versioned, VersioningConfiguration={"Status": "Enabled"})
    rules = [{"ID": "old", "Status": "Enabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}}]
    for name in (source, versioned):
        s3.put_object(Bucket=name, Key="old", Body=b"12345")
        s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": rules})
        log_to(s3, name, target)
    carry_out_lifecycles(shared_store, logs, time.time_ns() // 1_000_000 + 3 * DAY_MS)
    found = {(line["bucket"], line["operation"], line["key"], line["requester"], line["size"]) for line in lines(s3, logs, target)}
    assert (source, "S3.EXPIRE.OBJECT", "old", "AmazonS3", "5") in found
    assert (versioned, "S3.CREATE.DELETEMARKER", "old", "AmazonS3", "5") in found


@pytest.mark.parametrize(
    ("form", "pattern"),
    [
        ({"SimplePrefix": {}}, r"p-\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d-[0-9A-F]{16}"),
        ({"PartitionedPrefix": {}}, r"p-123456789012/us-east-1/SOURCE/\d{4}/\d\d/\d\d/\d{4}-\d\d-\d\d-00-00-00-[0-9A-F]{16}"),
        (
            {"PartitionedPrefix": {"PartitionDateSource": "DeliveryTime"}},
            r"p-123456789012/us-east-1/SOURCE/(\d{4})/(\d\d)/(\d\d)/\1-\2-\3-\d\d-\d\d-\d\d-[0-9A-F]{16}",
        ),
    ],
)
def test_keys_of_log_objects(s3: Any, logs: AccessLogs, source: str, target: str, form: dict[str, Any], pattern: str) -> None:
    log_to(s3, source, target, "p-", TargetObjectKeyFormat=form)
    assert s3.get_bucket_logging(Bucket=source)["LoggingEnabled"]["TargetObjectKeyFormat"] == form
    s3.put_object(Bucket=source, Key="a", Body=b"1")
    deliver(s3, logs)
    (entry,) = s3.list_objects_v2(Bucket=target, Prefix="p-")["Contents"]
    assert re.fullmatch(pattern.replace("SOURCE", source), entry["Key"]), entry["Key"]
    assert s3.head_object(Bucket=target, Key=entry["Key"])["ContentType"] == "text/plain"


def test_a_bucket_that_logs_into_itself_does_not_log_its_logs(s3: Any, logs: AccessLogs, source: str) -> None:
    s3.put_bucket_policy(Bucket=source, Policy=json.dumps(policy(source, "logs/", ACCOUNT)))
    log_to(s3, source, source)
    deliver(s3, logs)
    for _ in range(3):
        deliver(s3, logs)
    assert len(s3.list_objects_v2(Bucket=source)["Contents"]) == 1
    s3.put_bucket_logging(Bucket=source, BucketLoggingStatus={})
    deliver(s3, logs)
    before = len(s3.list_objects_v2(Bucket=source)["Contents"])
    s3.put_object(Bucket=source, Key="unheard", Body=b"1")
    deliver(s3, logs)
    assert len(s3.list_objects_v2(Bucket=source)["Contents"]) == before + 1
    assert source not in logs.sources


@pytest.mark.parametrize(
    "document",
    [
        None,
        policy("TARGET", "elsewhere/", ACCOUNT),
        policy("TARGET", "", OTHER_ACCOUNT),
        policy("TARGET", "", ACCOUNT, "another-source"),
        policy("TARGET", "", ACCOUNT, Principal={"Service": "logs.us-east-1.amazonaws.com"}),
        policy("TARGET", "", ACCOUNT, Effect="Deny"),
    ],
)
def test_a_bucket_that_does_not_let_it_in_gets_nothing(
    s3: Any, logs: AccessLogs, source: str, target: str, document: dict[str, Any] | None
) -> None:
    s3.delete_bucket_policy(Bucket=target)
    if document is not None:
        s3.put_bucket_policy(Bucket=target, Policy=json.dumps(document).replace("TARGET", target))
    log_to(s3, source, target)
    s3.put_object(Bucket=source, Key="a", Body=b"1")
    before = logs.lost["AccessDenied"]
    deliver(s3, logs)
    assert "Contents" not in s3.list_objects_v2(Bucket=target)
    assert logs.lost["AccessDenied"] > before


def test_a_grant_to_the_log_delivery_group_lets_it_in(s3: Any, logs: AccessLogs, source: str) -> None:
    name = f"{source}-old-style"
    s3.create_bucket(Bucket=name, ObjectOwnership="ObjectWriter", ACL="log-delivery-write")
    grants = [{"Grantee": {"Type": "Group", "URI": "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"}, "Permission": "READ"}]
    s3.delete_public_access_block(Bucket=name)
    log_to(s3, source, name, TargetGrants=grants)
    s3.put_object(Bucket=source, Key="a", Body=b"1")
    assert "REST.PUT.OBJECT" in by_operation(lines(s3, logs, name))
    key = s3.list_objects_v2(Bucket=name)["Contents"][0]["Key"]
    assert any(grant["Permission"] == "READ" for grant in s3.get_object_acl(Bucket=name, Key=key)["Grants"])


def test_where_logs_cannot_go_is_refused(s3: Any, source: str, target: str, endpoint: str) -> None:
    def refused(**enabled: Any) -> str:
        with pytest.raises(ClientError) as caught:
            log_to(s3, source, enabled.pop("to", target), **enabled)
        return str(caught.value.response["Error"]["Code"])

    west = f"{source}-west"
    s3.create_bucket(Bucket=west, CreateBucketConfiguration={"LocationConstraint": "us-west-2"})
    theirs = f"{source}-theirs"
    client(endpoint, OTHER_ACCOUNT).create_bucket(Bucket=theirs)
    assert refused(to=west) == "CrossLocationLoggingProhibited"
    assert refused(to=theirs) == refused(to="not-there-at-all") == "InvalidTargetBucketForLogging"
    assert refused(TargetObjectKeyFormat={"SimplePrefix": {}, "PartitionedPrefix": {}}) == "MalformedXML"
    reader = {"Grantee": {"Type": "CanonicalUser", "ID": OTHER_ACCOUNT.rjust(64, "0")}, "Permission": "READ"}
    assert refused(TargetGrants=[reader]) == "AccessControlListNotSupported"


def test_what_a_crash_left_is_delivered_once(s3: Any, shared_store: ObjectStore, source: str, target: str, tmp_path: Path) -> None:
    """The spool of a server that was killed: an open file with a line that broke off, and a sealed one that was delivered already."""
    log_to(s3, source, target)
    label = json.dumps({"bucket": source, "account": ACCOUNT, "region": "us-east-1", "target": target, "prefix": "logs/"}).encode()
    Spool(tmp_path, shared_store.now_ms).append(label, [b"one\n", b"two\n", b"thr"])
    (sealed,) = Spool(tmp_path, shared_store.now_ms).sealed()
    copy = sealed.path.read_bytes()
    others = shared_store.logging_changed
    next_start = AccessLogs(shared_store, tmp_path, 60.0)
    next_start.deliver()
    assert not list(tmp_path.iterdir())
    sealed.path.write_bytes(copy)  # as if the server had been killed between the object and the end of the file
    next_start.close()
    shared_store.logging_changed = others
    assert not list(tmp_path.iterdir())
    (entry,) = s3.list_objects_v2(Bucket=target, Prefix="logs/")["Contents"]
    assert s3.get_object(Bucket=target, Key=entry["Key"])["Body"].read() == b"one\ntwo\n"


def test_every_operation_has_a_name_in_the_log() -> None:
    names = {operation: name_of(operation, method) for (method, level, _), (operation, _) in _ROUTES.items() if level != SERVICE}
    assert set(names) | {"CopyObject", "UploadPartCopy", "ListBuckets"} == SERVED
    assert names["ListObjectsV2"] == "REST.GET.BUCKET" and names["PutBucketPolicy"] == "REST.PUT.BUCKETPOLICY"
    assert names["GetObjectTagging"] == "REST.GET.OBJECT_TAGGING" and names["GetBucketTagging"] == "REST.GET.TAGGING"
    assert names["DeleteObject"] == "REST.DELETE.OBJECT" and names["AbortMultipartUpload"] == "REST.DELETE.UPLOAD"


def test_a_line_of_hostile_text_stays_one_line(s3: Any, logs: AccessLogs, source: str, target: str, endpoint: str) -> None:
    log_to(s3, source, target)
    s3.put_object(Bucket=source, Key='a\nb" c', Body=b"1")
    deliver(s3, logs)
    key = s3.list_objects_v2(Bucket=target, Prefix="logs/")["Contents"][0]["Key"]
    found = parsed(s3.get_object(Bucket=target, Key=key)["Body"].read())
    assert by_operation(found)["REST.PUT.OBJECT"]["key"] == "a%0Ab%22%20c"
