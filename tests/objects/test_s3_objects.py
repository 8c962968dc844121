"""Objects through boto3: put, get, ranges, conditions, checksums, copies, tags."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import http.client
import urllib.request
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from s3_serving import OTHER_ACCOUNT, client

BUCKET = "objects-bucket"
ODD_KEY = "results/run 1/é + &<>\"'%2F?.vcf"


@pytest.fixture(scope="module", autouse=True)
def bucket(s3: Any) -> str:
    s3.create_bucket(Bucket=BUCKET)
    return BUCKET


def refused(call: Callable[..., Any], *args: Any, **kwargs: Any) -> tuple[str, int]:
    """(error code, HTTP status) of a call that must fail."""
    with pytest.raises(ClientError) as caught:
        call(*args, Bucket=BUCKET, **kwargs)
    answer = caught.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


def body_of(s3: Any, key: str, **kwargs: Any) -> bytes:
    return bytes(s3.get_object(Bucket=BUCKET, Key=key, **kwargs)["Body"].read())


def raw(url: str, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None) -> Any:
    """One request without an SDK in between: (response, body)."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    connection.request(method, path, body=body, headers=headers or {})
    response = connection.getresponse()
    content = response.read()
    connection.close()
    return response, content


@pytest.mark.parametrize("key", ["plain", ODD_KEY, "a//b", "/leading", "trailing/", "🧬", "x" * 1024, "..", "a/../b", "+ +"])
def test_every_key_keeps_its_name(s3: Any, key: str) -> None:
    content = key.encode() * 3
    assert s3.put_object(Bucket=BUCKET, Key=key, Body=content)["ETag"] == f'"{hashlib.md5(content).hexdigest()}"'
    assert body_of(s3, key) == content
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=BUCKET, Prefix=key)["Contents"]] == [key]
    s3.delete_object(Bucket=BUCKET, Key=key)
    assert refused(s3.get_object, Key=key) == ("NoSuchKey", 404)


def test_what_is_no_key_is_refused(s3: Any, open_endpoint: str) -> None:
    assert refused(s3.put_object, Key="x" * 1025, Body=b"") == ("KeyTooLongError", 400)
    response, content = raw(open_endpoint, "PUT", f"/{BUCKET}/%FF%FE", b"x")
    assert response.status == 400
    assert b"<Code>InvalidURI</Code>" in content


def test_what_travels_with_an_object_comes_back(s3: Any) -> None:
    expires = dt.datetime(2030, 1, 2, 3, 4, 5, tzinfo=dt.UTC)
    s3.put_object(
        Bucket=BUCKET,
        Key="dressed",
        Body=b"bytes",
        ContentType="text/x-vcf",
        ContentEncoding="gzip",
        ContentLanguage="de",
        ContentDisposition='attachment; filename="x.vcf"',
        CacheControl="no-cache",
        Expires=expires,
        Metadata={"sample": "NA12878", "Run-Id": "7"},
        Tagging="project=wgs&stage=a%20b",
        StorageClass="STANDARD_IA",
        ServerSideEncryption="AES256",
    )
    for answer in (s3.head_object(Bucket=BUCKET, Key="dressed"), s3.get_object(Bucket=BUCKET, Key="dressed")):
        assert answer["ContentType"] == "text/x-vcf"
        assert answer["ContentEncoding"] == "gzip"
        assert answer["ContentLanguage"] == "de"
        assert answer["ContentDisposition"] == 'attachment; filename="x.vcf"'
        assert answer["CacheControl"] == "no-cache"
        assert answer["ExpiresString"] == "Wed, 02 Jan 2030 03:04:05 GMT"
        assert answer["Metadata"] == {"sample": "NA12878", "run-id": "7"}
        assert answer["StorageClass"] == "STANDARD_IA"
        assert answer["ServerSideEncryption"] == "AES256"
        assert answer["ContentLength"] == 5
        assert answer["AcceptRanges"] == "bytes"
        assert abs((answer["LastModified"] - dt.datetime.now(dt.UTC)).total_seconds()) < 300
    assert s3.get_object(Bucket=BUCKET, Key="dressed")["TagCount"] == 2
    s3.put_object(Bucket=BUCKET, Key="bare", Body=b"")
    assert s3.head_object(Bucket=BUCKET, Key="bare")["ContentType"] == "binary/octet-stream"


