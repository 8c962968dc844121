"""Multipart uploads through boto3."""

from __future__ import annotations

import base64
import hashlib
import http.client
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from batchyard.store.objects import ObjectStore

BUCKET = "parts-bucket"
FIVE_MIB = 5 * 1024 * 1024
FIRST, SECOND, LAST = b"1" * FIVE_MIB, b"2" * (FIVE_MIB + 3), b"tail"


@pytest.fixture(scope="module", autouse=True)
def bucket(s3: Any) -> str:
    s3.create_bucket(Bucket=BUCKET)
    return BUCKET


def refused(call: Callable[..., Any], **kwargs: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as caught:
        call(**kwargs)
    answer = caught.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


def b64(content: bytes) -> str:
    return base64.b64encode(content).decode()


def crc32(content: bytes) -> str:
    return b64(zlib.crc32(content).to_bytes(4, "big"))


def begin(s3: Any, key: str, **kwargs: Any) -> dict[str, str]:
    """What names the upload: Bucket, Key and UploadId."""
    answer = s3.create_multipart_upload(Bucket=BUCKET, Key=key, **kwargs)
    return {"Bucket": BUCKET, "Key": key, "UploadId": answer["UploadId"]}


def upload(s3: Any, where: dict[str, str], contents: dict[int, bytes], **kwargs: Any) -> list[dict[str, Any]]:
    """The parts as CompleteMultipartUpload wants them, with whatever checksums the answers hold."""
    parts = []
    for number, content in contents.items():
        answer = s3.upload_part(**where, PartNumber=number, Body=content, **kwargs)
        sums = {name: value for name, value in answer.items() if name.startswith("Checksum") and name != "ChecksumType"}
        parts.append({"PartNumber": number, "ETag": answer["ETag"], **sums})
    return parts


def complete(s3: Any, where: dict[str, str], parts: list[dict[str, Any]], **kwargs: Any) -> Any:
    return s3.complete_multipart_upload(**where, MultipartUpload={"Parts": parts}, **kwargs)


def test_three_parts_become_an_object(s3: Any) -> None:
    where = begin(s3, "whole é", ContentType="x/y", Metadata={"a": "1"}, Tagging="t=1", StorageClass="STANDARD_IA")
    parts = upload(s3, where, {2: FIRST, 5: SECOND, 9: LAST})
    answer = complete(s3, where, parts)
    digests = b"".join(hashlib.md5(content).digest() for content in (FIRST, SECOND, LAST))
    etag = f'"{hashlib.md5(digests).hexdigest()}-3"'
    assert answer["ETag"] == etag
    assert (answer["Bucket"], answer["Key"]) == (BUCKET, "whole é")
    assert answer["Location"].endswith(f"/{BUCKET}/whole%20%C3%A9")
    found = s3.get_object(Bucket=BUCKET, Key="whole é")
    assert found["Body"].read() == FIRST + SECOND + LAST
    assert (found["ETag"], found["ContentType"], found["Metadata"]) == (etag, "x/y", {"a": "1"})
    assert (found["StorageClass"], found["TagCount"]) == ("STANDARD_IA", 1)
    across = f"bytes={FIVE_MIB - 2}-{FIVE_MIB + 1}"
    assert s3.get_object(Bucket=BUCKET, Key="whole é", Range=across)["Body"].read() == b"1122"
    assert refused(s3.list_parts, **where) == ("NoSuchUpload", 404)
    # the answer may have been lost: asked again, it is the same
    assert complete(s3, where, parts)["ETag"] == etag


def test_one_part_of_an_object(s3: Any) -> None:
    where = begin(s3, "by part", ChecksumAlgorithm="CRC32")
    complete(s3, where, upload(s3, where, {1: FIRST, 2: LAST}, ChecksumAlgorithm="CRC32"))
    answer = s3.get_object(Bucket=BUCKET, Key="by part", PartNumber=2, ChecksumMode="ENABLED")
    assert answer["Body"].read() == LAST
    assert answer["ContentRange"] == f"bytes {FIVE_MIB}-{FIVE_MIB + 3}/{FIVE_MIB + 4}"
    assert (answer["PartsCount"], answer["ChecksumCRC32"]) == (2, crc32(LAST))
    head = s3.head_object(Bucket=BUCKET, Key="by part", PartNumber=1)
    assert (head["ContentLength"], head["PartsCount"]) == (FIVE_MIB, 2)
    assert refused(s3.get_object, Bucket=BUCKET, Key="by part", PartNumber=3) == ("InvalidPartNumber", 416)
    assert refused(s3.get_object, Bucket=BUCKET, Key="by part", PartNumber=1, Range="bytes=0-1") == ("InvalidRequest", 400)
    s3.put_object(Bucket=BUCKET, Key="at once", Body=b"x")
    assert s3.get_object(Bucket=BUCKET, Key="at once", PartNumber=1)["Body"].read() == b"x"


@pytest.mark.parametrize("algorithm", ["CRC32", "SHA1", "SHA256"])
def test_a_composite_checksum(s3: Any, algorithm: str) -> None:
    def digest(content: bytes) -> bytes:
        if algorithm == "CRC32":
            return zlib.crc32(content).to_bytes(4, "big")
        return hashlib.new(algorithm.lower(), content).digest()

    where = begin(s3, f"composite {algorithm}", ChecksumAlgorithm=algorithm)
    parts = upload(s3, where, {1: FIRST, 2: LAST}, ChecksumAlgorithm=algorithm)
    assert parts[1][f"Checksum{algorithm}"] == b64(digest(LAST))
    answer = complete(s3, where, parts)
    expected = b64(digest(digest(FIRST) + digest(LAST))) + "-2"
    assert (answer[f"Checksum{algorithm}"], answer["ChecksumType"]) == (expected, "COMPOSITE")
    head = s3.head_object(Bucket=BUCKET, Key=where["Key"], ChecksumMode="ENABLED")
    assert (head[f"Checksum{algorithm}"], head["ChecksumType"]) == (expected, "COMPOSITE")
    attributes = s3.get_object_attributes(Bucket=BUCKET, Key=where["Key"], ObjectAttributes=["Checksum", "ObjectParts", "ETag"], MaxParts=1)
    assert attributes["Checksum"][f"Checksum{algorithm}"] == expected
    listed = attributes["ObjectParts"]
    assert (listed["TotalPartsCount"], listed["IsTruncated"], listed["NextPartNumberMarker"]) == (2, True, 1)
    assert listed["Parts"] == [{"PartNumber": 1, "Size": FIVE_MIB, f"Checksum{algorithm}": b64(digest(FIRST))}]


def test_the_checksum_of_all_bytes_from_those_of_the_parts(s3: Any) -> None:
    where = begin(s3, "full", ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")
    parts = upload(s3, where, {1: FIRST, 2: SECOND, 3: LAST}, ChecksumAlgorithm="CRC32")
    expected = crc32(FIRST + SECOND + LAST)
    assert refused(complete, s3=s3, where=where, parts=parts, ChecksumCRC32=crc32(b"other")) == ("BadDigest", 400)
    answer = complete(s3, where, parts, ChecksumCRC32=expected, ChecksumType="FULL_OBJECT")
    assert (answer["ChecksumCRC32"], answer["ChecksumType"]) == (expected, "FULL_OBJECT")


def test_a_part_without_the_checksum_of_its_upload_gets_one(s3: Any, open_endpoint: str) -> None:
    where = begin(s3, "computed", ChecksumAlgorithm="SHA256")
    connection = http.client.HTTPConnection(open_endpoint.removeprefix("http://"), timeout=60)
    connection.request("PUT", f"/{BUCKET}/computed?partNumber=1&uploadId={where['UploadId']}", body=b"only part")
    response = connection.getresponse()
    response.read()
    value = b64(hashlib.sha256(b"only part").digest())
    assert response.headers["x-amz-checksum-sha256"] == value
    connection.close()
    part = {"PartNumber": 1, "ETag": response.headers["etag"], "ChecksumSHA256": value}
    wrong = part | {"ChecksumSHA256": b64(hashlib.sha256(b"").digest())}
    assert refused(complete, s3=s3, where=where, parts=[wrong]) == ("InvalidPart", 400)
    assert complete(s3, where, [part])["ChecksumSHA256"].endswith("-1")


def test_checksums_that_do_not_go_together(s3: Any) -> None:
    make = s3.create_multipart_upload
    where = {"Bucket": BUCKET, "Key": "mixed"}
    assert refused(make, **where, ChecksumAlgorithm="SHA256", ChecksumType="FULL_OBJECT") == ("InvalidRequest", 400)
    assert refused(make, **where, ChecksumAlgorithm="CRC64NVME", ChecksumType="COMPOSITE") == ("InvalidRequest", 400)
    assert refused(make, **where, ChecksumAlgorithm="XXHASH64") == ("NotImplemented", 501)
    begun = begin(s3, "mixed", ChecksumAlgorithm="CRC32")
    part = {"PartNumber": 1, "Body": b"x", "ChecksumAlgorithm": "SHA256"}
    assert refused(s3.upload_part, **begun, **part) == ("InvalidRequest", 400)
    parts = upload(s3, begun, {1: b"x"}, ChecksumAlgorithm="CRC32")
    assert refused(complete, s3=s3, where=begun, parts=parts, ChecksumType="FULL_OBJECT") == ("InvalidRequest", 400)
    assert refused(complete, s3=s3, where=begun, parts=parts, MpuObjectSize=2) == ("InvalidRequest", 400)
    complete(s3, begun, parts, MpuObjectSize=1)


def test_lists_of_parts_that_cannot_be_completed(s3: Any) -> None:
    where = begin(s3, "broken")
    parts = upload(s3, where, {1: b"small", 2: FIRST, 3: LAST})
    small, full, last = parts
    assert refused(complete, s3=s3, where=where, parts=parts) == ("EntityTooSmall", 400)
    assert refused(complete, s3=s3, where=where, parts=[last, full]) == ("InvalidPartOrder", 400)
    assert refused(complete, s3=s3, where=where, parts=[full, full]) == ("InvalidPartOrder", 400)
    assert refused(complete, s3=s3, where=where, parts=[small | {"ETag": '"0"'}]) == ("InvalidPart", 400)
    assert refused(complete, s3=s3, where=where, parts=[{"PartNumber": 7, "ETag": '"0"'}]) == ("InvalidPart", 400)
    assert refused(complete, s3=s3, where=where, parts=[])[1] == 400
    assert refused(s3.head_object, Bucket=BUCKET, Key="broken")[1] == 404
    complete(s3, where, [full, last])
    assert s3.get_object(Bucket=BUCKET, Key="broken")["Body"].read() == FIRST + LAST


def test_a_part_can_be_sent_again(s3: Any) -> None:
    where = begin(s3, "again")
    [stale] = upload(s3, where, {1: b"stale"})
    [fresh] = upload(s3, where, {1: b"fresh"})
    assert refused(complete, s3=s3, where=where, parts=[stale]) == ("InvalidPart", 400)
    complete(s3, where, [fresh])
    assert s3.get_object(Bucket=BUCKET, Key="again")["Body"].read() == b"fresh"


def test_part_numbers_and_uploads_that_are_none(s3: Any) -> None:
    where = begin(s3, "limits")
    for number in (0, 10_001):
        assert refused(s3.upload_part, **where, PartNumber=number, Body=b"") == ("InvalidArgument", 400)
    unknown = where | {"UploadId": "nothing"}
    assert refused(s3.upload_part, **unknown, PartNumber=1, Body=b"x") == ("NoSuchUpload", 404)
    assert refused(complete, s3=s3, where=unknown, parts=[{"PartNumber": 1, "ETag": "x"}]) == ("NoSuchUpload", 404)
    assert refused(s3.abort_multipart_upload, **unknown) == ("NoSuchUpload", 404)
    assert refused(s3.list_parts, **(where | {"Key": "other"})) == ("NoSuchUpload", 404)
    assert refused(s3.create_multipart_upload, Bucket="no-such-bucket", Key="k") == ("NoSuchBucket", 404)


def test_abort_forgets_the_parts(s3: Any) -> None:
    where = begin(s3, "aborted")
    parts = upload(s3, where, {1: b"x"})
    s3.abort_multipart_upload(**where)
    assert refused(complete, s3=s3, where=where, parts=parts) == ("NoSuchUpload", 404)
    assert refused(s3.abort_multipart_upload, **where) == ("NoSuchUpload", 404)


def test_completing_on_a_condition(s3: Any) -> None:
    first, second = begin(s3, "claimed"), begin(s3, "claimed")
    parts = upload(s3, first, {1: b"first"})
    others = upload(s3, second, {1: b"second"})
    complete(s3, first, parts, IfNoneMatch="*")
    assert refused(complete, s3=s3, where=second, parts=others, IfNoneMatch="*") == ("PreconditionFailed", 412)
    etag = s3.head_object(Bucket=BUCKET, Key="claimed")["ETag"]
    complete(s3, second, others, IfMatch=etag)
    assert s3.get_object(Bucket=BUCKET, Key="claimed")["Body"].read() == b"second"


def test_parts_are_listed(s3: Any) -> None:
    where = begin(s3, "listed", ChecksumAlgorithm="SHA1")
    upload(s3, where, {number: b"x" * number for number in (3, 1, 7)}, ChecksumAlgorithm="SHA1")
    page = s3.list_parts(**where, MaxParts=2)
    assert [(part["PartNumber"], part["Size"]) for part in page["Parts"]] == [(1, 1), (3, 3)]
    assert (page["IsTruncated"], page["NextPartNumberMarker"], page["ChecksumAlgorithm"]) == (True, 3, "SHA1")
    assert page["Parts"][0]["ChecksumSHA1"] == b64(hashlib.sha1(b"x").digest())
    page = s3.list_parts(**where, PartNumberMarker=3)
    assert ([part["PartNumber"] for part in page["Parts"]], page["IsTruncated"]) == ([7], False)
    pages = s3.get_paginator("list_parts").paginate(**where, PaginationConfig={"PageSize": 1})
    assert [part["PartNumber"] for page in pages for part in page["Parts"]] == [1, 3, 7]


def test_uploads_are_listed(s3: Any) -> None:
    keys = ["up/a", "up/a", "up/b/1", "up/b/2", "up/c é"]
    ids = [begin(s3, key)["UploadId"] for key in keys]
    page = s3.list_multipart_uploads(Bucket=BUCKET, Prefix="up/")
    assert [(entry["Key"], entry["UploadId"]) for entry in page["Uploads"]] == list(zip(keys, ids, strict=True))
    page = s3.list_multipart_uploads(Bucket=BUCKET, Prefix="up/", Delimiter="/")
    assert [entry["Key"] for entry in page["Uploads"]] == ["up/a", "up/a", "up/c é"]
    assert page["CommonPrefixes"] == [{"Prefix": "up/b/"}]
    paginator = s3.get_paginator("list_multipart_uploads")
    pages = paginator.paginate(Bucket=BUCKET, Prefix="up/", PaginationConfig={"PageSize": 1})
    assert [entry["UploadId"] for page in pages for entry in page["Uploads"]] == ids


def test_copies_as_parts(s3: Any) -> None:
    s3.put_object(Bucket=BUCKET, Key="source +é", Body=FIRST + LAST)
    source = {"Bucket": BUCKET, "Key": "source +é"}
    where = begin(s3, "from copies", ChecksumAlgorithm="CRC32")
    parts = []
    for number, span in ((1, None), (2, f"bytes={FIVE_MIB}-{FIVE_MIB + 3}")):
        extra = {"CopySourceRange": span} if span else {}
        result = s3.upload_part_copy(**where, PartNumber=number, CopySource=source, **extra)["CopyPartResult"]
        parts.append({"PartNumber": number, "ETag": result["ETag"], "ChecksumCRC32": result["ChecksumCRC32"]})
    assert parts[1]["ETag"] == f'"{hashlib.md5(LAST).hexdigest()}"'
    complete(s3, where, parts)
    assert s3.get_object(Bucket=BUCKET, Key="from copies")["Body"].read() == FIRST + LAST + LAST
    again = begin(s3, "from copies 2")
    copy = {**again, "PartNumber": 1, "CopySource": source}
    for span in ("bytes=0-", "bytes=5-2", f"bytes=0-{FIVE_MIB + 4}", "all"):
        assert refused(s3.upload_part_copy, **copy, CopySourceRange=span) == ("InvalidArgument", 400)
    assert refused(s3.upload_part_copy, **copy, CopySourceIfMatch='"x"') == ("PreconditionFailed", 412)
    assert refused(s3.upload_part_copy, **(copy | {"CopySource": f"{BUCKET}/none"})) == ("NoSuchKey", 404)


def test_a_copy_of_a_multipart_object_has_its_bytes(s3: Any) -> None:
    where = begin(s3, "multi")
    etag = complete(s3, where, upload(s3, where, {1: FIRST, 2: LAST}))["ETag"]
    source = {"Bucket": BUCKET, "Key": "multi"}
    answer = s3.copy_object(Bucket=BUCKET, Key="copied", CopySource=source, ChecksumAlgorithm="SHA256")
    assert answer["CopyObjectResult"]["ETag"] == etag
    assert answer["CopyObjectResult"]["ChecksumSHA256"] == b64(hashlib.sha256(FIRST + LAST).digest())
    s3.delete_object(Bucket=BUCKET, Key="multi")
    assert s3.get_object(Bucket=BUCKET, Key="copied")["Body"].read() == FIRST + LAST


def test_a_bucket_with_an_upload_in_progress_can_go(s3: Any, shared_store: ObjectStore, tmp_path: Path) -> None:
    s3.create_bucket(Bucket="short-lived")
    upload_id = s3.create_multipart_upload(Bucket="short-lived", Key="k")["UploadId"]
    s3.delete_bucket(Bucket="short-lived")
    s3.create_bucket(Bucket="short-lived")
    assert refused(s3.list_parts, Bucket="short-lived", Key="k", UploadId=upload_id) == ("NoSuchUpload", 404)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket="short-lived")
