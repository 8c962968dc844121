"""The tables of the object index, as steps from one version to the next: they only ever go forward and only ever add."""

from __future__ import annotations

_FIRST = """
CREATE TABLE bucket (
  id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, account TEXT NOT NULL, region TEXT NOT NULL,
  created_at_ms INTEGER NOT NULL) STRICT;
CREATE TABLE bucket_setting (
  bucket INTEGER NOT NULL, kind TEXT NOT NULL, document TEXT NOT NULL, PRIMARY KEY (bucket, kind)) STRICT, WITHOUT ROWID;
CREATE TABLE object (
  manifest INTEGER PRIMARY KEY, bucket INTEGER NOT NULL, key TEXT NOT NULL, size INTEGER NOT NULL, etag TEXT NOT NULL,
  modified_at_ms INTEGER NOT NULL, traits BLOB NOT NULL) STRICT;
CREATE UNIQUE INDEX object_by_key ON object (bucket, key);
CREATE TABLE upload (
  manifest INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, bucket INTEGER NOT NULL, key TEXT NOT NULL,
  initiated_at_ms INTEGER NOT NULL, traits BLOB NOT NULL) STRICT;
CREATE INDEX upload_by_key ON upload (bucket, key, id);
CREATE TABLE completed_upload (
  id TEXT PRIMARY KEY, bucket INTEGER NOT NULL, key TEXT NOT NULL, manifest INTEGER NOT NULL, completed_at_ms INTEGER NOT NULL,
  etag TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE INDEX completed_upload_by_age ON completed_upload (completed_at_ms);
CREATE TABLE piece (
  manifest INTEGER NOT NULL, number INTEGER NOT NULL, body INTEGER NOT NULL, size INTEGER NOT NULL, etag TEXT NOT NULL,
  modified_at_ms INTEGER NOT NULL, checksums TEXT NOT NULL, PRIMARY KEY (manifest, number)) STRICT, WITHOUT ROWID;
CREATE INDEX piece_by_body ON piece (body);
CREATE TABLE garbage (body INTEGER PRIMARY KEY) STRICT;
CREATE TABLE epoch (number INTEGER PRIMARY KEY, swept INTEGER NOT NULL) STRICT;
"""

# Old versions and delete markers. `place` counts the versions of a key upwards; `superseded_at_ms` is when the next one came, 0 of a
# delete marker that is the latest. The latest version stays in `object` unless it is a marker, so that listings need not look here.
_VERSIONS = """
ALTER TABLE bucket ADD COLUMN versioning TEXT NOT NULL DEFAULT '';
UPDATE bucket SET versioning = coalesce(
  (SELECT document FROM bucket_setting WHERE bucket_setting.bucket = bucket.id AND kind = 'versioning'), '');
DELETE FROM bucket_setting WHERE kind = 'versioning';
ALTER TABLE object ADD COLUMN version TEXT NOT NULL DEFAULT '';
ALTER TABLE object ADD COLUMN place INTEGER NOT NULL DEFAULT 0;
CREATE TABLE version (
  bucket INTEGER NOT NULL, key TEXT NOT NULL, place INTEGER NOT NULL, version TEXT NOT NULL, is_marker INTEGER NOT NULL,
  superseded_at_ms INTEGER NOT NULL, manifest INTEGER NOT NULL, size INTEGER NOT NULL, etag TEXT NOT NULL,
  modified_at_ms INTEGER NOT NULL, traits BLOB NOT NULL, PRIMARY KEY (bucket, key, place DESC)) STRICT, WITHOUT ROWID;
CREATE INDEX version_by_id ON version (bucket, key, version);
CREATE INDEX version_by_manifest ON version (manifest);
"""

STEPS = (_FIRST, _VERSIONS)
"""`STEPS[n]` makes version n + 1 of version n."""