@pytest.mark.parametrize(
    ("spec", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=3-7", 3, 8),
        ("bytes=90-", 90, 100),
        ("bytes=90-1000", 90, 100),
        ("bytes=-5", 95, 100),
        ("bytes=-500", 0, 100),
        ("bytes=0-", 0, 100),
    ],
)
def test_a_range_is_answered_206(s3: Any, spec: str, start: int, end: int) -> None:
    content = bytes(range(100))
    s3.put_object(Bucket=BUCKET, Key="ranged", Body=content)
    answer = s3.get_object(Bucket=BUCKET, Key="ranged", Range=spec)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 206
    assert answer["ContentRange"] == f"bytes {start}-{end - 1}/100"
    assert answer["ContentLength"] == end - start
    assert answer["Body"].read() == content[start:end]
    head = s3.head_object(Bucket=BUCKET, Key="ranged", Range=spec)
    assert (head["ContentLength"], head["ResponseMetadata"]["HTTPStatusCode"]) == (end - start, 206)


def test_ranges_outside_and_ranges_that_are_none(s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="ten", Body=b"0123456789")
    s3.put_object(Bucket=BUCKET, Key="none", Body=b"")
    for key, spec in (("ten", "bytes=10-"), ("ten", "bytes=99-100"), ("ten", "bytes=-0"), ("none", "bytes=0-0")):
        assert refused(s3.get_object, Key=key, Range=spec) == ("InvalidRange", 416)
    for spec in ("bytes=5-2", "bytes=0-1,4-5", "lines=1-2", "bytes=-"):
        assert body_of(s3, "ten", Range=spec) == b"0123456789"
    with pytest.raises(ClientError) as caught:
        s3.get_object(Bucket=BUCKET, Key="ten", Range="bytes=10-")
    assert caught.value.response["Error"]["ActualObjectSize"] == "10"


def test_conditions_on_reads(s3: Any) -> None:
    etag = s3.put_object(Bucket=BUCKET, Key="when", Body=b"x")["ETag"]
    now = dt.datetime.now(dt.UTC)
    past, future = now - dt.timedelta(hours=1), now + dt.timedelta(hours=1)
    for call in (s3.get_object, s3.head_object):
        assert refused(call, Key="when", IfMatch='"other"')[1] == 412
        assert refused(call, Key="when", IfNoneMatch=etag)[1] == 304
        assert refused(call, Key="when", IfNoneMatch="*")[1] == 304
        assert refused(call, Key="when", IfModifiedSince=future)[1] == 304
        assert refused(call, Key="when", IfUnmodifiedSince=past)[1] == 412
        # an ETag goes before a date (RFC 9110, 13.2.2)
        assert refused(call, Key="when", IfNoneMatch=etag, IfModifiedSince=past)[1] == 304
        call(Bucket=BUCKET, Key="when", IfMatch=etag, IfUnmodifiedSince=past)
        call(Bucket=BUCKET, Key="when", IfNoneMatch='"other"', IfModifiedSince=future)
        call(Bucket=BUCKET, Key="when", IfMatch=f'"other", {etag}')
        call(Bucket=BUCKET, Key="when", IfModifiedSince=past, IfUnmodifiedSince=future)


