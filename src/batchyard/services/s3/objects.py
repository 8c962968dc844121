"""PutObject, GetObject, HeadObject, DeleteObject and DeleteObjects."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import Any

import apsw
import msgspec

from batchyard.model.fault import Fault
from batchyard.services.s3.bodies import READ_BYTES, receive, refer, stream
from batchyard.services.s3.call import Call, http_date, invalid_argument, no_such_key
from batchyard.services.s3.checksums import announced
from batchyard.services.s3.conditions import check_delete, check_write, not_modified
from batchyard.services.s3.ranges import parse_range
from batchyard.services.s3.traits import checksum_headers, object_headers, quoted, traits_of
from batchyard.store import objects_keys as keys
from batchyard.store.objects_bodies import WrittenBody
from batchyard.store.objects_reader import ObjectReader
from batchyard.store.objects_records import Piece, Traits
from batchyard.wire.http import HttpResponse

KEY_LIMIT_BYTES = 1024
DELETE_LIMIT = 1000

# query of a presigned GET -> header of the answer
_OVERRIDES = {
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


async def put_object(call: Call) -> HttpResponse:
    """PutObject."""
    check_key(call.key)
    traits, checksum = traits_of(call.request.headers), announced(call.request)

    def check(index: apsw.Connection) -> None:
        bucket = call.own_bucket(index)
        check_write(keys.find_object(index, bucket, call.key), call.key, call.request.headers)

    await call.look(check)
    writer, written = await receive(call, checksum)
    traits = msgspec.structs.replace(traits, checksums=written.checksums, checksum_type="FULL_OBJECT" if written.checksums else "")
    await refer(call, writer, partial(_enter, call, traits, written))
    headers = {"etag": quoted(written.md5)} | checksum_headers(traits.checksums, traits.checksum_type) | traits.recorded
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
    """DeleteObject; an object that is not there is deleted as well."""
    check_version(call)

    def change(index: apsw.Connection) -> None:
        bucket = call.own_bucket(index)
        check_delete(keys.find_object(index, bucket, call.key), call.request.headers.get("if-match"))
        keys.remove_object(index, bucket.id, call.key)

    await call.change(change)
    return HttpResponse(204)


async def delete_objects(call: Call) -> HttpResponse:
    """DeleteObjects: up to 1000 keys, each with its own outcome."""
    document = (await call.document()).get("Delete", {})
    wanted: list[dict[str, Any]] = document.get("Objects", [])
    if not wanted or len(wanted) > DELETE_LIMIT:
        raise Fault(
            "MalformedXML",
            "The XML you provided was not well-formed or did not validate against our published schema:"
            f" Delete.Object must hold 1 to {DELETE_LIMIT} keys",
        )

    def change(index: apsw.Connection) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
        bucket = call.own_bucket(index)
        deleted, errors = [], []
        for entry in wanted:
            key = entry["Key"]
            try:
                if entry.get("VersionId", "null") != "null":
                    raise Fault("NoSuchVersion", "The specified version does not exist.")
                check_delete(keys.find_object(index, bucket, key), entry.get("ETag"))
            except Fault as fault:
                errors.append({"Key": key, "Code": fault.code, "Message": fault.message})
                continue
            keys.remove_object(index, bucket.id, key)
            deleted.append({"Key": key})
        return deleted, errors

    deleted, errors = await call.change(change)
    return call.answer({"Deleted": [] if document.get("Quiet") else deleted, "Errors": errors})


def check_key(key: str) -> None:
    """Raises `KeyTooLongError` for a key that S3 would not store."""
    if len(key.encode()) > KEY_LIMIT_BYTES:
        raise Fault(
            "KeyTooLongError",
            "Your key is too long",
            Size=str(len(key.encode())),
            MaxSizeAllowed=str(KEY_LIMIT_BYTES),
        )


def check_version(call: Call) -> None:
    """Versions are not kept: every object has the version `null`. Raises `InvalidArgument` for any other."""
    version = call.query.get("versionId", "null")
    if version != "null":
        raise invalid_argument("Invalid version id specified", "versionId", version)


def _enter(call: Call, traits: Traits, written: WrittenBody, index: apsw.Connection) -> None:
    bucket = call.own_bucket(index)
    check_write(keys.find_object(index, bucket, call.key), call.key, call.request.headers)
    now_ms = call.store.now_ms()
    piece = Piece(1, written.body, written.size, written.md5, now_ms, {})
    keys.put_object(index, call.store.next_manifest(), bucket.id, call.key, written.md5, traits, [piece], now_ms)


async def _open(call: Call) -> ObjectReader:
    """A reader of the object of the call, to be closed. Raises `NoSuchBucket`, `AccessDenied`, `NoSuchKey`."""
    check_version(call)
    reader = await asyncio.wrap_future(call.store.opening(call.bucket, call.key))
    if reader is None:
        await call.look(call.own_bucket)
        raise no_such_key(call.key)
    call.check_owner(reader.record.bucket)
    return reader


def _describe(call: Call, reader: ObjectReader) -> tuple[HttpResponse, int, int]:
    """The answer without its body, and which bytes (first, number) that body would be."""
    record = reader.record
    if not_modified(record, call.request.headers):
        headers = {"etag": quoted(record.etag), "last-modified": http_date(record.modified_at_ms)}
        return HttpResponse(304, headers), 0, 0
    headers = object_headers(record)
    for name, header in _OVERRIDES.items():
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
