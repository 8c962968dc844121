"""Buckets, their settings and the pieces of objects in the index: the statements, and no idea of what HTTP would say about them.

The objects themselves are in `objects_versions`.
"""

from __future__ import annotations

from typing import Any

import apsw

from .objects_records import (
    Bucket,
    Piece,
    pack_checksums,
    unpack_checksums,
)


def find_bucket(index: apsw.Connection, name: str) -> Bucket | None:
    """The bucket called `name`, or None."""
    query = "SELECT id, name, account, region, created_at_ms, versioning FROM bucket WHERE name = ?"
    return next((Bucket(*row) for row in list(index.execute(query, (name,)))), None)


def account_buckets(index: apsw.Connection, account: str, prefix: str, region: str, after: str, limit: int) -> list[Bucket]:
    """Up to `limit` buckets of `account` in `region` ("" is any), by name: those that start with `prefix` and come after `after`."""
    query = (
        "SELECT id, name, account, region, created_at_ms, versioning FROM bucket WHERE account = ?1 AND name > ?2"
        " AND substr(name, 1, length(?3)) = ?3 AND (?4 = '' OR region = ?4) ORDER BY name LIMIT ?5"
    )
    return [Bucket(*row) for row in index.execute(query, (account, after, prefix, region, limit))]


def add_bucket(index: apsw.Connection, name: str, account: str, region: str, now_ms: int) -> Bucket:
    """Make a bucket; the caller has seen that there is none of that name."""
    query = "INSERT INTO bucket (name, account, region, created_at_ms) VALUES (?, ?, ?, ?)"
    index.execute(query, (name, account, region, now_ms))
    return Bucket(index.last_insert_rowid(), name, account, region, now_ms)


def remove_bucket(index: apsw.Connection, bucket: int) -> None:
    """Remove a bucket, its settings and the uploads that were in progress in it; the caller has seen that it holds no object."""
    for manifest in _numbers(index, "SELECT manifest FROM upload WHERE bucket = ?", (bucket,)):
        release(index, manifest)
    for table in ("upload", "completed_upload", "bucket_setting"):
        index.execute(f"DELETE FROM {table} WHERE bucket = ?", (bucket,))
    index.execute("DELETE FROM bucket WHERE id = ?", (bucket,))


def holds_objects(index: apsw.Connection, bucket: int) -> bool:
    """Whether there is any object in the bucket, old versions and delete markers included."""
    query = "SELECT EXISTS (SELECT 1 FROM object WHERE bucket = ?1) OR EXISTS (SELECT 1 FROM version WHERE bucket = ?1)"
    ((found,),) = list(index.execute(query, (bucket,)))
    return bool(found)


def put_versioning(index: apsw.Connection, bucket: int, status: str) -> None:
    """Let the bucket keep old versions from now on ("Enabled"), or keep those that there are and make no more ("Suspended")."""
    index.execute("UPDATE bucket SET versioning = ? WHERE id = ?", (status, bucket))


def setting(index: apsw.Connection, bucket: int, kind: str) -> str | None:
    """The recorded document of a bucket setting, or None."""
    query = "SELECT document FROM bucket_setting WHERE bucket = ? AND kind = ?"
    return next((str(row[0]) for row in list(index.execute(query, (bucket, kind)))), None)


def put_setting(index: apsw.Connection, bucket: int, kind: str, document: str) -> None:
    """Record a bucket setting in place of the one before."""
    index.execute("INSERT OR REPLACE INTO bucket_setting (bucket, kind, document) VALUES (?, ?, ?)", (bucket, kind, document))


def remove_setting(index: apsw.Connection, bucket: int, kind: str) -> None:
    """Forget a bucket setting; nothing happens when there is none."""
    index.execute("DELETE FROM bucket_setting WHERE bucket = ? AND kind = ?", (bucket, kind))


def pieces_of(index: apsw.Connection, manifest: int, after: int = 0, limit: int = -1) -> list[Piece]:
    """The pieces of an object or upload in order, those numbered above `after`, at most `limit` (-1: all)."""
    query = (
        "SELECT number, body, size, etag, modified_at_ms, checksums FROM piece WHERE manifest = ? AND number > ? ORDER BY number LIMIT ?"
    )
    return [
        Piece(number, body, size, etag, modified_at_ms, unpack_checksums(checksums))
        for number, body, size, etag, modified_at_ms, checksums in index.execute(query, (manifest, after, limit))
    ]


def put_piece(index: apsw.Connection, manifest: int, piece: Piece) -> None:
    """Enter one piece of a manifest; a piece of the same number becomes garbage."""
    release(index, manifest, piece.number)
    query = "INSERT INTO piece (manifest, number, body, size, etag, modified_at_ms, checksums) VALUES (?, ?, ?, ?, ?, ?, ?)"
    checksums = pack_checksums(piece.checksums)
    index.execute(query, (manifest, piece.number, piece.body, piece.size, piece.etag, piece.modified_at_ms, checksums))


def release(index: apsw.Connection, manifest: int, number: int | None = None) -> None:
    """Remove the pieces of a manifest (or the one of `number`); bodies that no other piece refers to become garbage."""
    which = "manifest = ?" if number is None else "manifest = ? AND number = ?"
    values = (manifest,) if number is None else (manifest, number)
    query = (
        f"INSERT OR IGNORE INTO garbage (body) SELECT body FROM piece WHERE {which} AND body <> 0 AND NOT EXISTS"
        " (SELECT 1 FROM piece AS other WHERE other.body = piece.body"
        " AND (other.manifest <> piece.manifest OR other.number <> piece.number))"
    )
    index.execute(query, values)
    index.execute(f"DELETE FROM piece WHERE {which}", values)


def _numbers(index: apsw.Connection, query: str, values: tuple[int | str, ...]) -> list[int]:
    rows: list[Any] = index.execute(query, values).fetchall()
    return [row[0] for row in rows]


def highest_manifest(index: apsw.Connection) -> int:
    """The highest manifest number in use; 0 in an empty index."""
    query = (
        "SELECT max(coalesce((SELECT max(manifest) FROM object), 0), coalesce((SELECT max(manifest) FROM upload), 0),"
        " coalesce((SELECT max(manifest) FROM piece), 0), coalesce((SELECT max(manifest) FROM version), 0))"
    )
    ((highest,),) = list(index.execute(query))
    return int(highest)
