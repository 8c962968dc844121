"""Multipart uploads in the index.

An upload's parts are pieces of a manifest; completing the upload gives that manifest a key and moves no byte.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import apsw

from .objects_keys import release
from .objects_listing import successor
from .objects_records import Bucket, Traits, Upload, pack_traits, unpack_traits
from .objects_versions import place_object

# how long a repeated CompleteMultipartUpload is answered as the first one was
COMPLETED_KEPT_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class UploadPage:
    """One page of ListMultipartUploads; `last_key` and `last_id` are where the next one starts."""

    uploads: list[Upload]
    common_prefixes: list[str]
    truncated: bool
    last_key: str
    last_id: str


def add_upload(index: apsw.Connection, manifest: int, upload_id: str, bucket: int, key: str, traits: Traits, now_ms: int) -> None:
    """Begin a multipart upload."""
    query = "INSERT INTO upload (manifest, id, bucket, key, initiated_at_ms, traits) VALUES (?, ?, ?, ?, ?, ?)"
    index.execute(query, (manifest, upload_id, bucket, key, now_ms, pack_traits(traits)))


def find_upload(index: apsw.Connection, bucket: Bucket, key: str, upload_id: str) -> Upload | None:
    """The upload in progress of that id at that key, or None."""
    query = "SELECT manifest, initiated_at_ms, traits FROM upload WHERE id = ? AND bucket = ? AND key = ?"
    for manifest, initiated_at_ms, traits in list(index.execute(query, (upload_id, bucket.id, key))):
        return Upload(manifest, upload_id, bucket, key, initiated_at_ms, unpack_traits(traits))
    return None


def abort_upload(index: apsw.Connection, upload: Upload) -> None:
    """End an upload and make garbage of its parts."""
    release(index, upload.manifest)
    index.execute("DELETE FROM upload WHERE manifest = ?", (upload.manifest,))


def complete_upload(
    index: apsw.Connection, upload: Upload, unused: Iterable[int], size: int, etag: str, traits: Traits, now_ms: int
) -> str:
    """Let the upload's manifest, without the part numbers `unused`, be the object at its key; the id of the version."""
    for number in unused:
        release(index, upload.manifest, number)
    version = place_object(index, upload.manifest, upload.bucket, upload.key, size, etag, traits, now_ms)
    index.execute("DELETE FROM upload WHERE manifest = ?", (upload.manifest,))
    index.execute("DELETE FROM completed_upload WHERE completed_at_ms < ?", (now_ms - COMPLETED_KEPT_MS,))
    index.execute(
        "INSERT INTO completed_upload (id, bucket, key, manifest, completed_at_ms, etag) VALUES (?, ?, ?, ?, ?, ?)",
        (upload.id, upload.bucket.id, upload.key, upload.manifest, now_ms, etag),
    )
    return version


def completed_upload(index: apsw.Connection, bucket: Bucket, key: str, upload_id: str) -> tuple[str, int] | None:
    """(ETag, manifest) that an upload of the last day was completed with, or None: a client may ask again after a lost answer."""
    query = "SELECT etag, manifest FROM completed_upload WHERE id = ? AND bucket = ? AND key = ?"
    found = list(index.execute(query, (upload_id, bucket.id, key)))
    return next(((str(etag), int(manifest)) for etag, manifest in found), None)


def list_uploads(
    index: apsw.Connection, bucket: Bucket, prefix: str, delimiter: str, key_marker: str, id_marker: str, limit: int
) -> UploadPage:
    """The first `limit` uploads in progress (or common prefixes of their keys) by key, then id, beyond the markers.

    Without `id_marker` the page starts with keys greater than `key_marker`; with it, also with that key's later ids.
    """
    query = (
        "SELECT manifest, id, key, initiated_at_ms, traits FROM upload WHERE bucket = ?1 AND key >= max(?2, ?3)"
        " AND (?3 = '' OR key > ?3 OR (key = ?3 AND ?4 <> '' AND id > ?4)) ORDER BY key, id"
    )
    bounds = (bucket.id, prefix, key_marker, id_marker)
    high = successor(prefix)
    uploads: list[Upload] = []
    folded: list[str] = []
    last_key, last_id = "", ""
    for manifest, upload_id, key, initiated_at_ms, traits in index.execute(query, bounds):
        if high is not None and key >= high:
            break
        at = key.find(delimiter, len(prefix)) if delimiter else -1
        common = key[: at + len(delimiter)] if at >= 0 else None
        if common is not None and (common <= key_marker or (folded and folded[-1] == common)):
            continue
        if len(uploads) + len(folded) == limit:
            return UploadPage(uploads, folded, True, last_key, last_id)
        if common is not None:
            folded.append(common)
            last_key, last_id = common, ""
        else:
            uploads.append(Upload(manifest, upload_id, bucket, key, initiated_at_ms, unpack_traits(traits)))
            last_key, last_id = key, upload_id
    return UploadPage(uploads, folded, False, last_key, last_id)
