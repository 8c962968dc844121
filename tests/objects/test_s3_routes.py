"""Which operation a request is: every operation of the model, and every sub-resource that is not there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import botocore.session
import pytest

from batchyard.model.fault import Fault
from batchyard.services.s3 import NOT_YET, OPERATIONS
from batchyard.services.s3.operations import ALIASES
from batchyard.services.s3.route import SERVED, match
from batchyard.wire.http import HttpRequest

MODEL = botocore.session.get_session().get_service_model("s3")
PARAMETERS = {"UploadPart": "partNumber=1&uploadId=u", "UploadPartCopy": "partNumber=1&uploadId=u"} | dict.fromkeys(
    ("CompleteMultipartUpload", "AbortMultipartUpload", "ListParts"), "uploadId=u"
)
# more than one operation has this method and path; the sub-resource is refused whichever is meant
SUBRESOURCES = sorted(
    {
        flag.partition("=")[0]
        for name in MODEL.operation_names
        for flag in MODEL.operation_model(name).http["requestUri"].partition("?")[2].split("&")
        if flag
    }
)


async def nothing() -> AsyncIterator[bytes]:
    yield b""


def request(method: str, path: str, query: str = "", **headers: str) -> HttpRequest:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return HttpRequest(method, path, query, {"host": "127.0.0.1:8000"} | named, nothing())


def operation(method: str, path: str, query: str = "", **headers: str) -> str:
    return match(request(method, path, query, **headers)).operation


def test_every_operation_of_the_model_is_served_or_has_a_reason() -> None:
    assert set(OPERATIONS) | set(NOT_YET) == set(MODEL.operation_names)
    assert not set(OPERATIONS) & set(NOT_YET)
    assert set(OPERATIONS) - ALIASES == SERVED


@pytest.mark.parametrize("name", sorted(MODEL.operation_names))
def test_a_request_is_the_operation_that_boto_means(name: str) -> None:
    """As botocore would send it: the served ones are found, the others refused with 501, and none is mistaken for another."""
    http = MODEL.operation_model(name).http
    path, _, query = http["requestUri"].replace("{Bucket}", "bkt").replace("{Key+}", "a/key").partition("?")
    if name in PARAMETERS:
        query = PARAMETERS[name]
    headers = {"x_amz_copy_source": "bkt/other"} if name in ("CopyObject", "UploadPartCopy") else {}
    if name == "ListDirectoryBuckets":
        return  # the same request as ListBuckets, to another host
    if name in NOT_YET:
        with pytest.raises(Fault) as caught:
            match(request(http["method"], path, query, **headers))
        assert caught.value.code == "NotImplemented"
    elif name not in ALIASES:
        assert operation(http["method"], path, query, **headers) == name


@pytest.mark.parametrize("method", ["GET", "PUT", "POST", "DELETE", "HEAD"])
@pytest.mark.parametrize("path", ["/bkt", "/bkt/key"])
@pytest.mark.parametrize("name", [*SUBRESOURCES, "unheardOf", "acl2", "versionID", "uploads%20"])
def test_a_subresource_is_never_taken_for_the_thing_itself(method: str, path: str, name: str) -> None:
    plain = {"GetObject", "PutObject", "DeleteObject", "HeadObject", "ListObjects", "CreateBucket", "DeleteBucket", "HeadBucket"}
    for query in (name, f"{name}=", f"{name}=1", f"x-id=PutObject&{name}"):
        try:
            found = operation(method, path, query)
        except Fault as fault:
            assert fault.code in ("NotImplemented", "InvalidArgument")
        else:
            assert found not in plain


def test_a_copy_header_never_makes_a_put_of_nothing() -> None:
    assert operation("PUT", "/bkt/key", x_amz_copy_source="a/b") == "CopyObject"
    assert operation("PUT", "/bkt/key", "partNumber=1&uploadId=u", x_amz_copy_source="a/b") == "UploadPartCopy"


@pytest.mark.parametrize(
    ("method", "path", "query", "expected"),
    [
        ("GET", "/", "", "ListBuckets"),
        ("GET", "/?x-id=ListBuckets", "x-id=ListBuckets", "ListBuckets"),
        ("GET", "/bkt/", "", "ListObjects"),
        ("GET", "/bkt", "list-type=2&prefix=a%2Fb", "ListObjectsV2"),
        ("GET", "/bkt/key", "x-id=GetObject", "GetObject"),
        ("GET", "/bkt/key", "X-Amz-Algorithm=A&X-Amz-Signature=b&response-content-type=x", "GetObject"),
        ("GET", "/bkt/key", "AWSAccessKeyId=a&Signature=b&Expires=1", "GetObject"),
        ("PUT", "/bkt/key", "x-id=PutObject", "PutObject"),
        ("PUT", "/bkt/key", "X-Custom=1", "PutObject"),
    ],
)
def test_harmless_query_keys(method: str, path: str, query: str, expected: str) -> None:
    assert operation(method, path, query) == expected


@pytest.mark.parametrize(
    ("method", "path", "query", "code"),
    [
        ("PATCH", "/bkt/key", "", "MethodNotAllowed"),
        ("OPTIONS", "/bkt", "", "MethodNotAllowed"),
        ("PUT", "/", "", "MethodNotAllowed"),
        ("POST", "/bkt", "", "NotImplemented"),
        ("POST", "/bkt/key", "", "NotImplemented"),
        ("PUT", "/bkt/key", "uploadId=u", "NotImplemented"),
        ("PUT", "/bkt/key", "partNumber=1", "NotImplemented"),
        ("GET", "/bkt", "list-type=3", "InvalidArgument"),
        ("GET", "/bkt/key", "list-type=2", "NotImplemented"),
        ("GET", "/bkt/%FF", "", "InvalidURI"),
        ("GET", "/bkt", "prefix=%FF", "InvalidURI"),
        ("PUT", "/bkt/key", "versionId=null", "NotImplemented"),
    ],
)
def test_requests_that_are_none(method: str, path: str, query: str, code: str) -> None:
    with pytest.raises(Fault) as caught:
        operation(method, path, query)
    assert caught.value.code == code


@pytest.mark.parametrize(
    ("host", "bucket", "key"),
    [
        ("127.0.0.1:8000", "a", "b/c"),
        ("localhost:8000", "a", "b/c"),
        ("[::1]:8000", "a", "b/c"),
        ("s3.localhost:8000", "a", "b/c"),
        ("s3.us-east-1.amazonaws.com", "a", "b/c"),
        ("s3-us-west-2.amazonaws.com", "a", "b/c"),
        ("batch.example.org", "a", "b/c"),
        ("", "a", "b/c"),
        ("bkt.localhost:8000", "bkt", "a/b/c"),
        ("my.bkt.localhost", "my.bkt", "a/b/c"),
        ("bkt.s3.localhost:8000", "bkt", "a/b/c"),
        ("bkt.s3.eu-west-1.amazonaws.com", "bkt", "a/b/c"),
        ("my.bkt.s3.amazonaws.com", "my.bkt", "a/b/c"),
        ("bkt.s3-eu-west-1.amazonaws.com", "bkt", "a/b/c"),
    ],
)
def test_the_bucket_is_in_the_host_or_in_the_path(host: str, bucket: str, key: str) -> None:
    target = match(request("GET", "/a/b/c", host=host))
    assert (target.bucket, target.key) == (bucket, key)


def test_keys_are_taken_as_they_are() -> None:
    def key(path: str) -> Any:
        return match(request("GET", path)).key

    assert key("/bkt//lead") == "/lead"
    assert key("/bkt/a%2Fb%20c+d%C3%A9") == "a/b c+dé"
    assert key("/bkt/a/../b/./c//d/") == "a/../b/./c//d/"