def test_conditions_on_writes(s3: Any) -> None:
    assert refused(s3.put_object, Key="cond", Body=b"1", IfMatch='"x"') == ("NoSuchKey", 404)
    etag = s3.put_object(Bucket=BUCKET, Key="cond", Body=b"1", IfNoneMatch="*")["ETag"]
    assert refused(s3.put_object, Key="cond", Body=b"2", IfNoneMatch="*") == ("PreconditionFailed", 412)
    assert refused(s3.put_object, Key="cond", Body=b"2", IfMatch='"x"') == ("PreconditionFailed", 412)
    assert refused(s3.put_object, Key="cond", Body=b"2", IfNoneMatch=etag) == ("NotImplemented", 501)
    assert body_of(s3, "cond") == b"1"
    newer = s3.put_object(Bucket=BUCKET, Key="cond", Body=b"2", IfMatch=etag)["ETag"]
    assert refused(s3.delete_object, Key="cond", IfMatch=etag) == ("PreconditionFailed", 412)
    s3.delete_object(Bucket=BUCKET, Key="cond", IfMatch=newer)
    assert refused(s3.head_object, Key="cond")[1] == 404
    s3.delete_object(Bucket=BUCKET, Key="cond", IfMatch=newer)


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
def test_a_checksum_is_checked_kept_and_given_back(s3: Any, open_endpoint: str, algorithm: str) -> None:
    """The value for CRC32C and CRC64NVME (which boto3 cannot compute) is that of their published test vector."""
    content = b"123456789"
    value = {
        "CRC32": b64(zlib.crc32(content).to_bytes(4, "big")),
        "CRC32C": b64(bytes.fromhex("e3069283")),
        "CRC64NVME": b64(bytes.fromhex("ae8b14860a799888")),
        "SHA1": b64(hashlib.sha1(content).digest()),
        "SHA256": b64(hashlib.sha256(content).digest()),
    }[algorithm]
    header, path = f"x-amz-checksum-{algorithm.lower()}", f"/{BUCKET}/sum-{algorithm}"
    response, _ = raw(open_endpoint, "PUT", path, content, {header: value})
    assert (response.status, response.headers[header]) == (200, value)
    assert response.headers["x-amz-checksum-type"] == "FULL_OBJECT"
    for method in ("GET", "HEAD"):
        assert raw(open_endpoint, method, path, b"", {"x-amz-checksum-mode": "ENABLED"})[0].headers[header] == value
        assert header not in raw(open_endpoint, method, path)[0].headers
    ranged, _ = raw(open_endpoint, "GET", path, b"", {"x-amz-checksum-mode": "ENABLED", "range": "bytes=1-2"})
    assert header not in ranged.headers
    response, answer = raw(open_endpoint, "PUT", path, b"other", {header: value})
    assert response.status == 400
    assert b"<Code>BadDigest</Code>" in answer
    response, answer = raw(open_endpoint, "PUT", path, content, {header: "AAAA=="})
    assert response.status == 400
    assert b"<Code>InvalidRequest</Code>" in answer
    assert body_of(s3, f"sum-{algorithm}") == content


