"""The tags and the attributes of an object, and its access control list, which is always the owner's."""

from __future__ import annotations

from typing import Any

import apsw
import msgspec

from batchyard.model.fault import Fault
from batchyard.services.s3.call import Call, http_date, invalid_argument
from batchyard.services.s3.objects import check_version
from batchyard.services.s3.traits import OWNER_ACLS, TAGS_PER_OBJECT, acl_not_supported, checked_tags
from batchyard.store import objects_keys as keys
from batchyard.wire.http import HttpResponse

ATTRIBUTES = ("ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize")
PARTS_PAGE = 1000


async def get_object_tagging(call: Call) -> HttpResponse:
    """GetObjectTagging."""
    check_version(call)
    record = await call.look(call.own_object)
    return call.answer({"TagSet": [{"Key": name, "Value": value} for name, value in record.traits.tags.items()]})


async def put_object_tagging(call: Call) -> HttpResponse:
    """PutObjectTagging: these tags in place of those before."""
    check_version(call)
    document = (await call.document()).get("Tagging", {})
    tags = checked_tags([(tag["Key"], tag["Value"]) for tag in document.get("TagSet", [])], TAGS_PER_OBJECT)
    await _set_tags(call, tags)
    return HttpResponse(200)


async def delete_object_tagging(call: Call) -> HttpResponse:
    """DeleteObjectTagging."""
    check_version(call)
    await _set_tags(call, {})
    return HttpResponse(204)


async def get_object_attributes(call: Call) -> HttpResponse:
    """GetObjectAttributes."""
    check_version(call)
    wanted = [name.strip() for name in call.header("x-amz-object-attributes").split(",") if name.strip()]
    for name in wanted or [""]:
        if name not in ATTRIBUTES:
            raise invalid_argument("Invalid attribute name specified.", "x-amz-object-attributes", name)

    def question(index: apsw.Connection) -> HttpResponse:
        record = call.own_object(index)
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
        return call.answer(result, {"last-modified": http_date(record.modified_at_ms)})

    return await call.look(question)


async def get_object_acl(call: Call) -> HttpResponse:
    """GetObjectAcl: the owner may do everything, nobody else anything."""
    check_version(call)
    record = await call.look(call.own_object)
    return call.answer(owner_acl(call, record.bucket.account))


async def put_object_acl(call: Call) -> HttpResponse:
    """PutObjectAcl: what gives the owner everything changes nothing, all else is refused as on a bucket without ACLs."""
    check_version(call)
    await refuse_grants(call)
    await call.look(call.own_object)
    return HttpResponse(200)


def owner_acl(call: Call, account: str) -> dict[str, Any]:
    """An access control list with the owner's full control."""
    owner = call.owner(account)
    grant = {"Grantee": {"Type": "CanonicalUser", **owner}, "Permission": "FULL_CONTROL"}
    return {"Owner": owner, "Grants": [grant]}


async def refuse_grants(call: Call) -> None:
    """Raises `AccessControlListNotSupported` unless the request asks for the owner's full control and nothing else."""
    document = (await call.document()).get("AccessControlPolicy", {})
    granted = any(name.startswith("x-amz-grant-") for name in call.request.headers)
    canned = call.header("x-amz-acl")
    if document or granted or canned not in OWNER_ACLS:
        raise acl_not_supported()


async def _set_tags(call: Call, tags: dict[str, str]) -> None:
    def change(index: apsw.Connection) -> None:
        record = call.own_object(index)
        keys.put_traits(index, record.manifest, msgspec.structs.replace(record.traits, tags=tags))

    await call.change(change)


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
