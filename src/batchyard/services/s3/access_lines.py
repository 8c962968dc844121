"""A request as a line of a server access log: S3's own format, field by field; pure but for the calendar.

(S3 User Guide, "Amazon S3 server access log format": space-delimited, `-` for what is unknown or does not apply. New fields come at the
end, which is why there is one more than in older copies of that page: the region that a request was meant for.)
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from urllib.parse import quote

from batchyard.services.s3.owners import canonical_id
from batchyard.wire.http import HttpRequest

# operation -> what it is about, as the log says it, wherever that is not one of the two plain words
_RESOURCES = {
    "CompleteMultipartUpload": "UPLOAD",
    "AbortMultipartUpload": "UPLOAD",
    "ListParts": "UPLOAD",
    "CreateMultipartUpload": "UPLOADS",
    "ListMultipartUploads": "UPLOADS",
    "UploadPart": "PART",
    "DeleteObjects": "MULTI_OBJECT_DELETE",
    "GetObjectAttributes": "OBJECT_ATTRIBUTES",
    "ListObjectVersions": "BUCKETVERSIONS",
}
# the same, by a part of the operation's name
_SUBRESOURCES = (
    ("ObjectTagging", "OBJECT_TAGGING"),
    ("Tagging", "TAGGING"),
    ("Acl", "ACL"),
    ("PolicyStatus", "POLICY_STATUS"),
    ("BucketPolicy", "BUCKETPOLICY"),
    ("Logging", "LOGGING_STATUS"),
    ("Versioning", "VERSIONING"),
    ("Location", "LOCATION"),
    ("Lifecycle", "LIFECYCLE"),
    ("Encryption", "ENCRYPTION"),
    ("PublicAccessBlock", "PUBLIC_ACCESS_BLOCK"),
    ("OwnershipControls", "OWNERSHIP_CONTROLS"),
    ("Notification", "NOTIFICATION"),
    ("Cors", "CORS"),
    ("Website", "WEBSITE"),
    ("Replication", "REPLICATION"),
    ("ObjectLockConfiguration", "OBJECT_LOCK_CONFIGURATION"),
    ("RequestPayment", "REQUEST_PAYMENT"),
    ("Accelerate", "ACCELERATE"),
)
_COPIES = {"CopyObject": "REST.COPY.OBJECT", "UploadPartCopy": "REST.COPY.PART"}
# what a reader of the log could still use as the one who asked
_SECRETS = re.compile(r"(?i)((?:^|&)(?:X-Amz-Signature|X-Amz-Security-Token|Signature)=)[^&]*")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(slots=True)
class Deed:
    """Something that was done to an object besides what the request itself is named after; `size` None is unknown."""

    operation: str
    bucket: str
    key: str
    status: int
    version: str = ""
    error: str = ""
    size: int | None = None


@dataclass(slots=True)
class Notes:
    """What the answering of a request leaves behind for the log of its bucket."""

    operation: str = ""
    bucket: str = ""
    key: str = ""
    size: int | None = None
    body_ended_s: float = 0.0  # on the clock of `time.perf_counter`; 0 when there was no body to wait for
    is_by_acl: bool = False
    deeds: list[Deed] = field(default_factory=list)


@dataclass(slots=True)
class Exchange:
    """A request and its answer, once the answer is out; `sent` counts the bytes of its body."""

    request: HttpRequest
    notes: Notes
    account: str  # of who asked; "" for nobody in particular
    arn: str
    request_id: str
    host_id: str
    at_s: float
    status: int
    error: str
    version: str
    sent: int
    total_ms: int
    turn_around_ms: int


def name_of(operation: str, method: str) -> str:
    """`REST.GET.OBJECT` and the like, of an operation of S3's model."""
    if operation in _COPIES:
        return _COPIES[operation]
    resource = _RESOURCES.get(operation) or next((name for part, name in _SUBRESOURCES if part in operation), "")
    return f"REST.{method}.{resource or ('OBJECT' if operation.endswith('Object') else 'BUCKET')}"