def test_checksums_that_cannot_be(s3: Any, open_endpoint: str) -> None:
    def code(**headers: str) -> tuple[int, bytes]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        response, answer = raw(open_endpoint, "PUT", f"/{BUCKET}/never", b"x", named)
        return response.status, answer.partition(b"<Code>")[2].partition(b"</Code>")[0]

    assert code(content_md5=b64(hashlib.md5(b"y").digest())) == (400, b"BadDigest")
    assert code(content_md5="nonsense") == (400, b"InvalidDigest")
    assert code(x_amz_checksum_xxhash64="AAAAAAAAAAA=") == (400, b"InvalidRequest")
    assert code(x_amz_checksum_crc99="AAAA") == (400, b"InvalidRequest")
    assert code(x_amz_checksum_crc32="AAAAAA==", x_amz_checksum_sha1="AAAA") == (400, b"InvalidRequest")
    assert refused(s3.head_object, Key="never")[1] == 404
    response, _ = raw(open_endpoint, "PUT", f"/{BUCKET}/md5", b"x", {"content-md5": b64(hashlib.md5(b"x").digest())})
    assert response.status == 200


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"x-amz-server-side-encryption-customer-algorithm": "AES256"}, 501, b"NotImplemented"),
        ({"x-amz-server-side-encryption": "rot13"}, 400, b"InvalidArgument"),
        ({"x-amz-website-redirect-location": "/there"}, 501, b"NotImplemented"),
        ({"x-amz-write-offset-bytes": "5"}, 501, b"NotImplemented"),
        ({"x-amz-storage-class": "GLACIER"}, 501, b"NotImplemented"),
        ({"x-amz-storage-class": "CARDBOARD"}, 400, b"InvalidStorageClass"),
        ({"x-amz-acl": "public-read"}, 400, b"AccessControlListNotSupported"),
        ({"x-amz-grant-read": "id=1"}, 400, b"InvalidArgument"),
        ({"x-amz-grant-read": "id=210987654321"}, 400, b"AccessControlListNotSupported"),
        ({"x-amz-object-lock-mode": "GOVERNANCE"}, 400, b"InvalidRequest"),
        ({"x-amz-meta-long": "x" * 2050}, 400, b"MetadataTooLarge"),
        ({"x-amz-tagging": "&".join(f"k{n}=v" for n in range(11))}, 400, b"BadRequest"),
        ({"x-amz-tagging": "a=1&a=2"}, 400, b"InvalidTag"),
        ({"x-amz-tagging": "aws:own=1"}, 400, b"InvalidTag"),
        ({"x-amz-tagging": "a=" + "v" * 257}, 400, b"InvalidTag"),
        ({"x-amz-expected-bucket-owner": "999999999999"}, 403, b"AccessDenied"),
    ],
)
def test_a_header_whose_meaning_would_be_lost_is_refused(open_endpoint: str, headers: dict[str, str], status: int, code: bytes) -> None:
    response, answer = raw(open_endpoint, "PUT", f"/{BUCKET}/refused", b"x", headers)
    assert (response.status, answer.partition(b"<Code>")[2].partition(b"</Code>")[0]) == (status, code)
    assert raw(open_endpoint, "HEAD", f"/{BUCKET}/refused")[0].status == 404


def test_headers_of_the_owner_change_nothing(s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="owned", Body=b"x", ACL="bucket-owner-full-control")
    s3.put_object(Bucket=BUCKET, Key="owned", Body=b"x", ACL="private", ExpectedBucketOwner="123456789012")


@pytest.mark.parametrize("signature_version", ["s3v4", "s3"])
def test_presigned_get_overrides_headers(s3: Any, endpoint: str, signature_version: str) -> None:
    """With both kinds of signatures: boto3 takes the older one by itself in us-east-1."""
    s3.put_object(Bucket=BUCKET, Key="shown", Body=b"x", ContentType="text/plain")
    overrides = {"ResponseContentType": "application/x-bam", "ResponseContentDisposition": "attachment; filename=x y.bam"}
    signer = client(endpoint, signature_version=signature_version)
    url = signer.generate_presigned_url("get_object", Params={"Bucket": BUCKET, "Key": "shown", **overrides})
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"x"
        assert answer.headers["content-type"] == "application/x-bam"
        assert answer.headers["content-disposition"] == "attachment; filename=x y.bam"


@pytest.mark.parametrize("signature_version", ["s3v4", "s3"])
def test_presigned_put(s3: Any, endpoint: str, signature_version: str) -> None:
    signer = client(endpoint, signature_version=signature_version)
    url = signer.generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": ODD_KEY})
    path = url.removeprefix(endpoint)
    assert raw(endpoint, "PUT", path, b"uploaded")[0].status == 200
    assert body_of(s3, ODD_KEY) == b"uploaded"
    for spoilt in (path.replace("Signature=", "Signature=0"), path.replace(BUCKET, "other")):
        assert raw(endpoint, "PUT", spoilt, b"spoilt")[0].status == 403
    assert raw(endpoint, "DELETE", path)[0].status == 403
    assert body_of(s3, ODD_KEY) == b"uploaded"


