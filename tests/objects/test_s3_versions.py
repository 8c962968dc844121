"""Versions of objects through boto3: every version by its id, delete markers, suspended versioning, and the lists."""

from __future__ import annotations

import itertools
import random
import sqlite3
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from s3_serving import ACCOUNT, KEYS, client, open_store

from batchyard.store import objects_keys as keys
from batchyard.store import objects_versions as versions
from batchyard.store.objects_records import Piece, Traits
from batchyard.store.objects_schema import STEPS

NUMBERS = itertools.count()


def refused(call: Callable[..., Any], **kwargs: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as caught:
        call(**kwargs)
    answer = caught.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


@pytest.fixture
def kept(s3: Any) -> str:
    """A new bucket that keeps versions."""
    name = f"versions-{next(NUMBERS)}"
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    return name


def put(s3: Any, bucket: str, key: str, body: bytes, **options: Any) -> str:
    return str(s3.put_object(Bucket=bucket, Key=key, Body=body, **options)["VersionId"])


def read(s3: Any, bucket: str, key: str, **options: Any) -> bytes:
    return s3.get_object(Bucket=bucket, Key=key, **options)["Body"].read()  # type: ignore[no-any-return]


def listed(s3: Any, bucket: str, **options: Any) -> list[tuple[str, str, bool, bool]]:
    """(key, version, is latest, is marker) in the order of the answer's two lists, merged by key and age."""
    page = s3.list_object_versions(Bucket=bucket, **options)
    rows = [(e["Key"], e["VersionId"], e["IsLatest"], False) for e in page.get("Versions", [])]
    return rows + [(e["Key"], e["VersionId"], e["IsLatest"], True) for e in page.get("DeleteMarkers", [])]


def test_every_version_can_be_read_until_it_is_deleted(s3: Any, kept: str) -> None:
    assert s3.get_bucket_versioning(Bucket=kept)["Status"] == "Enabled"
    first, second = put(s3, kept, "k", b"one", Metadata={"n": "1"}), put(s3, kept, "k", b"second")
    assert len(first) == len(second) == 32
    assert read(s3, kept, "k") == b"second"
    assert read(s3, kept, "k", VersionId=first) == b"one"
    assert read(s3, kept, "k", VersionId=second, Range="bytes=1-3") == b"eco"
    head = s3.head_object(Bucket=kept, Key="k", VersionId=first)
    assert (head["VersionId"], head["ContentLength"], head["Metadata"]) == (first, 3, {"n": "1"})
    assert s3.get_object(Bucket=kept, Key="k")["VersionId"] == second
    assert s3.get_object_attributes(Bucket=kept, Key="k", VersionId=first, ObjectAttributes=["ObjectSize"])["ObjectSize"] == 3
    assert listed(s3, kept) == [("k", second, True, False), ("k", first, False, False)]
    assert s3.delete_object(Bucket=kept, Key="k", VersionId=second)["VersionId"] == second
    assert read(s3, kept, "k") == b"one"
    assert refused(s3.get_object, Bucket=kept, Key="k", VersionId=second) == ("NoSuchVersion", 404)
    assert refused(s3.get_object, Bucket=kept, Key="k", VersionId="nonsense") == ("InvalidArgument", 400)
    s3.delete_object(Bucket=kept, Key="k", VersionId=second)  # gone is gone
    assert listed(s3, kept) == [("k", first, True, False)]


def test_a_delete_marker_hides_and_can_be_taken_away(s3: Any, kept: str) -> None:
    version = put(s3, kept, "k", b"bytes")
    answer = s3.delete_object(Bucket=kept, Key="k")
    marker = answer["VersionId"]
    assert answer["DeleteMarker"] is True
    with pytest.raises(ClientError) as caught:
        s3.get_object(Bucket=kept, Key="k")
    headers = caught.value.response["ResponseMetadata"]["HTTPHeaders"]
    assert caught.value.response["Error"]["Code"] == "NoSuchKey"
    assert (headers["x-amz-delete-marker"], headers["x-amz-version-id"]) == ("true", marker)
    with pytest.raises(ClientError) as caught:
        s3.head_object(Bucket=kept, Key="k", VersionId=marker)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 405
    assert caught.value.response["ResponseMetadata"]["HTTPHeaders"]["allow"] == "DELETE"
    assert "Contents" not in s3.list_objects_v2(Bucket=kept)
    assert read(s3, kept, "k", VersionId=version) == b"bytes"
    assert listed(s3, kept) == [("k", version, False, False), ("k", marker, True, True)]
    assert refused(s3.delete_bucket, Bucket=kept) == ("BucketNotEmpty", 409)
    answer = s3.delete_object(Bucket=kept, Key="k", VersionId=marker)
    assert (answer["DeleteMarker"], answer["VersionId"]) == (True, marker)
    assert read(s3, kept, "k") == b"bytes"
    # a key that never was gets a marker too, as on AWS
    assert s3.delete_object(Bucket=kept, Key="never")["DeleteMarker"] is True


def test_suspended_versioning_writes_the_null_version(s3: Any) -> None:
    bucket = "versions-suspended"
    s3.create_bucket(Bucket=bucket)
    assert "VersionId" not in s3.put_object(Bucket=bucket, Key="k", Body=b"before")
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    assert s3.get_object(Bucket=bucket, Key="k")["VersionId"] == "null"
    kept_id = put(s3, bucket, "k", b"kept")
    assert read(s3, bucket, "k", VersionId="null") == b"before"
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    assert put(s3, bucket, "k", b"null again") == "null"
    assert listed(s3, bucket) == [("k", "null", True, False), ("k", kept_id, False, False)]
    assert put(s3, bucket, "k", b"and again") == "null"
    assert listed(s3, bucket) == [("k", "null", True, False), ("k", kept_id, False, False)]
    answer = s3.delete_object(Bucket=bucket, Key="k")
    assert (answer["DeleteMarker"], answer["VersionId"]) == (True, "null")
    assert listed(s3, bucket) == [("k", kept_id, False, False), ("k", "null", True, True)]
    s3.delete_object(Bucket=bucket, Key="k", VersionId="null")
    assert read(s3, bucket, "k") == b"kept"


def test_copies_tags_and_uploads_name_their_versions(s3: Any, kept: str) -> None:
    first = put(s3, kept, "k", b"one", Tagging="age=old")
    second = put(s3, kept, "k", b"two")
    s3.put_object_tagging(Bucket=kept, Key="k", VersionId=first, Tagging={"TagSet": [{"Key": "age", "Value": "older"}]})
    answer = s3.get_object_tagging(Bucket=kept, Key="k", VersionId=first)
    assert (answer["TagSet"], answer["VersionId"]) == ([{"Key": "age", "Value": "older"}], first)
    assert s3.get_object_tagging(Bucket=kept, Key="k")["TagSet"] == []
    s3.delete_object_tagging(Bucket=kept, Key="k", VersionId=first)
    assert s3.get_object_tagging(Bucket=kept, Key="k", VersionId=first)["TagSet"] == []
    source = {"Bucket": kept, "Key": "k", "VersionId": first}
    copied = s3.copy_object(Bucket=kept, Key="k", CopySource=source)  # brings the old content back
    assert (copied["CopySourceVersionId"], read(s3, kept, "k")) == (first, b"one")
    assert copied["VersionId"] not in (first, second)
    where = {"Bucket": kept, "Key": "big"}
    upload = s3.create_multipart_upload(**where)["UploadId"]
    part = s3.upload_part_copy(**where, UploadId=upload, PartNumber=1, CopySource=source)
    assert part["CopySourceVersionId"] == first
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["CopyPartResult"]["ETag"]}]}
    older = put(s3, kept, "big", b"older than the upload's end")
    done = s3.complete_multipart_upload(**where, UploadId=upload, MultipartUpload=parts)
    again = s3.complete_multipart_upload(**where, UploadId=upload, MultipartUpload=parts)
    assert again["VersionId"] == done["VersionId"]
    assert listed(s3, kept, Prefix="big") == [("big", done["VersionId"], True, False), ("big", older, False, False)]
    marker = s3.delete_object(Bucket=kept, Key="k")["VersionId"]
    bad = {"Bucket": kept, "Key": "x", "CopySource": {**source, "VersionId": marker}}
    assert refused(s3.copy_object, **bad) == ("InvalidRequest", 400)


