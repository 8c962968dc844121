"""One S3 request as the operations see it: who asks for what, the store to ask, and the ways to read and to answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from email.utils import formatdate
from functools import partial
from typing import Any, TypeVar

import apsw

from batchyard.model.fault import Fault
from batchyard.services import Caller
from batchyard.services.s3.access import Wish, is_allowed, request_values
from batchyard.services.s3.access_lines import Notes
from batchyard.services.s3.actions import action_of
from batchyard.services.s3.owners import canonical_id
from batchyard.store import objects_keys as keys
from batchyard.store.objects import ObjectStore
from batchyard.store.objects_records import Bucket
from batchyard.wire import restxml, shapes
from batchyard.wire.http import HttpRequest, HttpResponse

Answer = TypeVar("Answer")

# the largest document of S3: CompleteMultipartUpload with 10,000 parts and their checksums
DOCUMENT_LIMIT_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Call:
    """A request for `operation` on `bucket` and `key` ("" where there is none)."""

    store: ObjectStore
    caller: Caller
    request: HttpRequest
    operation: str
    bucket: str
    key: str
    query: dict[str, str]

    @property
    def notes(self) -> Notes | None:
        """Where to leave what only the answering knows, if anybody wants to hear it."""
        notes: Notes | None = self.request.notes
        return notes

    def header(self, name: str) -> str:
        """The value of a request header (lower-case name), "" when it is missing."""
        return self.request.headers.get(name, "")

    async def look(self, question: Callable[[apsw.Connection], Answer]) -> Answer:
        """The answer of `question` on one snapshot of the index."""
        return await asyncio.wrap_future(self.store.lookup(question))

    async def change(self, change: Callable[[apsw.Connection], Answer]) -> Answer:
        """What `change` returns, once it is durable."""
        return await self.settled(self.store.change(change))

    async def settled(self, change: Future[Answer]) -> Answer:
        """What a change under way returns, once it is durable. Raises `ServiceUnavailable` when there is no room to write it."""
        try:
            return await asyncio.wrap_future(change)
        except apsw.FullError as failure:
            raise disk_full() from failure

    async def work(self, task: Callable[..., Answer], *args: Any) -> Answer:
        """What `task` returns; it runs in one of the threads for disk work."""
        return await asyncio.wrap_future(self.store.work(task, *args))

    def find_bucket(self, index: apsw.Connection, name: str = "") -> Bucket:
        """The bucket of the call (or the one called `name`), whoever asks. Raises `NoSuchBucket`, and `AccessDenied` when it is not
        of the account that the request expects."""
        bucket = keys.find_bucket(index, name or self.bucket)
        if bucket is None:
            raise Fault("NoSuchBucket", "The specified bucket does not exist", BucketName=name or self.bucket)
        expectation = "x-amz-source-expected-bucket-owner" if name else "x-amz-expected-bucket-owner"
        if self.header(expectation) not in ("", bucket.account):
            raise access_denied()
        return bucket

    def own_bucket(self, index: apsw.Connection, name: str = "", wish: Wish | None = None) -> Bucket:
        """`find_bucket`, if the caller may do there what the call is for (or `wish`). Raises `NoSuchBucket`, `AccessDenied`."""
        bucket = self.find_bucket(index, name)
        if not self.may(index, bucket, wish or self.wish):
            raise access_denied()
        return bucket

    @property
    def wish(self) -> Wish:
        """What the call is for, as policies name it."""
        version = self.query.get("versionId")
        return Wish(action_of(self.operation, version is not None), self.key, "" if version == "null" else version)

    def may(self, index: apsw.Connection, bucket: Bucket, wish: Wish) -> bool:
        """Whether the caller may."""
        values = partial(request_values, self.request, self.query, self.caller)
        if self.request.notes is None:
            return is_allowed(index, bucket, self.caller, values, wish)
        by_acl: list[bool] = []
        may = is_allowed(index, bucket, self.caller, values, wish, by_acl)
        self.request.notes.is_by_acl |= bool(by_acl)
        return may

    def policies_allow(self, action: str, key: str) -> bool:
        """Whether the caller's own policies, where they are enforced, allow an action on an object of the bucket."""
        return self.request.may is None or self.request.may(action, f"arn:aws:s3:::{self.bucket}/{key}")

    async def document(self) -> dict[str, Any]:
        """The XML (or JSON) document in the body, decoded as the operation's input. Raises `MalformedXML`, `MaxMessageLengthExceeded`."""
        body = bytearray()
        async for chunk in self.request.body:
            body += chunk
            if len(body) > DOCUMENT_LIMIT_BYTES:
                raise Fault("MaxMessageLengthExceeded", "Your request was too big.")
        return restxml.decode_body(shapes.load("s3"), self.operation, bytes(body))

    async def no_body(self) -> None:
        """Read the body to its end, so that its hash is checked, and refuse one that is longer than a document."""
        size = 0
        async for chunk in self.request.body:
            size += len(chunk)
            if size > DOCUMENT_LIMIT_BYTES:
                raise Fault("MaxMessageLengthExceeded", "Your request was too big.")

    def answer(self, result: dict[str, Any], headers: dict[str, str] | None = None, status: int = 200) -> HttpResponse:
        """The response with `result`, in AWS spelling, as its XML document."""
        body = restxml.encode_body(shapes.load("s3"), self.operation, result)
        return HttpResponse(status, {"content-type": "application/xml"} | (headers or {}), body)

    def number(self, name: str, default: int, low: int, high: int) -> int:
        """The whole number in the query at `name`, at most `high` (S3 silently cuts). Raises `InvalidArgument`."""
        text = self.query.get(name, "")
        if not text:
            return default
        if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) >= low and int(text) <= 2**31 - 1):
            raise invalid_argument(f"Provided {name} not an integer or within integer range", name, text)
        return min(int(text), high)

    def owner(self, account: str = "") -> dict[str, str]:
        """The Owner element of an account (default: the caller's)."""
        return {"DisplayName": account or self.caller.account, "ID": canonical_id(account or self.caller.account)}


def http_date(at_ms: int) -> str:
    """A time in the form of Last-Modified; S3 shows whole seconds there."""
    return formatdate(at_ms // 1000, usegmt=True)


def access_denied() -> Fault:
    """S3's 403."""
    return Fault("AccessDenied", "Access Denied")


def disk_full() -> Fault:
    """The 503 for a disk without room: SDKs try again, and then show the message."""
    return Fault("ServiceUnavailable", "The disk of the object store is full: free some space and try again.")


def no_such_key(key: str) -> Fault:
    """S3's 404 for an object."""
    return Fault("NoSuchKey", "The specified key does not exist.", Key=key)


def invalid_argument(message: str, name: str, value: str) -> Fault:
    """S3's 400 for a query or header value."""
    return Fault("InvalidArgument", message, ArgumentName=name, ArgumentValue=value)