def test_aws_chunked_is_no_encoding_of_the_object(s3: Any, open_endpoint: str) -> None:
    framed = b"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\r\n\r\n"
    headers = {
        "content-encoding": "gzip,aws-chunked",
        "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
        "x-amz-trailer": "x-amz-checksum-crc32",
        "x-amz-decoded-content-length": "5",
    }
    response, _ = raw(open_endpoint, "PUT", f"/{BUCKET}/framed", framed, headers)
    assert (response.status, response.headers["x-amz-checksum-crc32"]) == (200, "NhCmhg==")
    answer = s3.get_object(Bucket=BUCKET, Key="framed", ChecksumMode="ENABLED")
    assert answer["ContentEncoding"] == "gzip"
    assert answer["ChecksumCRC32"] == "NhCmhg=="
    assert answer["Body"].read() == b"hello"


def test_an_upload_that_breaks_off_leaves_nothing(open_endpoint: str, s3: Any) -> None:
    connection = http.client.HTTPConnection(open_endpoint.removeprefix("http://"), timeout=60)
    connection.putrequest("PUT", f"/{BUCKET}/torn")
    connection.putheader("content-length", "1000000")
    connection.endheaders()
    connection.send(b"x" * 600_000)
    connection.close()
    assert refused(s3.head_object, Key="torn")[1] == 404


def test_a_refused_upload_does_not_spoil_the_next_request(s3: Any) -> None:
    """boto3 holds the body back (`Expect: 100-continue`) and keeps the connection."""
    for _ in range(3):
        assert refused(s3.put_object, Key="x" * 2000, Body=b"y" * 100_000) == ("KeyTooLongError", 400)
        s3.put_object(Bucket=BUCKET, Key="next", Body=b"x")
        assert body_of(s3, "next") == b"x"


def test_delete_many(s3: Any) -> None:
    for key in ("d1", "d2", ODD_KEY):
        s3.put_object(Bucket=BUCKET, Key=key, Body=b"x")
    wanted = [{"Key": key} for key in ("d1", "missing", ODD_KEY)]
    wanted.append({"Key": "d2", "ETag": '"other"'})
    answer = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": wanted})
    assert [entry["Key"] for entry in answer["Deleted"]] == ["d1", "missing", ODD_KEY]
    assert [(entry["Key"], entry["Code"]) for entry in answer["Errors"]] == [("d2", "PreconditionFailed")]
    answer = s3.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": "d2"}], "Quiet": True})
    assert "Deleted" not in answer
    assert "Errors" not in answer
    assert refused(s3.head_object, Key="d2")[1] == 404
    many = {"Objects": [{"Key": str(number)} for number in range(1001)]}
    assert refused(s3.delete_objects, Delete=many) == ("MalformedXML", 400)


def test_a_damaged_document_deletes_nothing(s3: Any, open_endpoint: str) -> None:
    s3.put_object(Bucket=BUCKET, Key="stays", Body=b"x")
    document = b"<Delete><Object><Key>stays</Key></Object></Delete>"
    path = f"/{BUCKET}?delete"
    response, answer = raw(open_endpoint, "POST", path, document, {"content-md5": b64(hashlib.md5(b"y").digest())})
    assert (response.status, b"BadDigest" in answer) == (400, True)
    response, answer = raw(open_endpoint, "POST", path, document[:-3])
    assert (response.status, b"MalformedXML" in answer) == (400, True)
    assert body_of(s3, "stays") == b"x"