def test_conditions_hold_for_what_the_key_shows(s3: Any, kept: str) -> None:
    put(s3, kept, "k", b"one")
    assert refused(s3.put_object, Bucket=kept, Key="k", Body=b"x", IfNoneMatch="*") == ("PreconditionFailed", 412)
    s3.delete_object(Bucket=kept, Key="k")
    assert put(s3, kept, "k", b"new", IfNoneMatch="*")
    etag = s3.head_object(Bucket=kept, Key="k")["ETag"]
    first = listed(s3, kept)[1][1]
    assert refused(s3.get_object, Bucket=kept, Key="k", VersionId=first, IfMatch=etag) == ("PreconditionFailed", 412)
    assert refused(s3.head_object, Bucket=kept, Key="k", IfNoneMatch=etag)[1] == 304


def test_many_are_deleted_at_once(s3: Any, kept: str) -> None:
    version = put(s3, kept, "a", b"1")
    put(s3, kept, "b", b"1")
    answer = s3.delete_objects(
        Bucket=kept, Delete={"Objects": [{"Key": "a", "VersionId": version}, {"Key": "b"}, {"Key": "c", "VersionId": "bad id"}]}
    )
    by_key = {entry["Key"]: entry for entry in answer["Deleted"]}
    assert by_key["a"] == {"Key": "a", "VersionId": version}
    assert by_key["b"]["DeleteMarker"] is True
    marker = by_key["b"]["DeleteMarkerVersionId"]
    assert [error["Code"] for error in answer["Errors"]] == ["InvalidArgument"]
    [gone] = s3.delete_objects(Bucket=kept, Delete={"Objects": [{"Key": "b", "VersionId": marker}]})["Deleted"]
    assert gone == {"Key": "b", "VersionId": marker, "DeleteMarker": True, "DeleteMarkerVersionId": marker}
    assert read(s3, kept, "b") == b"1"


