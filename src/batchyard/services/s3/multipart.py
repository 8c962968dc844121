"""Multipart uploads: create, upload a part, abort, and the two lists; completing one is in `completion`."""

from __future__ import annotations

import secrets
from functools import partial
from typing import Any

import apsw
import msgspec

from batchyard.model.fault import Fault
from batchyard.services.s3.access import check_grants
from batchyard.services.s3.bodies import receive, refer
from batchyard.services.s3.call import Call, invalid_argument
from batchyard.services.s3.checksums import Announced, announced, check_algorithm
from batchyard.services.s3.encryption import with_default
from batchyard.services.s3.listing import speller
from batchyard.services.s3.objects import check_key
from batchyard.services.s3.traits import checksum_headers, quoted, traits_of
from batchyard.store import objects_keys as keys
from batchyard.store import objects_uploads as uploads
from batchyard.store.objects_bodies import WrittenBody
from batchyard.store.objects_checksums import (
    COMPOSITE_ALGORITHMS,
    FULL_OBJECT_ALGORITHMS,
)
from batchyard.store.objects_records import Piece, Traits, Upload
from batchyard.wire.http import HttpResponse

PART_NUMBER_LIMIT = 10_000
PAGE_LIMIT = 1000


async def create_multipart_upload(call: Call) -> HttpResponse:
    """CreateMultipartUpload."""
    check_key(call.key)
    await call.no_body()
    algorithm = call.header("x-amz-checksum-algorithm").upper()
    traits = msgspec.structs.replace(
        traits_of(call.request.headers),
        checksums={algorithm: ""} if algorithm else {},
        checksum_type=_checksum_type(algorithm, call.header("x-amz-checksum-type").upper()),
    )
    now_ms = call.store.now_ms()
    # ids of one key sort by the time of their creation, as ListMultipartUploads shows them
    upload_id = f"{now_ms:012x}{secrets.token_hex(26)}"

    def change(index: apsw.Connection) -> Traits:
        bucket = call.own_bucket(index)
        check_grants(index, bucket, traits.grants)
        entered = with_default(index, bucket, traits)
        uploads.add_upload(index, call.store.next_manifest(), upload_id, bucket.id, call.key, entered, now_ms)
        return entered

    headers = dict((await call.change(change)).recorded)
    if algorithm:
        headers |= {"x-amz-checksum-algorithm": algorithm, "x-amz-checksum-type": traits.checksum_type}
    return call.answer({"Bucket": call.bucket, "Key": call.key, "UploadId": upload_id}, headers)


async def upload_part(call: Call) -> HttpResponse:
    """UploadPart."""
    number = part_number(call)
    checksum = announced(call.request)
    upload = await call.look(partial(find_upload, call))
    _check_part_algorithm(upload, checksum)
    writer, written = await receive(call, checksum, upload.algorithm)
    await refer(call, writer, partial(enter_part, call, number, written))
    return HttpResponse(200, {"etag": quoted(written.md5)} | checksum_headers(written.checksums, "") | upload.traits.recorded)


def enter_part(call: Call, number: int, written: WrittenBody, index: apsw.Connection) -> Piece:
    """Enter what was written as part `number` of the upload of the call; the change of UploadPart and UploadPartCopy."""
    upload = find_upload(call, index)
    piece = Piece(number, written.body, written.size, written.md5, call.store.now_ms(), written.checksums)
    keys.put_piece(index, upload.manifest, piece)
    return piece


async def abort_multipart_upload(call: Call) -> HttpResponse:
    """AbortMultipartUpload."""
    await call.change(lambda index: uploads.abort_upload(index, find_upload(call, index)))
    return HttpResponse(204)


async def list_parts(call: Call) -> HttpResponse:
    """ListParts."""
    limit = call.number("max-parts", PAGE_LIMIT, 0, PAGE_LIMIT)
    after = call.number("part-number-marker", 0, 0, 2**31 - 1)

    def question(index: apsw.Connection) -> tuple[Upload, list[Piece]]:
        upload = find_upload(call, index)
        return upload, keys.pieces_of(index, upload.manifest, after, limit + 1)

    upload, found = await call.look(question)
    pieces = found[:limit]
    result: dict[str, Any] = {
        "Bucket": call.bucket,
        "Key": call.key,
        "UploadId": upload.id,
        "PartNumberMarker": after,
        "NextPartNumberMarker": pieces[-1].number if pieces else 0,
        "MaxParts": limit,
        "IsTruncated": len(found) > limit and limit > 0,
        "Parts": [_part_element(piece) for piece in pieces],
        "Initiator": call.owner(upload.bucket.account),
        "Owner": call.owner(upload.bucket.account),
        "StorageClass": upload.traits.storage_class,
    }
    if upload.algorithm:
        result |= {"ChecksumAlgorithm": upload.algorithm, "ChecksumType": upload.traits.checksum_type}
    return call.answer(result)


