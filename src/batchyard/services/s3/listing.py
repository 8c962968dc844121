"""ListObjects, ListObjectsV2 and ListObjectVersions: three ways to ask for the same page."""

from __future__ import annotations

import base64
from typing import Any
from urllib.parse import quote

import apsw

from batchyard.services.s3.call import Call, invalid_argument
from batchyard.services.s3.traits import quoted
from batchyard.services.s3.versions import asked_version, shown
from batchyard.store.objects_listing import Page, VersionPage, list_page, list_versions
from batchyard.store.objects_records import Bucket, ObjectRecord
from batchyard.store.objects_versions import find_version, place_in
from batchyard.wire.http import HttpResponse

PAGE_LIMIT = 1000
_TOKEN_MARK = "1"  # the form of the continuation tokens


async def list_objects(call: Call) -> HttpResponse:
    """ListObjects, the first version: a page begins behind `marker`."""
    await call.no_body()
    marker = call.query.get("marker", "")

    def question(index: apsw.Connection) -> HttpResponse:
        page = _page(call, index, marker)
        spell = speller(call)
        result = _common(call, page) | {"Marker": spell(marker), "Contents": _contents(call, page, True)}
        if page.truncated and call.query.get("delimiter"):
            result["NextMarker"] = spell(page.last)
        return call.answer(result)

    return await call.look(question)


async def list_objects_v2(call: Call) -> HttpResponse:
    """ListObjectsV2: a page begins behind the continuation token, else behind `start-after`."""
    await call.no_body()
    token = call.query.get("continuation-token", "")
    start_after = call.query.get("start-after", "")
    if "continuation-token" in call.query and not token:
        raise invalid_argument("The continuation token provided is incorrect", "continuation-token", "")
    after = unpack_token(token) if token else start_after

    def question(index: apsw.Connection) -> HttpResponse:
        page = _page(call, index, after)
        with_owner = call.query.get("fetch-owner", "").lower() == "true"
        result = _common(call, page) | {
            "KeyCount": len(page.objects) + len(page.common_prefixes),
            "Contents": _contents(call, page, with_owner),
        }
        if start_after:
            result["StartAfter"] = speller(call)(start_after)
        if token:
            result["ContinuationToken"] = token
        if page.truncated:
            result["NextContinuationToken"] = pack_token(page.last)
        return call.answer(result)

    return await call.look(question)


async def list_object_versions(call: Call) -> HttpResponse:
    """ListObjectVersions: versions and delete markers by key, of each key the newest first; objects from before versioning, and of
    buckets without it, have the version `null`."""
    await call.no_body()
    key_marker, version_marker = call.query.get("key-marker", ""), call.query.get("version-id-marker", "")
    if version_marker and not key_marker:
        raise invalid_argument("A version-id marker cannot be specified without a key marker.", "version-id-marker", version_marker)
    version = asked_version(version_marker or None)
    limit = call.number("max-keys", PAGE_LIMIT, 0, PAGE_LIMIT)

    def question(index: apsw.Connection) -> HttpResponse:
        bucket = call.own_bucket(index)
        behind = _place_behind(index, bucket, key_marker, version)
        prefix, delimiter = call.query.get("prefix", ""), call.query.get("delimiter", "")
        page = list_versions(index, bucket, prefix, delimiter, key_marker, behind, limit)
        spell = speller(call)
        result = _common(call, page) | {"KeyMarker": spell(key_marker), "VersionIdMarker": version_marker}
        owner = call.owner(bucket.account)
        result["Versions"] = [_version(record, spell(record.key), owner) for record in page.versions if not record.is_marker]
        result["DeleteMarkers"] = [_marker(record, spell(record.key), owner) for record in page.versions if record.is_marker]
        if page.truncated:
            result["NextKeyMarker"] = spell(page.last_key)
            if page.last_version:
                result["NextVersionIdMarker"] = page.last_version
        return call.answer(result)

    return await call.look(question)


