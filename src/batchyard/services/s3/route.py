"""Which operation a request asks for: bucket and key from host and path, the rest from method, query and copy header.

A query key that the operation does not know is refused with 501: a sub-resource that is not served must never be taken for a
plain PUT or GET of the object.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, unquote_plus

from batchyard.model.fault import Fault
from batchyard.wire.http import HttpRequest

SERVICE, BUCKET, OBJECT = "service", "bucket", "object"

_LIST = frozenset(
    ("prefix", "delimiter", "encoding-type", "max-keys", "marker", "list-type", "start-after", "continuation-token", "fetch-owner")
)
# query of a presigned GET -> header of the answer
OVERRIDES = {
    f"response-{name}": name
    for name in (
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-type",
        "expires",
    )
}
_READ = frozenset((*OVERRIDES, "versionId", "partNumber"))
_VERSION = frozenset(("versionId",))
_NONE: frozenset[str] = frozenset()
_PART = frozenset(("partNumber", "uploadId"))

# (method, level, sub-resource) -> operation and the query keys it knows besides the sub-resource itself
_ROUTES: dict[tuple[str, str, str], tuple[str, frozenset[str]]] = {
    ("GET", SERVICE, ""): (
        "ListBuckets",
        frozenset(("prefix", "max-buckets", "continuation-token", "bucket-region")),
    ),
    ("PUT", BUCKET, ""): ("CreateBucket", _NONE),
    ("HEAD", BUCKET, ""): ("HeadBucket", _NONE),
    ("DELETE", BUCKET, ""): ("DeleteBucket", _NONE),
    ("GET", BUCKET, ""): ("ListObjects", _LIST),
    ("GET", BUCKET, "list-type"): ("ListObjectsV2", _LIST),
    ("GET", BUCKET, "versions"): (
        "ListObjectVersions",
        frozenset(("prefix", "delimiter", "encoding-type", "max-keys", "key-marker", "version-id-marker")),
    ),
    ("GET", BUCKET, "uploads"): (
        "ListMultipartUploads",
        frozenset(("prefix", "delimiter", "encoding-type", "max-uploads", "key-marker", "upload-id-marker")),
    ),
    ("POST", BUCKET, "delete"): ("DeleteObjects", _NONE),
    ("GET", BUCKET, "location"): ("GetBucketLocation", _NONE),
    ("GET", BUCKET, "acl"): ("GetBucketAcl", _NONE),
    ("PUT", BUCKET, "acl"): ("PutBucketAcl", _NONE),
    ("GET", BUCKET, "tagging"): ("GetBucketTagging", _NONE),
    ("PUT", BUCKET, "tagging"): ("PutBucketTagging", _NONE),
    ("DELETE", BUCKET, "tagging"): ("DeleteBucketTagging", _NONE),
    ("GET", BUCKET, "encryption"): ("GetBucketEncryption", _NONE),
    ("PUT", BUCKET, "encryption"): ("PutBucketEncryption", _NONE),
    ("DELETE", BUCKET, "encryption"): ("DeleteBucketEncryption", _NONE),
    ("GET", BUCKET, "publicAccessBlock"): ("GetPublicAccessBlock", _NONE),
    ("PUT", BUCKET, "publicAccessBlock"): ("PutPublicAccessBlock", _NONE),
    ("DELETE", BUCKET, "publicAccessBlock"): ("DeletePublicAccessBlock", _NONE),
    ("GET", BUCKET, "lifecycle"): ("GetBucketLifecycleConfiguration", _NONE),
    ("PUT", BUCKET, "lifecycle"): ("PutBucketLifecycleConfiguration", _NONE),
    ("DELETE", BUCKET, "lifecycle"): ("DeleteBucketLifecycle", _NONE),
    ("GET", BUCKET, "policy"): ("GetBucketPolicy", _NONE),
    ("PUT", BUCKET, "policy"): ("PutBucketPolicy", _NONE),
    ("DELETE", BUCKET, "policy"): ("DeleteBucketPolicy", _NONE),
    ("GET", BUCKET, "policyStatus"): ("GetBucketPolicyStatus", _NONE),
    ("GET", BUCKET, "ownershipControls"): ("GetBucketOwnershipControls", _NONE),
    ("PUT", BUCKET, "ownershipControls"): ("PutBucketOwnershipControls", _NONE),
    ("DELETE", BUCKET, "ownershipControls"): ("DeleteBucketOwnershipControls", _NONE),
    ("GET", BUCKET, "versioning"): ("GetBucketVersioning", _NONE),
    ("PUT", BUCKET, "versioning"): ("PutBucketVersioning", _NONE),
    ("GET", BUCKET, "logging"): ("GetBucketLogging", _NONE),
    ("PUT", BUCKET, "logging"): ("PutBucketLogging", _NONE),
    ("GET", BUCKET, "notification"): ("GetBucketNotificationConfiguration", _NONE),
    ("PUT", BUCKET, "notification"): ("PutBucketNotificationConfiguration", _NONE),
    ("GET", BUCKET, "cors"): ("GetBucketCors", _NONE),
    ("DELETE", BUCKET, "cors"): ("DeleteBucketCors", _NONE),
    ("GET", BUCKET, "website"): ("GetBucketWebsite", _NONE),
    ("DELETE", BUCKET, "website"): ("DeleteBucketWebsite", _NONE),
    ("GET", BUCKET, "replication"): ("GetBucketReplication", _NONE),
    ("DELETE", BUCKET, "replication"): ("DeleteBucketReplication", _NONE),
    ("GET", BUCKET, "object-lock"): ("GetObjectLockConfiguration", _NONE),
    ("GET", BUCKET, "requestPayment"): ("GetBucketRequestPayment", _NONE),
    ("GET", BUCKET, "accelerate"): ("GetBucketAccelerateConfiguration", _NONE),
    ("GET", OBJECT, ""): ("GetObject", _READ),
    ("HEAD", OBJECT, ""): ("HeadObject", _READ),
    ("PUT", OBJECT, ""): ("PutObject", _NONE),
    ("DELETE", OBJECT, ""): ("DeleteObject", _VERSION),
    ("GET", OBJECT, "attributes"): ("GetObjectAttributes", _VERSION),
    ("GET", OBJECT, "acl"): ("GetObjectAcl", _VERSION),
    ("PUT", OBJECT, "acl"): ("PutObjectAcl", _VERSION),
    ("GET", OBJECT, "tagging"): ("GetObjectTagging", _VERSION),
    ("PUT", OBJECT, "tagging"): ("PutObjectTagging", _VERSION),
    ("DELETE", OBJECT, "tagging"): ("DeleteObjectTagging", _VERSION),
    ("POST", OBJECT, "uploads"): ("CreateMultipartUpload", _NONE),
    ("PUT", OBJECT, "uploadId"): ("UploadPart", _PART),
    ("GET", OBJECT, "uploadId"): ("ListParts", frozenset(("max-parts", "part-number-marker"))),
    ("POST", OBJECT, "uploadId"): ("CompleteMultipartUpload", _NONE),
    ("DELETE", OBJECT, "uploadId"): ("AbortMultipartUpload", _NONE),
}
_COPIES = {"PutObject": "CopyObject", "UploadPart": "UploadPartCopy"}
_SUBRESOURCES = frozenset(sub for _, _, sub in _ROUTES if sub)
SERVED = frozenset(operation for operation, _ in _ROUTES.values()) | frozenset(_COPIES.values())

_SIGNATURE_V2 = frozenset(("AWSAccessKeyId", "Signature", "Expires"))

NOT_IMPLEMENTED = "A header or query you provided implies functionality that is not implemented"
_IP_ADDRESS = re.compile(r"\d{1,3}(\.\d{1,3}){3}|\[.*\]")


@dataclass(frozen=True, slots=True)
class Target:
    """What a request is about: the operation, bucket and key ("" where there is none), and the query, decoded."""

    operation: str
    bucket: str
    key: str
    query: dict[str, str]


def match(request: HttpRequest) -> Target:
    """The operation that `request` asks for. Raises `InvalidURI`, `MethodNotAllowed` or `NotImplemented` (501)."""
    bucket, key = _bucket_and_key(request)
    level = OBJECT if key else BUCKET if bucket else SERVICE
    query = _query(request.raw_query)
    selectors = [name for name in query if name in _SUBRESOURCES]
    if level != BUCKET and "list-type" in query:
        raise not_implemented("?list-type")
    selector = selectors[0] if selectors else ""
    route = _ROUTES.get((request.method, level, selector))
    if route is None:
        if selector or any(not _is_ignored(name) for name in query) or request.method == "POST":
            raise not_implemented(f"{request.method} ?{selector or next(iter(query), '')} of a {level}")
        raise Fault("MethodNotAllowed", "The specified method is not allowed against this resource.", Method=request.method)
    operation, known = route
    for name in query:
        if name != selector and name not in known and not _is_ignored(name):
            raise not_implemented(f"?{name} with {operation}")
    if operation == "UploadPart" and "partNumber" not in query:
        raise not_implemented("?uploadId without partNumber")
    if operation == "ListObjectsV2" and query["list-type"] != "2":
        raise Fault("InvalidArgument", "list-type must be 2", ArgumentName="list-type", ArgumentValue=query["list-type"])
    if "x-amz-copy-source" in request.headers:
        operation = _COPIES.get(operation, operation)
    return Target(operation, bucket, key, query)


def not_implemented(what: str) -> Fault:
    """The 501 for something of S3 that is not served here."""
    return Fault("NotImplemented", f"{NOT_IMPLEMENTED}: {what}")


def decode_key(raw: str) -> str:
    """A key from its percent-encoded form. Raises `InvalidURI` when it is not UTF-8."""
    try:
        return unquote(raw, errors="strict")
    except UnicodeDecodeError:
        raise Fault("InvalidURI", "Couldn't parse the specified URI: the key is not UTF-8.") from None


def _is_ignored(name: str) -> bool:
    """Signature parameters, the SDKs' `x-id`, and whatever else starts with `x-`: AWS ignores those too."""
    return name[:2].lower() == "x-" or name in _SIGNATURE_V2


