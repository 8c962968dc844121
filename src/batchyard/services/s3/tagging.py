"""The tags and the attributes of an object."""

from __future__ import annotations

from functools import partial
from typing import Any

import apsw
import msgspec

from batchyard.model.fault import Fault
from batchyard.services.s3.call import Call, http_date, invalid_argument
from batchyard.services.s3.traits import TAGS_PER_OBJECT, checked_tags
from batchyard.services.s3.versions import of_call, version_headers
from batchyard.store import objects_keys as keys
from batchyard.store import objects_versions as versions
from batchyard.wire.http import HttpResponse

ATTRIBUTES = ("ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize")
PARTS_PAGE = 1000


async def get_object_tagging(call: Call) -> HttpResponse:
    """GetObjectTagging."""
    record = await call.look(partial(of_call, call))
    tags = [{"Key": name, "Value": value} for name, value in record.traits.tags.items()]
    return call.answer({"TagSet": tags}, version_headers(record.bucket, record.version))


async def put_object_tagging(call: Call) -> HttpResponse:
    """PutObjectTagging: these tags in place of those before."""
    document = (await call.document()).get("Tagging", {})
    tags = checked_tags([(tag["Key"], tag["Value"]) for tag in document.get("TagSet", [])], TAGS_PER_OBJECT)
    return HttpResponse(200, await _set_tags(call, tags))


async def delete_object_tagging(call: Call) -> HttpResponse:
    """DeleteObjectTagging."""
    return HttpResponse(204, await _set_tags(call, {}))


async def get_object_attributes(call: Call) -> HttpResponse:
    """GetObjectAttributes."""
    wanted = [name.strip() for name in call.header("x-amz-object-attributes").split(",") if name.strip()]
    for name in wanted or [""]:
        if name not in ATTRIBUTES:
            raise invalid_argument("Invalid attribute name specified.", "x-amz-object-attributes", name)

    def question(index: apsw.Connection) -> HttpResponse:
        record = of_call(call, index)
        traits = record.traits
        result: dict[str, Any] = {}
        if "ETag" in wanted:
            result["ETag"] = record.etag
        if "Checksum" in wanted and traits.checksums:
            result["Checksum"] = {f"Checksum{name}": value for name, value in traits.checksums.items()}
            result["Checksum"]["ChecksumType"] = traits.checksum_type
        if "ObjectParts" in wanted and traits.parts:
            result["ObjectParts"] = _parts(call, index, record.manifest, traits.parts)
        if "StorageClass" in wanted:
            result["StorageClass"] = traits.storage_class
        if "ObjectSize" in wanted:
            result["ObjectSize"] = record.size
        headers = {"last-modified": http_date(record.modified_at_ms)} | version_headers(record.bucket, record.version)
        return call.answer(result, headers)

    return await call.look(question)


async def _set_tags(call: Call, tags: dict[str, str]) -> dict[str, str]:
    """Set the tags of the version of the call; the header that names it."""

    def change(index: apsw.Connection) -> dict[str, str]:
        record = of_call(call, index)
        versions.put_traits(index, record, msgspec.structs.replace(record.traits, tags=tags))
        return version_headers(record.bucket, record.version)

    return await call.change(change)


def _parts(call: Call, index: apsw.Connection, manifest: int, count: int) -> dict[str, Any]:
    """The ObjectParts element: a page of parts; the parts themselves only where they have checksums, as on AWS."""
    limit = _header_number(call, "x-amz-max-parts", PARTS_PAGE)
    after = _header_number(call, "x-amz-part-number-marker", 0)
    found = keys.pieces_of(index, manifest, after, limit + 1)
    pieces = found[:limit]
    element: dict[str, Any] = {
        "TotalPartsCount": count,
        "PartNumberMarker": after,
        "NextPartNumberMarker": pieces[-1].number if pieces else 0,
        "MaxParts": limit,
        "IsTruncated": len(found) > limit,
    }
    if any(piece.checksums for piece in pieces):
        element["Parts"] = [
            {"PartNumber": piece.number, "Size": piece.size} | {f"Checksum{name}": value for name, value in piece.checksums.items()}
            for piece in pieces
        ]
    return element


def _header_number(call: Call, name: str, default: int) -> int:
    text = call.header(name)
    if not text:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise Fault("InvalidArgument", f"{name} must be a number", ArgumentName=name, ArgumentValue=text)
    return min(int(text), PARTS_PAGE) if default else int(text)