def test_versions_are_listed_a_page_at_a_time(s3: Any, kept: str) -> None:
    expected = []
    for key in ("a/1", "a/2", "b", "c"):
        ids = [put(s3, kept, key, str(n).encode()) for n in range(4)]
        expected += [(key, version) for version in reversed(ids)]
    for size in (1, 3, 5, 100):
        pages = s3.get_paginator("list_object_versions").paginate(Bucket=kept, PaginationConfig={"PageSize": size})
        assert [(e["Key"], e["VersionId"]) for page in pages for e in page.get("Versions", [])] == expected
    page = s3.list_object_versions(Bucket=kept, Delimiter="/")
    assert page["CommonPrefixes"] == [{"Prefix": "a/"}]
    assert [(e["Key"], e["VersionId"]) for e in page["Versions"]] == expected[8:]
    page = s3.list_object_versions(Bucket=kept, KeyMarker="a/2", VersionIdMarker=expected[5][1])
    assert [(e["Key"], e["VersionId"]) for e in page["Versions"]] == expected[6:]
    assert refused(s3.list_object_versions, Bucket=kept, VersionIdMarker=expected[5][1]) == ("InvalidArgument", 400)


def test_a_bucket_is_emptied_page_by_page(s3: Any, kept: str) -> None:
    """What every clean-up does: list a page, delete it, go on behind what is no longer there."""
    for number in range(30):
        put(s3, kept, f"k{number % 4}", b"x")
        if number % 5 == 0:
            s3.delete_object(Bucket=kept, Key=f"k{number % 4}")
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=kept, PaginationConfig={"PageSize": 7}):
        found = page.get("Versions", []) + page.get("DeleteMarkers", [])
        s3.delete_objects(Bucket=kept, Delete={"Objects": [{"Key": e["Key"], "VersionId": e["VersionId"]} for e in found]})
    s3.delete_bucket(Bucket=kept)