def test_copy_takes_bytes_and_what_travels_with_them(s3: Any) -> None:
    source = s3.put_object(Bucket=BUCKET, Key=ODD_KEY, Body=b"copied", ContentType="text/plain", Metadata={"a": "1"}, Tagging="t=1")
    answer = s3.copy_object(Bucket=BUCKET, Key="copy é 1", CopySource={"Bucket": BUCKET, "Key": ODD_KEY})
    assert answer["CopyObjectResult"]["ETag"] == source["ETag"]
    s3.delete_object(Bucket=BUCKET, Key=ODD_KEY)
    head = s3.head_object(Bucket=BUCKET, Key="copy é 1")
    assert (head["ContentType"], head["Metadata"]) == ("text/plain", {"a": "1"})
    assert body_of(s3, "copy é 1") == b"copied"
    assert s3.get_object_tagging(Bucket=BUCKET, Key="copy é 1")["TagSet"] == [{"Key": "t", "Value": "1"}]
    s3.copy_object(
        Bucket=BUCKET,
        Key="dressed anew",
        CopySource=f"{BUCKET}/copy é 1?versionId=null",
        MetadataDirective="REPLACE",
        Metadata={"b": "2"},
        ContentType="text/x-new",
        TaggingDirective="REPLACE",
        Tagging="t=2",
        ChecksumAlgorithm="SHA256",
    )
    head = s3.head_object(Bucket=BUCKET, Key="dressed anew", ChecksumMode="ENABLED")
    assert (head["ContentType"], head["Metadata"]) == ("text/x-new", {"b": "2"})
    assert head["ChecksumSHA256"] == b64(hashlib.sha256(b"copied").digest())
    assert s3.get_object_tagging(Bucket=BUCKET, Key="dressed anew")["TagSet"] == [{"Key": "t", "Value": "2"}]


def test_copy_onto_itself(s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="self", Body=b"x", Metadata={"a": "1"})
    same = {"Bucket": BUCKET, "Key": "self"}
    assert refused(s3.copy_object, Key="self", CopySource=same) == ("InvalidRequest", 400)
    s3.copy_object(Bucket=BUCKET, Key="self", CopySource=same, MetadataDirective="REPLACE", Metadata={"a": "2"})
    assert s3.head_object(Bucket=BUCKET, Key="self")["Metadata"] == {"a": "2"}
    assert body_of(s3, "self") == b"x"


def test_copy_on_conditions(s3: Any) -> None:
    etag = s3.put_object(Bucket=BUCKET, Key="from", Body=b"x")["ETag"]
    source = {"Bucket": BUCKET, "Key": "from"}
    future = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    for condition in (
        {"CopySourceIfMatch": '"other"'},
        {"CopySourceIfNoneMatch": etag},
        {"CopySourceIfModifiedSince": future},
        {"CopySourceIfUnmodifiedSince": future - dt.timedelta(hours=2)},
    ):
        assert refused(s3.copy_object, Key="to", CopySource=source, **condition) == ("PreconditionFailed", 412)
    s3.copy_object(Bucket=BUCKET, Key="to", CopySource=source, CopySourceIfMatch=etag, IfNoneMatch="*")
    assert refused(s3.copy_object, Key="to", CopySource=source, IfNoneMatch="*") == ("PreconditionFailed", 412)


def test_copy_from_nowhere(s3: Any, open_endpoint: str) -> None:
    assert refused(s3.copy_object, Key="to", CopySource=f"{BUCKET}/nothing") == ("NoSuchKey", 404)
    assert refused(s3.copy_object, Key="to", CopySource="no-such-bucket/k") == ("NoSuchBucket", 404)
    response, answer = raw(open_endpoint, "PUT", f"/{BUCKET}/to", b"", {"x-amz-copy-source": "nothing"})
    assert (response.status, b"InvalidArgument" in answer) == (400, True)
    response, answer = raw(open_endpoint, "PUT", f"/{BUCKET}/to", b"", {"x-amz-copy-source": "a/b", "x-amz-metadata-directive": "GUESS"})
    assert response.status in (400, 404)


def test_tags_of_an_object(s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="tagged", Body=b"bytes")
    assert s3.get_object_tagging(Bucket=BUCKET, Key="tagged")["TagSet"] == []
    tags = [{"Key": "stage", "Value": "align"}, {"Key": "é", "Value": ""}]
    s3.put_object_tagging(Bucket=BUCKET, Key="tagged", Tagging={"TagSet": tags})
    assert s3.get_object_tagging(Bucket=BUCKET, Key="tagged")["TagSet"] == tags
    assert body_of(s3, "tagged") == b"bytes"
    doubled = {"TagSet": [tags[0], tags[0]]}
    assert refused(s3.put_object_tagging, Key="tagged", Tagging=doubled) == ("InvalidTag", 400)
    s3.delete_object_tagging(Bucket=BUCKET, Key="tagged")
    assert s3.get_object_tagging(Bucket=BUCKET, Key="tagged")["TagSet"] == []
    assert refused(s3.get_object_tagging, Key="nothing") == ("NoSuchKey", 404)