def _place_behind(index: apsw.Connection, bucket: Bucket, key: str, version: str | None) -> int | None:
    """The place below which the page begins within `key`; None when it begins with the next key."""
    if version is None:
        return None
    record = find_version(index, bucket, key, version)
    if record is not None:
        return record.place
    # deleted since it was on a page: the id still says where it was. A null version does not, so its key is listed once more.
    place = place_in(version)
    return 2**62 if place is None else place


class speller:
    """Spells names in an answer: as they are, or percent-encoded when the request has `encoding-type=url`."""

    def __init__(self, call: Call) -> None:
        wanted = call.query.get("encoding-type", "")
        if wanted not in ("", "url"):
            raise invalid_argument("Invalid Encoding Method specified in Request", "encoding-type", wanted)
        self._encode = wanted == "url"

    def __call__(self, name: str) -> str:
        return quote(name, safe="/-_.*") if self._encode else name


def pack_token(last: str) -> str:
    """The continuation token of a page that ended with the name `last`."""
    return _TOKEN_MARK + base64.urlsafe_b64encode(last.encode()).decode().rstrip("=")


def unpack_token(token: str) -> str:
    """The name in a continuation token. Raises `InvalidArgument` for one that is none of ours."""
    try:
        if token[:1] != _TOKEN_MARK or not token.isascii():
            raise ValueError(token)
        packed = token[1:]
        return base64.b64decode(packed + "=" * (-len(packed) % 4), altchars=b"-_", validate=True).decode()
    except ValueError:
        raise invalid_argument("The continuation token provided is incorrect", "continuation-token", token) from None


def _page(call: Call, index: apsw.Connection, after: str) -> Page:
    bucket = call.own_bucket(index)
    limit = call.number("max-keys", PAGE_LIMIT, 0, PAGE_LIMIT)
    return list_page(index, bucket, call.query.get("prefix", ""), call.query.get("delimiter", ""), after, limit)


def _common(call: Call, page: Page | VersionPage) -> dict[str, Any]:
    """What all three answers say of a page."""
    spell = speller(call)
    result: dict[str, Any] = {
        "IsTruncated": page.truncated,
        "Name": call.bucket,
        "Prefix": spell(call.query.get("prefix", "")),
        "MaxKeys": call.number("max-keys", PAGE_LIMIT, 0, PAGE_LIMIT),
        "CommonPrefixes": [{"Prefix": spell(prefix)} for prefix in page.common_prefixes],
    }
    if call.query.get("delimiter"):
        result["Delimiter"] = spell(call.query["delimiter"])
    if call.query.get("encoding-type"):
        result["EncodingType"] = call.query["encoding-type"]
    return result


def _contents(call: Call, page: Page, with_owner: bool) -> list[dict[str, Any]]:
    spell = speller(call)
    owner = call.owner(page.objects[0].bucket.account) if page.objects and with_owner else None
    return [_entry(record, spell(record.key), owner) for record in page.objects]


def _version(record: ObjectRecord, key: str, owner: dict[str, str]) -> dict[str, Any]:
    return _entry(record, key, owner) | {"VersionId": shown(record.version), "IsLatest": record.is_latest}


def _marker(record: ObjectRecord, key: str, owner: dict[str, str]) -> dict[str, Any]:
    return {
        "Key": key,
        "VersionId": shown(record.version),
        "IsLatest": record.is_latest,
        "LastModified": record.modified_at_ms / 1000,
        "Owner": owner,
    }


def _entry(record: ObjectRecord, key: str, owner: dict[str, str] | None) -> dict[str, Any]:
    entry: dict[str, Any] = {
        "Key": key,
        "LastModified": record.modified_at_ms / 1000,
        "ETag": quoted(record.etag),
        "Size": record.size,
        "StorageClass": record.traits.storage_class,
    }
    if record.traits.checksums:
        entry |= {"ChecksumAlgorithm": list(record.traits.checksums), "ChecksumType": record.traits.checksum_type}
    if owner:
        entry["Owner"] = owner
    return entry