@pytest.mark.parametrize("seed", range(3))
def test_a_random_history_is_kept_like_a_plain_list(s3: Any, seed: int) -> None:
    """Against the simplest model: each key a list of versions, the newest last."""
    dice, bucket = random.Random(seed), f"versions-random-{seed}"
    s3.create_bucket(Bucket=bucket)
    history: dict[str, list[tuple[str, bytes | None]]] = {key: [] for key in ("a", "b")}
    status = ""
    for step in range(60):
        key = dice.choice(list(history))
        line = history[key]
        action = dice.random()
        if action < 0.1:
            status = dice.choice(("Enabled", "Suspended"))
            s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})
        elif action < 0.3 and line:
            version = dice.choice(line)
            s3.delete_object(Bucket=bucket, Key=key, VersionId=version[0])
            line.remove(version)
        else:
            content = f"{step}".encode() if action < 0.75 else None
            if content is None:
                answer = s3.delete_object(Bucket=bucket, Key=key)
            else:
                answer = s3.put_object(Bucket=bucket, Key=key, Body=content)
            version_id = answer.get("VersionId", "null")
            if version_id == "null":
                line[:] = [entry for entry in line if entry[0] != "null"]
            if content is not None or status:
                line.append((version_id, content))
        wanted = {(k, v, n == len(vs) - 1, c is None) for k, vs in history.items() for n, (v, c) in enumerate(vs)}
        assert set(listed(s3, bucket)) == wanted, (step, key)
        if line and line[-1][1] is not None:
            assert read(s3, bucket, key) == line[-1][1]
        else:
            assert refused(s3.get_object, Bucket=bucket, Key=key) == ("NoSuchKey", 404)


def test_a_presigned_version_and_the_command_line(s3: Any, kept: str, endpoint: str) -> None:
    first = put(s3, kept, "k", b"one")
    put(s3, kept, "k", b"two")
    url = s3.generate_presigned_url("get_object", Params={"Bucket": kept, "Key": "k", "VersionId": first})
    with urllib.request.urlopen(url, timeout=60) as answer:
        assert (answer.read(), answer.headers["x-amz-version-id"]) == (b"one", first)
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(url.replace(first, "A" * 32), timeout=60)
    assert caught.value.code == 403
    environment = {
        "AWS_ACCESS_KEY_ID": KEYS[ACCOUNT].access_key_id,
        "AWS_SECRET_ACCESS_KEY": KEYS[ACCOUNT].secret_access_key,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": endpoint,
        "PATH": str(Path(__import__("sys").executable).parent) + ":/usr/bin:/bin",
    }
    command = [
        "aws",
        "s3api",
        "list-object-versions",
        "--bucket",
        kept,
        "--query",
        "Versions[?IsLatest==`false`].VersionId",
        "--output",
        "text",
    ]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.strip() == first


def test_an_index_from_before_versions_opens(tmp_path: Path) -> None:
    store = open_store(tmp_path)
    store.close()
    path = tmp_path / "objects" / "index.sqlite"
    for name in ("index.sqlite", "index.sqlite-wal", "index.sqlite-shm"):
        path.with_name(name).unlink(missing_ok=True)
    with sqlite3.connect(path) as old:
        old.executescript(STEPS[0])
        old.execute("PRAGMA user_version = 1")
        old.execute("INSERT INTO bucket VALUES (1, 'bucket', '1', 'us-east-1', 5)")
        old.execute("INSERT INTO bucket_setting VALUES (1, 'versioning', 'Suspended')")
        old.execute("INSERT INTO object VALUES (7, 1, 'k', 0, 'etag', 9, ?)", (b"{}",))
    old.close()
    store = open_store(tmp_path)
    bucket = store.bucket("bucket")
    assert bucket is not None
    assert bucket.versioning == "Suspended"
    store.change(lambda index: keys.put_versioning(index, bucket.id, "Enabled")).result()
    bucket = store.bucket("bucket")
    assert bucket is not None
    store.change(
        lambda index: versions.put_object(index, store.next_manifest(), bucket, "k", "e2", Traits(), [Piece(1, 0, 0, "e", 1, {})], 10)
    ).result()
    old_one = store.ask(lambda index: versions.find_version(index, bucket, "k", ""))
    assert old_one is not None
    assert (old_one.etag, old_one.superseded_at_ms) == ("etag", 10)
    store.close()


def test_versions_of_another_server_are_its_own(s3: Any, kept: str, endpoint: str) -> None:
    """A version that somebody else may not see is as closed as the object."""
    first = put(s3, kept, "k", b"one")
    other = client(endpoint, account="210987654321")
    assert refused(other.get_object, Bucket=kept, Key="k", VersionId=first) == ("AccessDenied", 403)
    assert refused(other.list_object_versions, Bucket=kept) == ("AccessDenied", 403)
