"""Multipart uploads: create, upload a part, complete, abort, and the two lists."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import apsw
import msgspec

from batchyard.model.fault import Fault
from batchyard.services.s3.bodies import receive, refer
from batchyard.services.s3.call import Call, invalid_argument
from batchyard.services.s3.checksums import CHECKSUM_PREFIX, Announced, announced, check_algorithm
from batchyard.services.s3.conditions import check_write
from batchyard.services.s3.listing import speller
from batchyard.services.s3.objects import check_key
from batchyard.services.s3.traits import checksum_headers, quoted, traits_of
from batchyard.store import objects_keys as keys
from batchyard.store import objects_uploads as uploads
from batchyard.store.objects_bodies import WrittenBody
from batchyard.store.objects_checksums import (
    COMPOSITE_ALGORITHMS,
    FULL_OBJECT_ALGORITHMS,
    composite,
    etag_of_parts,
    full_object,
)
from batchyard.store.objects_records import Piece, Traits, Upload
from batchyard.wire.http import HttpResponse

PART_NUMBER_LIMIT = 10_000
SMALLEST_PART_BYTES = 5 * 1024 * 1024
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

    def change(index: apsw.Connection) -> None:
        bucket = call.own_bucket(index)
        uploads.add_upload(index, call.store.next_manifest(), upload_id, bucket.id, call.key, traits, now_ms)

    await call.change(change)
    headers = dict(traits.recorded)
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


async def complete_multipart_upload(call: Call) -> HttpResponse:
    """CompleteMultipartUpload: the parts become the object where they lie. Asked again within a day, it answers the same."""
    wanted: list[dict[str, Any]] = (await call.document()).get("MultipartUpload", {}).get("Parts", [])
    if not wanted:
        raise Fault("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
    etag, traits = await call.change(partial(_complete, call, wanted))
    place = f"http://{call.header('host')}/{call.bucket}/{quote(call.key)}"
    result: dict[str, Any] = {"Location": place, "Bucket": call.bucket, "Key": call.key, "ETag": quoted(etag)}
    result |= {f"Checksum{name}": value for name, value in traits.checksums.items()}
    if traits.checksums:
        result["ChecksumType"] = traits.checksum_type
    return call.answer(result, dict(traits.recorded))


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
        raise _no_such_upload(call)
    return upload


def part_number(call: Call) -> int:
    """The part number in the query. Raises `InvalidArgument`."""
    text = call.query.get("partNumber", "")
    if not (text.isascii() and text.isdigit() and len(text) <= 5 and 1 <= int(text) <= PART_NUMBER_LIMIT):
        raise invalid_argument(f"Part number must be an integer between 1 and {PART_NUMBER_LIMIT}, inclusive", "partNumber", text)
    return int(text)


@dataclass(frozen=True, slots=True)
class _Whole:
    """What the chosen parts make: size, ETag, traits, and the numbers of the parts that were not chosen."""

    size: int
    etag: str
    traits: Traits
    unused: list[int]


def _complete(call: Call, wanted: list[dict[str, Any]], index: apsw.Connection) -> tuple[str, Traits]:
    """The change of CompleteMultipartUpload: (ETag, traits) of the object."""
    bucket = call.own_bucket(index)
    record = keys.find_object(index, bucket, call.key)
    upload = uploads.find_upload(index, bucket, call.key, call.query["uploadId"])
    if upload is None:
        etag = uploads.completed_etag(index, bucket, call.key, call.query["uploadId"])
        if etag is None:
            raise _no_such_upload(call)
        return etag, record.traits if record and record.etag == etag else Traits()
    check_write(record, call.key, call.request.headers)
    whole = _assemble(call, upload, wanted, {piece.number: piece for piece in keys.pieces_of(index, upload.manifest)})
    now_ms = call.store.now_ms()
    uploads.complete_upload(index, upload, whole.unused, whole.size, whole.etag, whole.traits, now_ms)
    return whole.etag, whole.traits


def _assemble(call: Call, upload: Upload, wanted: list[dict[str, Any]], there: dict[int, Piece]) -> _Whole:
    """What the `wanted` parts make of those that are `there`. Raises `InvalidPart`, `InvalidPartOrder`, `EntityTooSmall`,
    `InvalidRequest` or `BadDigest`."""
    numbers = [part.get("PartNumber", 0) for part in wanted]
    if any(later <= earlier for earlier, later in pairwise(numbers)):
        raise Fault(
            "InvalidPartOrder",
            "The list of parts was not in ascending order. The parts list must be specified in order by part number.",
            UploadId=upload.id,
        )
    chosen = [_chosen(upload, part, there.get(number)) for number, part in zip(numbers, wanted, strict=True)]
    for piece in chosen[:-1]:
        if piece.size < SMALLEST_PART_BYTES:
            raise Fault(
                "EntityTooSmall",
                "Your proposed upload is smaller than the minimum allowed size",
                ProposedSize=str(piece.size),
                MinSizeAllowed=str(SMALLEST_PART_BYTES),
                PartNumber=str(piece.number),
                ETag=piece.etag,
            )
    size = sum(piece.size for piece in chosen)
    promised = call.header("x-amz-mp-object-size")
    if promised and promised != str(size):
        raise Fault(
            "InvalidRequest",
            f"The provided 'x-amz-mp-object-size' header value {promised} does not match what was computed: {size}",
        )
    traits = msgspec.structs.replace(upload.traits, checksums=_checksums(call, upload, chosen), parts=len(chosen))
    return _Whole(size, etag_of_parts([piece.etag for piece in chosen]), traits, sorted(set(there) - set(numbers)))


def _chosen(upload: Upload, part: dict[str, Any], piece: Piece | None) -> Piece:
    """The piece that an element of the request names, if it is there as named."""
    if piece is None or part.get("ETag", "").strip('"') != piece.etag:
        raise Fault(
            "InvalidPart",
            "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified"
            " entity tag may not match the part's entity tag.",
            UploadId=upload.id,
            PartNumber=str(part.get("PartNumber", "")),
            ETag=part.get("ETag", "").strip('"'),
        )
    for name, value in piece.checksums.items():
        if part.get(f"Checksum{name}", value) != value:
            raise Fault(
                "InvalidPart",
                "One or more of the specified parts could not be found.  The part may not have been uploaded, or the specified"
                " checksum may not match the part's checksum.",
                UploadId=upload.id,
                PartNumber=str(piece.number),
            )
    return piece


def _checksums(call: Call, upload: Upload, chosen: list[Piece]) -> dict[str, str]:
    """The checksum of the whole, if the upload has an algorithm; compared with what the request promises."""
    algorithm = upload.algorithm
    asked_type = call.header("x-amz-checksum-type").upper()
    if asked_type and algorithm and asked_type != upload.traits.checksum_type:
        raise Fault(
            "InvalidRequest",
            f"The upload was created using the {upload.traits.checksum_type} checksum mode. The complete request must use the"
            " same checksum mode.",
        )
    if not algorithm:
        return {}
    if upload.traits.checksum_type == "COMPOSITE":
        value = composite(algorithm, [piece.checksums[algorithm] for piece in chosen])
    else:
        value = full_object(algorithm, [(piece.checksums[algorithm], piece.size) for piece in chosen])
    promised = call.header(f"{CHECKSUM_PREFIX}{algorithm.lower()}")
    if promised and promised.partition("-")[0] != value.partition("-")[0]:
        raise Fault("BadDigest", f"The {algorithm} you specified did not match the calculated checksum.")
    return {algorithm: value}


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


def _no_such_upload(call: Call) -> Fault:
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