async def list_multipart_uploads(call: Call) -> HttpResponse:
    """ListMultipartUploads."""
    limit = call.number("max-uploads", PAGE_LIMIT, 1, PAGE_LIMIT)
    prefix, delimiter = call.query.get("prefix", ""), call.query.get("delimiter", "")
    key_marker, id_marker = call.query.get("key-marker", ""), call.query.get("upload-id-marker", "")
    page = await call.look(
        lambda index: uploads.list_uploads(index, call.own_bucket(index), prefix, delimiter, key_marker, id_marker, limit)
    )
    spell = speller(call)
    result: dict[str, Any] = {
        "Bucket": call.bucket,
        "KeyMarker": spell(key_marker),
        "UploadIdMarker": id_marker,
        "Prefix": spell(prefix),
        "MaxUploads": limit,
        "IsTruncated": page.truncated,
        "Uploads": [_upload_element(call, upload, spell(upload.key)) for upload in page.uploads],
        "CommonPrefixes": [{"Prefix": spell(common)} for common in page.common_prefixes],
    }
    if delimiter:
        result["Delimiter"] = spell(delimiter)
    if call.query.get("encoding-type"):
        result["EncodingType"] = call.query["encoding-type"]
    if page.truncated:
        result |= {"NextKeyMarker": spell(page.last_key), "NextUploadIdMarker": page.last_id}
    return call.answer(result)


def find_upload(call: Call, index: apsw.Connection) -> Upload:
    """The upload of the call. Raises `NoSuchBucket`, `AccessDenied`, `NoSuchUpload`."""
    upload = uploads.find_upload(index, call.own_bucket(index), call.key, call.query["uploadId"])
    if upload is None:
        raise no_such_upload(call)
    return upload


def part_number(call: Call) -> int:
    """The part number in the query. Raises `InvalidArgument`."""
    text = call.query.get("partNumber", "")
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= PART_NUMBER_LIMIT):
        raise invalid_argument(f"Part number must be an integer between 1 and {PART_NUMBER_LIMIT}, inclusive", "partNumber", text)
    return int(text)


def _checksum_type(algorithm: str, asked: str) -> str:
    """COMPOSITE or FULL_OBJECT, "" without an algorithm. Raises `InvalidRequest` for what the algorithm cannot be."""
    if not algorithm:
        if asked:
            raise Fault("InvalidRequest", "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header.")
        return ""
    check_algorithm(algorithm)
    chosen = asked or ("COMPOSITE" if algorithm in COMPOSITE_ALGORITHMS else "FULL_OBJECT")
    possible = {"COMPOSITE": COMPOSITE_ALGORITHMS, "FULL_OBJECT": FULL_OBJECT_ALGORITHMS}
    if chosen not in possible:
        raise invalid_argument("Value for x-amz-checksum-type header is invalid.", "x-amz-checksum-type", asked)
    if algorithm not in possible[chosen]:
        raise Fault("InvalidRequest", f"The {chosen} checksum type cannot be used with the {algorithm.lower()} checksum algorithm.")
    return chosen


def _check_part_algorithm(upload: Upload, checksum: Announced) -> None:
    """A part's checksum must be of the algorithm that its upload was created with."""
    named = checksum.algorithm
    if named and upload.algorithm and named != upload.algorithm:
        raise Fault(
            "InvalidRequest",
            f"Checksum Type mismatch occurred, expected checksum Type: {upload.algorithm.lower()}, actual checksum Type: {named.lower()}",
        )


def no_such_upload(call: Call) -> Fault:
    """S3's 404 for an upload."""
    return Fault(
        "NoSuchUpload",
        "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.",
        UploadId=call.query["uploadId"],
    )


def _part_element(piece: Piece) -> dict[str, Any]:
    element: dict[str, Any] = {
        "PartNumber": piece.number,
        "LastModified": piece.modified_at_ms / 1000,
        "ETag": quoted(piece.etag),
        "Size": piece.size,
    }
    return element | {f"Checksum{name}": value for name, value in piece.checksums.items()}


def _upload_element(call: Call, upload: Upload, key: str) -> dict[str, Any]:
    element: dict[str, Any] = {
        "Key": key,
        "UploadId": upload.id,
        "Initiator": call.owner(upload.bucket.account),
        "Owner": call.owner(upload.bucket.account),
        "StorageClass": upload.traits.storage_class,
        "Initiated": upload.initiated_at_ms / 1000,
    }
    if upload.algorithm:
        element |= {"ChecksumAlgorithm": upload.algorithm, "ChecksumType": upload.traits.checksum_type}
    return element