def line_of(exchange: Exchange, owner: str, region: str) -> bytes:
    """The line of the request, for the log of a bucket of the account `owner`."""
    request, notes = exchange.request, exchange.notes
    uri = request.raw_path
    if request.raw_query:
        uri += "?" + _SECRETS.sub(r"\1-", request.raw_query)
    return _joined(
        *_opening(exchange, owner, notes.bucket),
        name_of(notes.operation, request.method),
        _key(notes.key),
        _quoted(f"{request.method} {uri} HTTP/1.1"),
        str(exchange.status),
        exchange.error or "-",
        str(exchange.sent or "-"),
        _number(notes.size),
        str(exchange.total_ms),
        str(exchange.turn_around_ms),
        _quoted(request.headers.get("referer", "-")),
        _quoted(request.headers.get("user-agent", "-")),
        exchange.version or "-",
        *_closing(exchange, region),
    )


def line_of_deed(deed: Deed, exchange: Exchange, owner: str, region: str) -> bytes:
    """The line of one more thing that the request did: a key of a batch that it deleted, the source of its copy."""
    return _joined(
        *_opening(exchange, owner, deed.bucket),
        deed.operation,
        _key(deed.key),
        "-",
        str(deed.status),
        deed.error or "-",
        "-",
        _number(deed.size),
        *"----",
        deed.version or "-",
        *_closing(exchange, region),
    )


def line_of_chore(deed: Deed, owner: str, region: str, at_s: float, request_id: str, host_id: str) -> bytes:
    """The line of something that S3 did by itself, as its lifecycle rules said."""
    opening = (canonical_id(owner), deed.bucket, _time(at_s), "-", "AmazonS3", request_id)
    middle = (deed.operation, _key(deed.key), "-", "-", "-", "-", _number(deed.size), *"----", deed.version or "-")
    return _joined(*opening, *middle, host_id, *"-------", region)


def _opening(exchange: Exchange, owner: str, bucket: str) -> tuple[str, ...]:
    who = canonical_id(exchange.account) if exchange.arn.endswith(":root") else exchange.arn
    at = _time(exchange.at_s)
    return canonical_id(owner), bucket, at, exchange.request.remote or "-", _word(who), exchange.request_id


def _closing(exchange: Exchange, region: str) -> tuple[str, ...]:
    signature, kind = _signature(exchange.request)
    host = _word(exchange.request.headers.get("host", ""))
    # no TLS here, hence neither a cipher nor a version; no access points
    return exchange.host_id, signature, "-", kind, host, "-", "-", "Yes" if exchange.notes.is_by_acl else "-", region


def _signature(request: HttpRequest) -> tuple[str, str]:
    """(SigV4 or SigV2, where it stood)."""
    authorization = request.headers.get("authorization", "")
    if authorization:
        return "SigV4" if authorization.startswith("AWS4") else "SigV2", "AuthHeader"
    if "X-Amz-Signature=" in request.raw_query:
        return "SigV4", "QueryString"
    if "AWSAccessKeyId=" in request.raw_query:
        return "SigV2", "QueryString"
    return "-", "-"


def _time(at_s: float) -> str:
    """`[22/Nov/2026:22:01:55 +0000]`, whatever language the machine speaks."""
    at = time.gmtime(at_s)
    return f"[{at.tm_mday:02}/{_MONTHS[at.tm_mon - 1]}/{at.tm_year}:{at.tm_hour:02}:{at.tm_min:02}:{at.tm_sec:02} +0000]"


def _key(key: str) -> str:
    return quote(key, safe="/") if key else "-"


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)


def _word(text: str) -> str:
    """A text that a client chose, as one field."""
    return re.sub(r"[\s\"]", "_", text) or "-"


def _quoted(text: str) -> str:
    """The same in quotes, which may hold blanks."""
    return '"' + re.sub(r"[\x00-\x1f\x7f]", "_", text.replace('"', "%22")) + '"'


def _joined(*fields: str) -> bytes:
    return (" ".join(fields) + "\n").encode("utf-8", "replace")