def _query(raw: str) -> dict[str, str]:
    query: dict[str, str] = {}
    for pair in raw.split("&"):
        if pair:
            name, _, value = pair.partition("=")
            try:
                query.setdefault(unquote_plus(name, errors="strict"), unquote_plus(value, errors="strict"))
            except UnicodeDecodeError:
                raise Fault("InvalidURI", "Couldn't parse the specified URI: the query is not UTF-8.") from None
    return query


def _bucket_and_key(request: HttpRequest) -> tuple[str, str]:
    path = request.raw_path.partition("?")[0].removeprefix("/")
    bucket = _bucket_of_host(request.headers.get("host", ""))
    if bucket:
        return bucket, decode_key(path)
    raw_bucket, _, raw_key = path.partition("/")
    return decode_key(raw_bucket), decode_key(raw_key)


def _bucket_of_host(host: str) -> str:
    """The bucket in a virtual-host style name: `BUCKET.s3...` or `BUCKET.localhost`; "" when the path names it."""
    name = host if host.startswith("[") else host.partition(":")[0]
    if not name or _IP_ADDRESS.fullmatch(name):
        return ""
    for mark in (".s3.", ".s3-"):
        bucket, found, _ = name.rpartition(mark)
        if found:
            return bucket
    if name.startswith(("s3.", "s3-")):
        return ""
    bucket, found, rest = name.rpartition(".localhost")
    return bucket if found and not rest else ""