def test_attributes_of_an_object(s3: Any) -> None:
    etag = s3.put_object(Bucket=BUCKET, Key="attr", Body=b"bytes", ChecksumAlgorithm="SHA1")["ETag"]
    wanted = ["ETag", "Checksum", "ObjectSize", "StorageClass", "ObjectParts"]
    answer = s3.get_object_attributes(Bucket=BUCKET, Key="attr", ObjectAttributes=wanted)
    assert answer["ETag"] == etag.strip('"')
    assert answer["ObjectSize"] == 5
    assert answer["StorageClass"] == "STANDARD"
    assert answer["Checksum"] == {"ChecksumSHA1": b64(hashlib.sha1(b"bytes").digest()), "ChecksumType": "FULL_OBJECT"}
    assert "ObjectParts" not in answer


def test_the_one_version_is_called_null(s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="ver", Body=b"x")
    assert body_of(s3, "ver", VersionId="null") == b"x"
    assert refused(s3.get_object, Key="ver", VersionId="abc") == ("InvalidArgument", 400)
    [version] = s3.list_object_versions(Bucket=BUCKET, Prefix="ver")["Versions"]
    assert (version["Key"], version["VersionId"], version["IsLatest"]) == ("ver", "null", True)


def test_an_object_is_read_as_it_was_when_it_was_opened(s3: Any) -> None:
    content = bytes(range(256)) * 40_000
    s3.put_object(Bucket=BUCKET, Key="moving", Body=content)
    stream = s3.get_object(Bucket=BUCKET, Key="moving")["Body"]
    first = stream.read(1000)
    s3.put_object(Bucket=BUCKET, Key="moving", Body=b"new")
    s3.delete_object(Bucket=BUCKET, Key="moving")
    assert first + stream.read() == content


def test_acls_are_the_owners(s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="acl", Body=b"bytes")
    for answer in (s3.get_object_acl(Bucket=BUCKET, Key="acl"), s3.get_bucket_acl(Bucket=BUCKET)):
        [grant] = answer["Grants"]
        assert (grant["Permission"], grant["Grantee"]["ID"]) == ("FULL_CONTROL", answer["Owner"]["ID"])
    s3.put_object_acl(Bucket=BUCKET, Key="acl", ACL="bucket-owner-full-control")
    s3.put_bucket_acl(Bucket=BUCKET, ACL="private")
    assert refused(s3.put_object_acl, Key="acl", ACL="public-read") == ("AccessControlListNotSupported", 400)
    assert refused(s3.put_bucket_acl, ACL="public-read") == ("AccessControlListNotSupported", 400)
    assert body_of(s3, "acl") == b"bytes"


def test_only_the_owner_may(s3: Any, endpoint: str) -> None:
    s3.put_object(Bucket=BUCKET, Key="mine", Body=b"x")
    other = client(endpoint, OTHER_ACCOUNT)
    assert refused(other.list_objects_v2) == ("AccessDenied", 403)
    assert refused(other.put_object, Key="k", Body=b"x") == ("AccessDenied", 403)
    assert refused(other.get_object, Key="mine") == ("AccessDenied", 403)
    assert refused(other.delete_object, Key="mine") == ("AccessDenied", 403)
    assert refused(other.copy_object, Key="k", CopySource=f"{BUCKET}/mine") == ("AccessDenied", 403)
    assert refused(other.create_bucket) == ("BucketAlreadyExists", 409)
    assert other.list_buckets()["Buckets"] == []
    response, answer = raw(endpoint, "GET", f"/{BUCKET}/mine")
    assert (response.status, b"<Code>AccessDenied</Code>" in answer) == (403, True)
