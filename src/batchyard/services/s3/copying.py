"""CopyObject and UploadPartCopy. A copy of a whole object shares its bodies: the index gets new rows, the disk no new bytes."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import apsw
import msgspec

from batchyard.model.fault import Fault
from batchyard.services.s3.access import Wish, check_grants
from batchyard.services.s3.access_lines import Deed
from batchyard.services.s3.actions import action_of
from batchyard.services.s3.bodies import refer
from batchyard.services.s3.call import Call, invalid_argument
from batchyard.services.s3.checksums import check_algorithm
from batchyard.services.s3.conditions import check_copy_source, check_write
from batchyard.services.s3.encryption import with_default
from batchyard.services.s3.multipart import enter_part, find_upload, part_number
from batchyard.services.s3.objects import check_key
from batchyard.services.s3.ranges import parse_copy_range
from batchyard.services.s3.route import decode_key
from batchyard.services.s3.traits import content_headers, metadata_of, quoted, traits_of
from batchyard.services.s3.versions import MarkerFault, asked_version, find_told, shown, version_headers
from batchyard.store import objects_keys as keys
from batchyard.store.objects_bodies import BodyWriter, WrittenBody
from batchyard.store.objects_checksums import in_base64, new_checksum
from batchyard.store.objects_reader import ObjectReader
from batchyard.store.objects_records import ObjectRecord, Traits
from batchyard.store.objects_versions import find_object, place_object
from batchyard.wire.http import HttpResponse

COPY_BYTES = 1024 * 1024
PART_LIMIT_BYTES = 5 * 1024**3
_DIRECTIVES = ("", "COPY", "REPLACE")


@dataclass(frozen=True, slots=True)
class Source:
    """What `x-amz-copy-source` names; `version` is None for what the key shows now, "" for the null version."""

    bucket: str
    key: str
    version: str | None = None


async def copy_object(call: Call) -> HttpResponse:
    """CopyObject. The copy of a multipart object keeps its ETag and its parts."""
    check_key(call.key)
    await call.no_body()
    source = source_of(call)
    wanted = traits_of(call.request.headers)
    algorithm = call.header("x-amz-checksum-algorithm").upper()
    if algorithm:
        check_algorithm(algorithm)
    checksums = await _checksums_for(call, source, algorithm) if algorithm else None
    record, traits, headers = await call.change(partial(_copy, call, source, wanted, checksums))
    _note_source(call, record, "REST.COPY.OBJECT_GET")
    result: dict[str, Any] = {"ETag": quoted(record.etag), "LastModified": record.modified_at_ms / 1000}
    result |= {f"Checksum{name}": value for name, value in traits.checksums.items()}
    if traits.checksums:
        result["ChecksumType"] = traits.checksum_type
    return call.answer({"CopyObjectResult": result}, headers | traits.recorded)


async def upload_part_copy(call: Call) -> HttpResponse:
    """UploadPartCopy: a range of an object, or all of it, as a part."""
    number = part_number(call)
    await call.no_body()
    source = source_of(call)
    upload = await call.look(partial(find_upload, call))
    reader = await _open(call, source)
    try:
        check_copy_source(reader.record, call.request.headers)
        offset, size = 0, reader.record.size
        if call.header("x-amz-copy-source-range"):
            offset, size = parse_copy_range(call.header("x-amz-copy-source-range"), reader.record.size)
        if size > PART_LIMIT_BYTES:
            raise Fault(
                "InvalidRequest",
                f"The specified copy source is larger than the maximum allowable size for a copy source: {PART_LIMIT_BYTES}",
            )
        writer = await call.work(call.store.new_body, {upload.algorithm} - {""})
        try:
            written = await _copy_bytes(call, reader, offset, size, writer)
        except BaseException:
            call.store.work(writer.abandon)
            raise
    finally:
        call.store.work(reader.close)
    piece = await refer(call, writer, partial(enter_part, call, number, written))
    _note_source(call, reader.record, "REST.COPY.PART_GET")
    result: dict[str, Any] = {"ETag": quoted(piece.etag), "LastModified": piece.modified_at_ms / 1000}
    result |= {f"Checksum{name}": value for name, value in piece.checksums.items()}
    return call.answer({"CopyPartResult": result}, _source_headers(reader.record) | upload.traits.recorded)


def _note_source(call: Call, record: ObjectRecord, operation: str) -> None:
    """The log of the source's bucket hears of a copy too."""
    if call.notes is not None:
        version = shown(record.version) if record.bucket.versioning else ""
        call.notes.size = record.size
        call.notes.deeds.append(Deed(operation, record.bucket.name, record.key, 200, version, size=record.size))


def source_of(call: Call) -> Source:
    """The object in `x-amz-copy-source`: `bucket/key` or `/bucket/key`, percent-encoded. Raises `InvalidArgument`."""
    text = call.header("x-amz-copy-source")
    path, mark, version = text.partition("?versionId=")
    bucket, _, key = path.removeprefix("/").partition("/")
    if "/" not in path.removeprefix("/"):
        bucket, _, key = decode_key(path).removeprefix("/").partition("/")
    else:
        bucket, key = decode_key(bucket), decode_key(key)
    if not bucket or not key:
        raise invalid_argument("Copy Source must mention the source bucket and key: sourcebucket/sourcekey", "x-amz-copy-source", text)
    if bucket.startswith("arn:"):
        raise invalid_argument("Copy sources by ARN (access points) are not served", "x-amz-copy-source", text)
    return Source(bucket, key, asked_version(version if mark else None))


