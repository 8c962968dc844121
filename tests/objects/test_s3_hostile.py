"""Requests that no client would make: each is refused with a 4xx or 501, or taken as something harmless; none is our failure."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from s3_serving import ACCOUNT, open_store

from batchyard.model.fault import Fault
from batchyard.services import Caller
from batchyard.services.s3 import handle
from batchyard.services.s3.route import SERVED
from batchyard.store.objects import ObjectStore
from batchyard.wire import errors, shapes
from batchyard.wire.http import HttpRequest, HttpResponse

CALLER = Caller(ACCOUNT, "us-east-1", "AKIA", f"arn:aws:iam::{ACCOUNT}:root", ACCOUNT, "r")
MODEL = shapes.load("s3").model
HEADERS = [
    "range",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "content-type",
    "content-encoding",
    "expires",
    "x-amz-tagging",
    "x-amz-copy-source",
    "x-amz-copy-source-range",
    "x-amz-copy-source-if-modified-since",
    "x-amz-metadata-directive",
    "x-amz-tagging-directive",
    "x-amz-storage-class",
    "x-amz-acl",
    "x-amz-checksum-algorithm",
    "x-amz-checksum-type",
    "x-amz-checksum-mode",
    "x-amz-object-attributes",
    "x-amz-max-parts",
    "x-amz-part-number-marker",
    "x-amz-mp-object-size",
    "x-amz-expected-bucket-owner",
    "x-amz-meta-é",
    "host",
]
QUERIES = [
    *("versionId", "partNumber", "uploadId", "uploads", "list-type", "prefix", "delimiter", "marker", "max-keys", "encoding-type"),
    *("continuation-token", "start-after", "fetch-owner", "versions", "delete", "tagging", "acl", "attributes", "policy"),
    *("lifecycle", "encryption", "versioning", "location", "max-parts", "max-uploads", "response-expires", "x-id", ""),
]
VALUES = [
    *("bytes=0-", "bytes=-" + "9" * 5000, "bytes=" + "9" * 5000 + "-", "*", '"', "\xff\xfe", "9" * 5000, "-1", "0", "1", "2", "é"),
    *("Mon, 99 Foo 2026 99:99:99 GMT", "Sat, 01 Jan 99999999 00:00:00 GMT", "bucket/key", "bucket/", "/", "?versionId=x"),
    *("REPLACE", "CRC32", "FULL_OBJECT", "ENABLED", "a=1&a=2", "=&=", "%00", "%FF", "%", "url", "ETag,Checksum", "bkt.localhost"),
]
BODIES = [
    *(b"", b"x", b"<", b"<a/>", b"\xff\xfe", b"<Delete/>", b"<Delete><Object/></Delete>", b"<Delete><Object><Key></Key></Object></Delete>"),
    b"<CompleteMultipartUpload><Part/><Part><PartNumber>x</PartNumber></Part></CompleteMultipartUpload>",
    b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><PartNumber>2</PartNumber></Part></CompleteMultipartUpload>",
    b"<Tagging><TagSet><Tag><Key>a</Key></Tag></TagSet></Tagging>",
    *(b"<Tagging/>", b"<LifecycleConfiguration><Rule/></LifecycleConfiguration>", b"[" * 100_000, b'{"Statement": 5}'),
    b"<VersioningConfiguration><Status>\x00</Status></VersioningConfiguration>",
    b'<!DOCTYPE a [<!ENTITY b "c">]><Delete>&b;</Delete>',
]
texts = st.one_of(st.sampled_from(VALUES), st.text(st.characters(max_codepoint=255), max_size=20))
raw_queries = st.lists(st.tuples(st.sampled_from(QUERIES), texts), max_size=4).map(
    lambda pairs: "&".join(f"{name}={value}" for name, value in pairs)
)
paths = st.one_of(
    st.sampled_from(["/", "/bucket", "/bucket/key", "/bucket/", "//", "/bucket//", "/none/key", "/bucket/%00", "/%2F/%2F"]),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=12).map(lambda text: "/" + text.replace("?", "")),
)


@pytest.fixture(scope="module")
def hostage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    store = open_store(Path(tmp_path_factory.mktemp("hostile")))
    yield store
    store.close()


async def chunks(body: bytes) -> AsyncIterator[bytes]:
    yield body


async def ask(store: ObjectStore, method: str, path: str, query: str, headers: dict[str, str], body: bytes) -> HttpResponse:
    """The response, or the one that the door makes of a fault."""
    try:
        response = await handle(SimpleNamespace(objects=store), CALLER, HttpRequest(method, path, query, headers, chunks(body)))
        if not isinstance(response.body, bytes):
            response.body = b"".join([chunk async for chunk in response.body])
    except Fault as fault:
        return errors.encode_fault("s3", MODEL, "rest-xml", fault, "r")
    return response


async def visit(store: ObjectStore, method: str, path: str, query: str, headers: dict[str, str], body: bytes) -> int:
    for setup in ("/bucket", "/bucket/key"):
        await ask(store, "PUT", setup, "", {}, b"" if setup == "/bucket" else b"0123456789")
    return (await ask(store, method, path, query, headers, body)).status


@settings(max_examples=400, deadline=None)
@given(
    st.sampled_from(["GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "TRACE"]),
    paths,
    raw_queries,
    st.dictionaries(st.sampled_from(HEADERS), texts, max_size=4),
    st.sampled_from(BODIES),
)
@example("GET", "/bucket/key", "", {"range": "bytes=" + "9" * 5000 + "-"}, b"")
@example("GET", "/bucket/key", "", {"if-modified-since": "Sat, 01 Jan 99999999 00:00:00 GMT"}, b"")
@example("GET", "/bucket", "list-type=2&max-keys=" + "9" * 5000, {}, b"")
def test_no_request_is_our_failure(hostage: ObjectStore, method: str, path: str, query: str, headers: dict[str, str], body: bytes) -> None:
    status = asyncio.run(visit(hostage, method, path, query, headers, body))
    assert status < 500 or status == 501


@pytest.mark.parametrize("key", ["%00", "a%01b", "%EF%BF%BE", "%F0%9F%A7%AC", "%ED%9F%BF", "a%0D%0Ab"])
def test_keys_that_xml_does_not_love(hostage: ObjectStore, key: str) -> None:
    async def scene() -> None:
        path = f"/bucket/{key}"
        await ask(hostage, "PUT", "/bucket", "", {}, b"")
        assert (await ask(hostage, "PUT", path, "", {}, key.encode())).status == 200
        assert (await ask(hostage, "GET", path, "", {}, b"")).body == key.encode()
        for query in ("", "list-type=2", "list-type=2&encoding-type=url", "versions&encoding-type=url", "delimiter=%00"):
            response = await ask(hostage, "GET", "/bucket", f"{query}&prefix={key}", {}, b"")
            assert response.status == 200
            assert isinstance(response.body, bytes)
            assert b"<Size>" in response.body or b"<CommonPrefixes>" in response.body
        assert key.encode() in (await ask(hostage, "GET", "/bucket", f"encoding-type=url&prefix={key}", {}, b"")).body  # type: ignore[operator]
        assert (await ask(hostage, "DELETE", path, "", {}, b"")).status == 204
        assert (await ask(hostage, "GET", path, "", {}, b"")).status == 404

    asyncio.run(scene())


def test_every_operation_can_be_asked_of_a_bucket_that_is_not_there(hostage: ObjectStore) -> None:
    """Whatever the operation: 404 and nothing made."""
    templates = {name: MODEL.operations[name].http for name in SERVED - {"ListBuckets", "CreateBucket"}}
    of_an_upload = dict.fromkeys(("ListParts", "AbortMultipartUpload", "CompleteMultipartUpload"), "uploadId=u")
    of_a_part = dict.fromkeys(("UploadPart", "UploadPartCopy"), "uploadId=u&partNumber=1")

    async def scene() -> None:
        for name, http in templates.items():
            path, _, query = http.request_uri.replace("{Bucket}", "absent").replace("{Key+}", "key").partition("?")
            query = (of_an_upload | of_a_part).get(name, query)
            headers = {"x-amz-copy-source": "absent/key"} if "Copy" in name else {}
            status = (await ask(hostage, http.method, path, query, headers, b"")).status
            assert status in (400, 404), name

    asyncio.run(scene())
    assert hostage.bucket("absent") is None
