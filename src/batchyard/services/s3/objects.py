"""PutObject, GetObject, HeadObject, DeleteObject and DeleteObjects."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import apsw
import msgspec

from batchyard.model.fault import Fault
from batchyard.services.s3.access import Wish, check_grants
from batchyard.services.s3.access_lines import Deed
from batchyard.services.s3.actions import action_of
from batchyard.services.s3.bodies import READ_BYTES, receive, refer, stream
from batchyard.services.s3.call import Call, access_denied, http_date
from batchyard.services.s3.checksums import announced
from batchyard.services.s3.conditions import check_delete, check_write, not_modified
from batchyard.services.s3.encryption import with_default
from batchyard.services.s3.ranges import parse_range
from batchyard.services.s3.route import OVERRIDES
from batchyard.services.s3.traits import checksum_headers, object_headers, quoted, traits_of
from batchyard.services.s3.versions import asked_version, of_call, shown, version_headers
from batchyard.store import objects_versions as versions
from batchyard.store.objects_bodies import WrittenBody
from batchyard.store.objects_reader import ObjectReader
from batchyard.store.objects_records import Bucket, Piece, Traits
from batchyard.wire.errors import S3_STATUS
from batchyard.wire.http import HttpResponse

KEY_LIMIT_BYTES = 1024
DELETE_LIMIT = 1000


async def put_object(call: Call) -> HttpResponse:
    """PutObject."""
    check_key(call.key)
    traits, checksum = traits_of(call.request.headers), announced(call.request)

    def check(index: apsw.Connection) -> None:
        bucket = call.own_bucket(index)
        check_grants(index, bucket, traits.grants)
        check_write(versions.find_object(index, bucket, call.key), call.key, call.request.headers)

    await call.look(check)
    writer, written = await receive(call, checksum)
    traits = msgspec.structs.replace(traits, checksums=written.checksums, checksum_type="FULL_OBJECT" if written.checksums else "")
    entered = await refer(call, writer, partial(_enter, call, traits, written))
    headers = entered | {"etag": quoted(written.md5)} | checksum_headers(traits.checksums, traits.checksum_type)
    return HttpResponse(200, headers)


async def get_object(call: Call) -> HttpResponse:
    """GetObject: the whole object, one range of it, or one part of a multipart upload."""
    reader = await _open(call)
    try:
        response, offset, size = _describe(call, reader)
        # the first bytes before the head of the answer: what cannot be read is then a failure, not a broken answer
        first = await call.work(reader.read, offset, min(size, READ_BYTES))
    except BaseException:
        call.store.work(reader.close)
        raise
    if len(first) < size:
        response.body = stream(call, reader, first, offset + len(first), size - len(first))
    else:
        response.body = first
        call.store.work(reader.close)
    return response


async def head_object(call: Call) -> HttpResponse:
    """HeadObject: the headers of GetObject."""
    reader = await _open(call)
    try:
        return _describe(call, reader)[0]
    finally:
        call.store.work(reader.close)


async def delete_object(call: Call) -> HttpResponse:
    """DeleteObject: of the key, or of one version for good; what is not there is deleted as well."""
    version = asked_version(call.query.get("versionId"))

    def change(index: apsw.Connection) -> dict[str, str]:
        bucket = call.own_bucket(index)
        gone = _delete(index, bucket, call.key, version, call.request.headers.get("if-match"), call.store.now_ms())
        headers = version_headers(bucket, gone.version)
        return headers | ({"x-amz-delete-marker": "true"} if gone.is_marker else {})

    return HttpResponse(204, await call.change(change))


async def delete_objects(call: Call) -> HttpResponse:
    """DeleteObjects: up to 1000 keys, each with its own right and its own outcome."""
    document = (await call.document()).get("Delete", {})
    wanted: list[dict[str, Any]] = document.get("Objects", [])
    if not wanted or len(wanted) > DELETE_LIMIT:
        raise Fault(
            "MalformedXML",
            "The XML you provided was not well-formed or did not validate against our published schema:"
            f" Delete.Object must hold 1 to {DELETE_LIMIT} keys",
        )

    is_allowed = [call.policies_allow(action_of("DeleteObject", "VersionId" in entry), entry["Key"]) for entry in wanted]

    def change(index: apsw.Connection) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        bucket = call.find_bucket(index)
        deleted: list[dict[str, Any]] = []
        errors: list[dict[str, Any]] = []
        for entry, may in zip(wanted, is_allowed, strict=True):
            named: dict[str, Any] = {name: entry[name] for name in ("Key", "VersionId") if name in entry}
            try:
                version = asked_version(entry.get("VersionId"))
                wish = Wish(action_of("DeleteObject", version is not None), entry["Key"], version)
                if not (may and call.may(index, bucket, wish)):
                    raise access_denied()
                gone = _delete(index, bucket, entry["Key"], version, entry.get("ETag"), call.store.now_ms())
            except Fault as fault:
                errors.append(named | {"Code": fault.code, "Message": fault.message})
                continue
            if gone.is_marker:
                named |= {"DeleteMarker": True, "DeleteMarkerVersionId": shown(gone.version or "")}
            deleted.append(named)
        return deleted, errors

    deleted, errors = await call.change(change)
    if call.notes is not None:
        call.notes.deeds += _batch_deeds(call.bucket, deleted, errors)
    return call.answer({"Deleted": [] if document.get("Quiet") else deleted, "Errors": errors})


def _batch_deeds(bucket: str, deleted: list[dict[str, Any]], errors: list[dict[str, Any]]) -> Iterator[Deed]:
    """Each key of a batch, for the log."""
    for entry in deleted:
        version = entry.get("DeleteMarkerVersionId") or entry.get("VersionId", "")
        yield Deed("BATCH.DELETE.OBJECT", bucket, entry["Key"], 204, version)
    for entry in errors:
        status = S3_STATUS.get(entry["Code"], 400)
        yield Deed("BATCH.DELETE.OBJECT", bucket, entry["Key"], status, entry.get("VersionId", ""), entry["Code"])


def check_key(key: str) -> None:
    """Raises `KeyTooLongError` for a key that S3 would not store."""
    if len(key.encode()) > KEY_LIMIT_BYTES:
        raise Fault(
            "KeyTooLongError",
            "Your key is too long",
            Size=str(len(key.encode())),
            MaxSizeAllowed=str(KEY_LIMIT_BYTES),
        )


@dataclass(frozen=True, slots=True)
class _Gone:
    """What a delete did: the version that it removed or the marker that it made (None: no versions are kept)."""

    version: str | None
    is_marker: bool


def _delete(index: apsw.Connection, bucket: Bucket, key: str, version: str | None, etag: str | None, now_ms: int) -> _Gone:
    """Delete a key or one of its versions. Raises `PreconditionFailed` when it does not have the ETag `etag`."""
    if version is None:
        check_delete(versions.find_object(index, bucket, key), etag)
        marker = versions.delete_latest(index, bucket, key, now_ms)
        return _Gone(marker, marker is not None)
    check_delete(versions.find_version(index, bucket, key, version), etag)
    record = versions.delete_version(index, bucket, key, version)
    return _Gone(version, record is not None and record.is_marker)


def _enter(call: Call, traits: Traits, written: WrittenBody, index: apsw.Connection) -> dict[str, str]:
    """The change of PutObject; the headers that only it can tell."""
    bucket = call.own_bucket(index)
    check_grants(index, bucket, traits.grants)
    check_write(versions.find_object(index, bucket, call.key), call.key, call.request.headers)
    traits = with_default(index, bucket, traits)
    now_ms = call.store.now_ms()
    piece = Piece(1, written.body, written.size, written.md5, now_ms, {})
    version = versions.put_object(index, call.store.next_manifest(), bucket, call.key, written.md5, traits, [piece], now_ms)
    return version_headers(bucket, version) | traits.recorded


async def _open(call: Call) -> ObjectReader:
    """A reader of the version of the call, to be closed. Raises what `versions.of_call` raises."""
    reader = await asyncio.wrap_future(call.store.opening(partial(of_call, call)))
    assert reader is not None  # `of_call` raises rather than find nothing
    return reader


def _describe(call: Call, reader: ObjectReader) -> tuple[HttpResponse, int, int]:
    """The answer without its body, and which bytes (first, number) that body would be."""
    record = reader.record
    if call.notes is not None:
        call.notes.size = record.size
    if not_modified(record, call.request.headers):
        headers = {"etag": quoted(record.etag), "last-modified": http_date(record.modified_at_ms)}
        headers |= version_headers(record.bucket, record.version)
        return HttpResponse(304, headers), 0, 0
    headers = object_headers(record) | version_headers(record.bucket, record.version)
    for name, header in OVERRIDES.items():
        if name in call.query:
            headers[header] = call.query[name]
    checksums, checksum_type = record.traits.checksums, record.traits.checksum_type
    status, offset, size = 200, 0, record.size
    if "partNumber" in call.query:
        status = 206
        offset, size, part = _part(call, reader)
        if record.traits.parts:
            headers["x-amz-mp-parts-count"] = str(record.traits.parts)
            checksums, checksum_type = part.checksums, record.traits.checksum_type
    elif part_range := parse_range(call.header("range"), record.size):
        status = 206
        offset, size = part_range
    if status == 206 and record.size:
        headers["content-range"] = f"bytes {offset}-{offset + size - 1}/{record.size}"
    whole = size == record.size or "partNumber" in call.query
    if call.header("x-amz-checksum-mode").upper() == "ENABLED" and whole:
        headers |= checksum_headers(checksums, checksum_type)
    headers["content-length"] = str(size)
    return HttpResponse(status, headers), offset, size


def _part(call: Call, reader: ObjectReader) -> tuple[int, int, Piece]:
    """(first byte, number of bytes, piece) of the part that `partNumber` names: an object that was put at once has one."""
    number = call.number("partNumber", 1, 1, 10_000)
    if call.header("range"):
        raise Fault("InvalidRequest", "Cannot specify both Range header and partNumber query parameter")
    if not reader.record.traits.parts:
        if number == 1:
            return 0, reader.record.size, replace(reader.pieces[0], checksums=reader.record.traits.checksums)
        raise _no_such_part(number, 1)
    for position, piece in enumerate(reader.pieces):
        if piece.number == number:
            return reader.offset_of(position), piece.size, piece
    raise _no_such_part(number, len(reader.pieces))


def _no_such_part(number: int, count: int) -> Fault:
    return Fault(
        "InvalidPartNumber",
        "The requested partnumber is not satisfiable",
        ActualPartCount=str(count),
        PartNumberRequested=str(number),
    )
