"""CompleteMultipartUpload: the parts that the request names become the object where they lie."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import apsw
import msgspec

from batchyard.model.fault import Fault
from batchyard.services.s3.call import Call
from batchyard.services.s3.checksums import CHECKSUM_PREFIX
from batchyard.services.s3.conditions import check_write
from batchyard.services.s3.multipart import no_such_upload
from batchyard.services.s3.traits import quoted
from batchyard.services.s3.versions import version_headers
from batchyard.store import objects_keys as keys
from batchyard.store import objects_uploads as uploads
from batchyard.store.objects_checksums import composite, etag_of_parts, full_object
from batchyard.store.objects_records import Piece, Traits, Upload
from batchyard.store.objects_versions import find_manifest, find_object
from batchyard.wire.http import HttpResponse

SMALLEST_PART_BYTES = 5 * 1024 * 1024


async def complete_multipart_upload(call: Call) -> HttpResponse:
    """CompleteMultipartUpload: the parts become the object where they lie. Asked again within a day, it answers the same."""
    wanted: list[dict[str, Any]] = (await call.document()).get("MultipartUpload", {}).get("Parts", [])
    if not wanted:
        raise Fault("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
    etag, traits, headers = await call.change(partial(_complete, call, wanted))
    place = f"http://{call.header('host')}/{call.bucket}/{quote(call.key)}"
    result: dict[str, Any] = {"Location": place, "Bucket": call.bucket, "Key": call.key, "ETag": quoted(etag)}
    result |= {f"Checksum{name}": value for name, value in traits.checksums.items()}
    if traits.checksums:
        result["ChecksumType"] = traits.checksum_type
    return call.answer(result, headers | traits.recorded)


@dataclass(frozen=True, slots=True)
class _Whole:
    """What the chosen parts make: size, ETag, traits, and the numbers of the parts that were not chosen."""

    size: int
    etag: str
    traits: Traits
    unused: list[int]


def _complete(call: Call, wanted: list[dict[str, Any]], index: apsw.Connection) -> tuple[str, Traits, dict[str, str]]:
    """The change of CompleteMultipartUpload: (ETag, traits, the header that names the version) of the object."""
    bucket = call.own_bucket(index)
    record = find_object(index, bucket, call.key)
    upload = uploads.find_upload(index, bucket, call.key, call.query["uploadId"])
    if upload is None:
        completed = uploads.completed_upload(index, bucket, call.key, call.query["uploadId"])
        if completed is None:
            raise no_such_upload(call)
        made = find_manifest(index, bucket, call.key, completed[1])
        return completed[0], made.traits if made else Traits(), version_headers(bucket, made.version if made else None)
    check_write(record, call.key, call.request.headers)
    whole = _assemble(call, upload, wanted, {piece.number: piece for piece in keys.pieces_of(index, upload.manifest)})
    now_ms = call.store.now_ms()
    version = uploads.complete_upload(index, upload, whole.unused, whole.size, whole.etag, whole.traits, now_ms)
    return whole.etag, whole.traits, version_headers(bucket, version)


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
    if call.notes is not None:
        call.notes.size = size
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