def _copy(
    call: Call, source: Source, wanted: Traits, checksums: tuple[int, dict[str, str]] | None, index: apsw.Connection
) -> tuple[ObjectRecord, Traits, dict[str, str]]:
    """The change of CopyObject: (the source with the date of the copy, the traits of the copy, headers that name both versions)."""
    bucket = call.own_bucket(index)
    check_grants(index, bucket, wanted.grants)
    record = _find(call, source, index)
    check_copy_source(record, call.request.headers)
    existing = find_object(index, bucket, call.key)
    check_write(existing, call.key, call.request.headers)
    traits = with_default(index, bucket, _merged(call, record, wanted))
    if existing is not None and existing.manifest == record.manifest and not _changes(call, record, traits, wanted):
        raise Fault(
            "InvalidRequest",
            "This copy request is illegal because it is trying to copy an object to itself without changing the object's"
            " metadata, storage class, website redirect location or encryption attributes.",
        )
    if checksums is not None:
        manifest, values = checksums
        if manifest != record.manifest:
            raise Fault("ConditionalRequestConflict", "The copy source changed while it was being copied. Try again.")
        traits = msgspec.structs.replace(traits, checksums=values, checksum_type="FULL_OBJECT")
    now_ms = call.store.now_ms()
    pieces = [replace(piece, modified_at_ms=now_ms) for piece in keys.pieces_of(index, record.manifest)]
    manifest = call.store.next_manifest()
    for piece in pieces:
        keys.put_piece(index, manifest, piece)
    version = place_object(index, manifest, bucket, call.key, record.size, record.etag, traits, now_ms)
    return replace(record, modified_at_ms=now_ms), traits, version_headers(bucket, version) | _source_headers(record)


def _merged(call: Call, record: ObjectRecord, wanted: Traits) -> Traits:
    """The traits of the copy: metadata and tags from the source or from the request, as the directives say."""
    traits = msgspec.structs.replace(record.traits, storage_class=wanted.storage_class, recorded=wanted.recorded, grants=wanted.grants)
    if _directive(call, "x-amz-metadata-directive") == "REPLACE":
        headers = call.request.headers
        traits = msgspec.structs.replace(traits, headers=content_headers(headers), metadata=metadata_of(headers))
    if _directive(call, "x-amz-tagging-directive") == "REPLACE":
        traits = msgspec.structs.replace(traits, tags=wanted.tags)
    return traits


def _changes(call: Call, record: ObjectRecord, traits: Traits, wanted: Traits) -> bool:
    """Whether a copy onto itself is legal: something about the object is set anew."""
    return (
        _directive(call, "x-amz-metadata-directive") == "REPLACE"
        or bool(wanted.recorded)
        or traits.storage_class != record.traits.storage_class
    )


def _directive(call: Call, name: str) -> str:
    value = call.header(name).upper()
    if value not in _DIRECTIVES:
        raise invalid_argument(f"Unknown {name.removeprefix('x-amz-').replace('-', ' ')}.", name, call.header(name))
    return value


def _find(call: Call, source: Source, index: apsw.Connection) -> ObjectRecord:
    """Raises what `versions.find_told` raises, but for a delete marker `InvalidRequest`, as S3 does."""
    try:
        wish = Wish(action_of("GetObject", source.version is not None), source.key, source.version)
        return find_told(call, index, call.own_bucket(index, source.bucket, wish), source.key, source.version)
    except MarkerFault as fault:
        if fault.code != "MethodNotAllowed":
            raise
        raise Fault("InvalidRequest", "The source of a copy request may not specifically refer to a delete marker by version id.") from None


def _source_headers(record: ObjectRecord) -> dict[str, str]:
    return {"x-amz-copy-source-version-id": shown(record.version)} if record.bucket.versioning else {}


async def _open(call: Call, source: Source) -> ObjectReader:
    reader = await asyncio.wrap_future(call.store.opening(partial(_find, call, source)))
    assert reader is not None  # `_find` raises rather than find nothing
    return reader


async def _checksums_for(call: Call, source: Source, algorithm: str) -> tuple[int, dict[str, str]]:
    """(manifest of the source, its checksum of all bytes by `algorithm`), read from the bytes unless it is known."""
    reader = await _open(call, source)
    try:
        traits = reader.record.traits
        if algorithm in traits.checksums and traits.checksum_type == "FULL_OBJECT":
            return reader.record.manifest, {algorithm: traits.checksums[algorithm]}
        checksum = new_checksum(algorithm)
        for offset in range(0, reader.record.size, COPY_BYTES):
            checksum.update(await call.work(reader.read, offset, COPY_BYTES))
        return reader.record.manifest, {algorithm: in_base64(checksum)}
    finally:
        call.store.work(reader.close)


async def _copy_bytes(call: Call, reader: ObjectReader, offset: int, size: int, writer: BodyWriter) -> WrittenBody:
    def copy(start: int, length: int) -> None:
        writer.write(reader.read(start, length))

    for start in range(offset, offset + size, COPY_BYTES):
        await call.work(copy, start, min(COPY_BYTES, offset + size - start))
    return await call.work(writer.finish)
