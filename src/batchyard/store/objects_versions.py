"""Objects and their versions in the index: what a key shows, what it showed before, and what each change makes of that.

The latest version of a key is a row of `object`; those before it are rows of `version`. When the latest is a delete marker, it is
a row of `version` too, and the key has none in `object`. So buckets that never kept versions cost nothing more.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Sequence

import apsw

from .objects_keys import put_piece, release
from .objects_records import Bucket, ObjectRecord, Piece, Traits, pack_traits, unpack_traits

PLACE_BYTES, RANDOM_BYTES = 5, 19
ID_LENGTH = 32  # of a version id, as on AWS

OBJECT_COLUMNS = "key, place, version, 0, 0, manifest, size, etag, modified_at_ms, traits"
VERSION_COLUMNS = "key, place, version, is_marker, superseded_at_ms, manifest, size, etag, modified_at_ms, traits"
Row = tuple[str, int, str, int, int, int, int, str, int, bytes]


def record_of(bucket: Bucket, row: Row) -> ObjectRecord:
    """A row of `OBJECT_COLUMNS` or `VERSION_COLUMNS` as a record."""
    key, place, version, is_marker, superseded_at_ms, manifest, size, etag, modified_at_ms, traits = row
    return ObjectRecord(
        manifest, bucket, key, size, etag, modified_at_ms, unpack_traits(traits), version, place, bool(is_marker), superseded_at_ms
    )


def find_object(index: apsw.Connection, bucket: Bucket, key: str) -> ObjectRecord | None:
    """What the key shows now; None when there is nothing or the latest is a delete marker."""
    query = f"SELECT {OBJECT_COLUMNS} FROM object WHERE bucket = ? AND key = ?"
    return _first(bucket, index.execute(query, (bucket.id, key)))


def find_version(index: apsw.Connection, bucket: Bucket, key: str, version: str) -> ObjectRecord | None:
    """The version of that id ("" is the null version), which may be a delete marker; None when there is none."""
    query = (
        f"SELECT {OBJECT_COLUMNS} FROM object WHERE bucket = ?1 AND key = ?2 AND version = ?3"
        f" UNION ALL SELECT {VERSION_COLUMNS} FROM version WHERE bucket = ?1 AND key = ?2 AND version = ?3"
    )
    return _first(bucket, index.execute(query, (bucket.id, key, version)))


def find_manifest(index: apsw.Connection, bucket: Bucket, key: str, manifest: int) -> ObjectRecord | None:
    """The version of that content, if it is still there."""
    query = (
        f"SELECT {OBJECT_COLUMNS} FROM object WHERE bucket = ?1 AND key = ?2 AND manifest = ?3"
        f" UNION ALL SELECT {VERSION_COLUMNS} FROM version WHERE bucket = ?1 AND key = ?2 AND manifest = ?3"
    )
    return _first(bucket, index.execute(query, (bucket.id, key, manifest)))


def latest_marker(index: apsw.Connection, bucket: Bucket, key: str) -> ObjectRecord | None:
    """The delete marker that is the latest version of the key, or None."""
    query = f"SELECT {VERSION_COLUMNS} FROM version WHERE bucket = ? AND key = ? AND superseded_at_ms = 0"
    return _first(bucket, index.execute(query, (bucket.id, key)))


def put_object(
    index: apsw.Connection, manifest: int, bucket: Bucket, key: str, etag: str, traits: Traits, pieces: Sequence[Piece], now_ms: int
) -> str:
    """Let `key` be an object of these `pieces` from now on; the id of the version."""
    for piece in pieces:
        put_piece(index, manifest, piece)
    return place_object(index, manifest, bucket, key, sum(piece.size for piece in pieces), etag, traits, now_ms)


def place_object(index: apsw.Connection, manifest: int, bucket: Bucket, key: str, size: int, etag: str, traits: Traits, now_ms: int) -> str:
    """Let `key` be the manifest, whose pieces are in place; the id of the version ("" is the null version).

    What the key showed before becomes an old version or garbage, as the bucket keeps versions or not.
    """
    place = _make_room(index, bucket, key, now_ms)
    version = _new_id(place) if bucket.versioning == "Enabled" else ""
    query = (
        "INSERT INTO object (manifest, bucket, key, size, etag, modified_at_ms, traits, version, place) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
    )
    index.execute(query, (manifest, bucket.id, key, size, etag, now_ms, pack_traits(traits), version, place))
    return version


def delete_latest(index: apsw.Connection, bucket: Bucket, key: str, now_ms: int) -> str | None:
    """Delete without a version: the id of the delete marker ("" is the null version); None in a bucket that never kept versions,
    where what was there becomes garbage."""
    place = _make_room(index, bucket, key, now_ms)
    if not bucket.versioning:
        return None
    version = _new_id(place) if bucket.versioning == "Enabled" else ""
    values = (bucket.id, key, place, version, 1, 0, 0, 0, "", now_ms, pack_traits(Traits()))
    index.execute("INSERT INTO version VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
    return version


def delete_version(index: apsw.Connection, bucket: Bucket, key: str, version: str) -> ObjectRecord | None:
    """Remove that version for good, and let the one before it be the latest if it was; what was removed, None if there was none."""
    record = find_version(index, bucket, key, version)
    if record is None:
        return None
    if record.is_marker or record.superseded_at_ms:
        index.execute("DELETE FROM version WHERE bucket = ? AND key = ? AND place = ?", (bucket.id, key, record.place))
    else:
        index.execute("DELETE FROM object WHERE manifest = ?", (record.manifest,))
    if record.manifest:
        release(index, record.manifest)
    if record.is_latest:
        _promote(index, bucket.id, key)
    return record


def put_traits(index: apsw.Connection, record: ObjectRecord, traits: Traits) -> None:
    """Replace the traits of a version (its tags have changed); its bytes and its date stay."""
    for table in ("object", "version"):
        index.execute(f"UPDATE {table} SET traits = ? WHERE manifest = ?", (pack_traits(traits), record.manifest))


def place_in(version: str) -> int | None:
    """The place that a version id carries; None for the null version and for what is no id of ours."""
    if len(version) != ID_LENGTH:
        return None
    try:
        return int.from_bytes(base64.b64decode(version, altchars=b"._", validate=True)[:PLACE_BYTES], "big")
    except (binascii.Error, ValueError):
        return None


def _new_id(place: int) -> str:
    """A version id: it carries its place, so that a listing can go on behind a version that was deleted meanwhile."""
    return base64.b64encode(place.to_bytes(PLACE_BYTES, "big") + secrets.token_bytes(RANDOM_BYTES), altchars=b"._").decode()


def _make_room(index: apsw.Connection, bucket: Bucket, key: str, now_ms: int) -> int:
    """Make the latest version an old one, or garbage where it is not to be kept; the place of the next one."""
    current = find_object(index, bucket, key)
    if not bucket.versioning:
        if current is not None:
            _remove_current(index, current)
        return 0
    top = index.execute("SELECT max(place) FROM version WHERE bucket = ? AND key = ?", (bucket.id, key)).fetchall()[0][0]
    place = 1 + max(-1 if top is None else int(top), -1 if current is None else current.place)
    # AWS counts days from when the successor came; never 0, which says that there is none
    superseded_at_ms = max(now_ms, 1)
    if current is not None:
        if bucket.versioning == "Suspended" and not current.version:
            _remove_current(index, current)
        else:
            _retire(index, current, superseded_at_ms)
    query = "UPDATE version SET superseded_at_ms = ? WHERE bucket = ? AND key = ? AND superseded_at_ms = 0"
    index.execute(query, (superseded_at_ms, bucket.id, key))
    if bucket.versioning == "Suspended":
        _remove_old_null(index, bucket.id, key)
    return place


def _retire(index: apsw.Connection, current: ObjectRecord, superseded_at_ms: int) -> None:
    query = (
        "INSERT INTO version (bucket, key, place, version, is_marker, superseded_at_ms, manifest, size, etag, modified_at_ms, traits)"
        " SELECT bucket, key, place, version, 0, ?, manifest, size, etag, modified_at_ms, traits FROM object WHERE manifest = ?"
    )
    index.execute(query, (superseded_at_ms, current.manifest))
    index.execute("DELETE FROM object WHERE manifest = ?", (current.manifest,))


def _remove_current(index: apsw.Connection, current: ObjectRecord) -> None:
    release(index, current.manifest)
    index.execute("DELETE FROM object WHERE manifest = ?", (current.manifest,))


def _remove_old_null(index: apsw.Connection, bucket: int, key: str) -> None:
    """There is one null version at most: the new one takes the place of the old one."""
    where = "WHERE bucket = ? AND key = ? AND version = ''"
    for (manifest,) in index.execute(f"SELECT manifest FROM version {where}", (bucket, key)).fetchall():
        if manifest:
            release(index, int(manifest))
    index.execute(f"DELETE FROM version {where}", (bucket, key))


def _promote(index: apsw.Connection, bucket: int, key: str) -> None:
    """Let the newest of the old versions be the latest."""
    query = "SELECT place, is_marker FROM version WHERE bucket = ? AND key = ? ORDER BY place DESC LIMIT 1"
    for place, is_marker in index.execute(query, (bucket, key)).fetchall():
        where, which = "WHERE bucket = ? AND key = ? AND place = ?", (bucket, key, place)
        if is_marker:
            index.execute(f"UPDATE version SET superseded_at_ms = 0 {where}", which)
            continue
        index.execute(
            "INSERT INTO object (manifest, bucket, key, size, etag, modified_at_ms, traits, version, place)"
            f" SELECT manifest, bucket, key, size, etag, modified_at_ms, traits, version, place FROM version {where}",
            which,
        )
        index.execute(f"DELETE FROM version {where}", which)


def _first(bucket: Bucket, found: apsw.Cursor) -> ObjectRecord | None:
    return next((record_of(bucket, row) for row in list(found)), None)
