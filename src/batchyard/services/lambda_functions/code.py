"""The code of a function: where it comes from, and whether it can be run."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import zipfile
from functools import partial
from typing import Any, NamedTuple

import apsw

from batchyard.services import Params
from batchyard.services.lambda_functions.names import invalid
from batchyard.store import objects_keys
from batchyard.store import objects_versions as versions
from batchyard.store.objects_records import ObjectRecord

ZIPPED_BYTES = 50 * 1024 * 1024
UNZIPPED_BYTES = 262_144_000
_CANNOT_GET = "Error occurred while GetObject. S3 Error Code: {}. S3 Error Message: {}"


class Code(NamedTuple):
    """A zip archive and its SHA-256 as Lambda shows it."""

    archive: bytes
    sha256: str


async def code_of(desk: Any, params: Params) -> Code:
    """The archive that a request brings or points to. InvalidParameterValueException when it is none."""
    for member in ("ImageUri", "SourceKMSKeyArn"):
        if params.get(member):
            raise invalid(f"{member}: not available in this version of Batchyard; leave it out.")
    if params.get("S3ObjectStorageMode", "COPY") != "COPY":
        raise invalid("S3ObjectStorageMode: the code is always copied; use COPY or leave it out.")
    has_zip, has_object = params.get("ZipFile") is not None, bool(params.get("S3Bucket") or params.get("S3Key"))
    if has_zip and has_object:
        raise invalid("Please do not provide other FunctionCode parameters when providing a ZipFile.")
    if has_zip:
        archive = bytes(params["ZipFile"])
    elif params.get("S3Bucket") and params.get("S3Key"):
        archive = await _object(desk, params["S3Bucket"], params["S3Key"], params.get("S3ObjectVersion"))
    else:
        raise invalid("Please provide a source for function code.")
    await asyncio.to_thread(_check, archive)
    return Code(archive, base64.b64encode(hashlib.sha256(archive).digest()).decode())


async def _object(desk: Any, bucket: str, key: str, version: str | None) -> bytes:
    reader = await asyncio.wrap_future(desk.objects.opening(partial(_find, bucket, key, version)))
    if reader is None:
        raise invalid(_CANNOT_GET.format("NoSuchKey", "The specified key does not exist."))
    try:
        if reader.record.size > ZIPPED_BYTES:
            raise invalid(f"S3Key: the archive has {reader.record.size} bytes; at most {ZIPPED_BYTES} can be taken here.")
        return bytes(await asyncio.wrap_future(desk.objects.work(reader.read, 0, reader.record.size)))
    finally:
        desk.objects.work(reader.close)


def _find(bucket_name: str, key: str, version: str | None, index: apsw.Connection) -> ObjectRecord | None:
    bucket = objects_keys.find_bucket(index, bucket_name)
    if bucket is None:
        raise invalid(_CANNOT_GET.format("NoSuchBucket", "The specified bucket does not exist"))
    if version is None:
        return versions.find_object(index, bucket, key)
    record = versions.find_version(index, bucket, key, "" if version == "null" else version)
    return None if record is None or record.is_marker else record


def _check(archive: bytes) -> None:
    if len(archive) > ZIPPED_BYTES:
        raise invalid(f"ZipFile: the archive has {len(archive)} bytes; at most {ZIPPED_BYTES} can be taken.")
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as opened:
            entries = opened.infolist()
    except (zipfile.BadZipFile, ValueError, OSError):
        raise invalid("Could not unzip uploaded file. Please check your file, then try to upload again.") from None
    if not entries:
        raise invalid("Uploaded file must be a non-empty zip")
    if sum(entry.file_size for entry in entries) > UNZIPPED_BYTES:
        raise invalid(f"Unzipped size must be smaller than {UNZIPPED_BYTES} bytes")
