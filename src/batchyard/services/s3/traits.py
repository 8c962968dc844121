"""What a request's headers say about an object besides its bytes, and the headers that say it again in answers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import unquote_plus

from batchyard.model.fault import Fault
from batchyard.services.s3.acls import grants_in_headers
from batchyard.services.s3.call import http_date
from batchyard.services.s3.encryption import encryption_of
from batchyard.services.s3.route import not_implemented
from batchyard.store.objects_records import ObjectRecord, Traits

CONTENT_HEADERS = (
    "content-type",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
)
DEFAULT_CONTENT_TYPE = "binary/octet-stream"
METADATA_PREFIX = "x-amz-meta-"
METADATA_LIMIT_BYTES = 2048

# Storage classes that are kept and given back; all objects lie on the same disk. The archive classes would refuse reads until a
# restore, which is not there.
STORAGE_CLASSES = frozenset(("STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"))

TAGS_PER_OBJECT = 10
_TAG_TEXT = re.compile(r"[\w\s+\-=.:/@]*")


def traits_of(headers: Mapping[str, str]) -> Traits:
    """The traits that a PutObject, CopyObject or CreateMultipartUpload gives its object.

    Raises a `Fault` for what S3 refuses (`InvalidArgument`, `InvalidTag`, `MetadataTooLarge`, `InvalidStorageClass`) and
    `NotImplemented` for what would need doing here and is not done.
    """
    refuse_unserved(headers)
    storage_class = headers.get("x-amz-storage-class", "") or "STANDARD"
    if storage_class not in STORAGE_CLASSES:
        if storage_class in ("GLACIER", "DEEP_ARCHIVE"):
            raise not_implemented(f"storage class {storage_class}")
        raise Fault("InvalidStorageClass", "The storage class you specified is not valid")
    metadata = {name.removeprefix(METADATA_PREFIX): value for name, value in headers.items() if name.startswith(METADATA_PREFIX)}
    size = sum(len(name) + len(value) for name, value in metadata.items())
    if size > METADATA_LIMIT_BYTES:
        raise Fault(
            "MetadataTooLarge",
            "Your metadata headers exceed the maximum allowed metadata size",
            Size=str(size),
            MaxSizeAllowed=str(METADATA_LIMIT_BYTES),
        )
    recorded = encryption_of(headers)
    tags = parse_tagging(headers.get("x-amz-tagging", ""))
    return Traits(
        headers=content_headers(headers),
        metadata=metadata,
        tags=tags,
        storage_class=storage_class,
        recorded=recorded,
        grants=grants_in_headers(headers) or [],
    )


def metadata_of(headers: Mapping[str, str]) -> dict[str, str]:
    """The user's own metadata, without the prefix."""
    return {name.removeprefix(METADATA_PREFIX): value for name, value in headers.items() if name.startswith(METADATA_PREFIX)}


def content_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The content headers worth keeping; `aws-chunked` is the framing of the request, not the encoding of the object."""
    kept = {name: headers[name] for name in CONTENT_HEADERS if headers.get(name)}
    if "content-encoding" in kept:
        encodings = [part.strip() for part in kept["content-encoding"].split(",")]
        encoding = ",".join(part for part in encodings if part and part.lower() != "aws-chunked")
        if encoding:
            kept["content-encoding"] = encoding
        else:
            del kept["content-encoding"]
    return kept


def refuse_unserved(headers: Mapping[str, str]) -> None:
    """Refuse the headers whose meaning would be lost: locks, redirects, appends."""
    for name in headers:
        if name in ("x-amz-website-redirect-location", "x-amz-write-offset-bytes"):
            raise not_implemented(name)
        if name.startswith("x-amz-object-lock-"):
            raise Fault("InvalidRequest", "Bucket is missing Object Lock Configuration")


def parse_tagging(text: str) -> dict[str, str]:
    """The tags of an `x-amz-tagging` header (`a=1&b=2`)."""
    pairs = []
    for pair in text.split("&") if text else []:
        name, _, value = pair.partition("=")
        pairs.append((unquote_plus(name), unquote_plus(value)))
    return checked_tags(pairs, TAGS_PER_OBJECT)


def checked_tags(pairs: list[tuple[str, str]], limit: int) -> dict[str, str]:
    """The tags as a dict. Raises S3's `InvalidTag` or `BadRequest` for what is too long, doubled, reserved or too many."""
    if len(pairs) > limit:
        kind = "Object" if limit == TAGS_PER_OBJECT else "Bucket"
        raise Fault("BadRequest", f"{kind} tags cannot be greater than {limit}")
    tags: dict[str, str] = {}
    for name, value in pairs:
        if not name or len(name) > 128 or not _TAG_TEXT.fullmatch(name):
            raise Fault("InvalidTag", "The TagKey you have provided is invalid", TagKey=name)
        if len(value) > 256 or not _TAG_TEXT.fullmatch(value):
            raise Fault("InvalidTag", "The TagValue you have provided is invalid", TagKey=name, TagValue=value)
        if name in tags:
            raise Fault("InvalidTag", "Cannot provide multiple Tags with the same key", TagKey=name)
        if name.lower().startswith("aws:"):
            raise Fault("InvalidTag", "System tags cannot be added/updated by requester", TagKey=name)
        tags[name] = value
    return tags


def object_headers(record: ObjectRecord) -> dict[str, str]:
    """The headers of a GetObject or HeadObject answer that do not depend on the range."""
    traits = record.traits
    headers = {
        "last-modified": http_date(record.modified_at_ms),
        "etag": quoted(record.etag),
        "accept-ranges": "bytes",
        "content-type": DEFAULT_CONTENT_TYPE,
    }
    headers |= traits.headers
    headers |= {f"{METADATA_PREFIX}{name}": value for name, value in traits.metadata.items()}
    headers |= traits.recorded
    if traits.tags:
        headers["x-amz-tagging-count"] = str(len(traits.tags))
    if traits.storage_class != "STANDARD":
        headers["x-amz-storage-class"] = traits.storage_class
    return headers


def checksum_headers(checksums: Mapping[str, str], checksum_type: str) -> dict[str, str]:
    """The `x-amz-checksum-...` headers of stored checksums."""
    headers = {f"x-amz-checksum-{name.lower()}": value for name, value in checksums.items()}
    if headers:
        headers["x-amz-checksum-type"] = checksum_type
    return headers


def quoted(etag: str) -> str:
    """An ETag as HTTP and S3's XML carry it."""
    return f'"{etag}"'
