"""Which version of an object a request means, and what answers say of it."""

from __future__ import annotations

import re

import apsw

from batchyard.model.fault import Fault
from batchyard.services.s3.access import Wish
from batchyard.services.s3.call import Call, access_denied, http_date, invalid_argument, no_such_key
from batchyard.store.objects_records import Bucket, ObjectRecord
from batchyard.store.objects_versions import find_object, find_version, latest_marker

NULL = "null"
VERSION_ID = "x-amz-version-id"
_ID = re.compile(r"[A-Za-z0-9._-]{32}")


class MarkerFault(Fault):
    """A refusal because of a delete marker; `headers` say so to the client besides."""

    def __init__(self, fault: Fault, marker: ObjectRecord) -> None:
        super().__init__(fault.code, fault.message, **fault.fields)
        self.headers = {VERSION_ID: shown(marker.version), "x-amz-delete-marker": "true"}
        if fault.code == "MethodNotAllowed":
            self.headers |= {"last-modified": http_date(marker.modified_at_ms), "allow": "DELETE"}


def asked_version(text: str | None) -> str | None:
    """The id in a `versionId`, "" for the null version, None when there is none. Raises `InvalidArgument` for what cannot be an id."""
    if text is None or text == NULL:
        return None if text is None else ""
    if not text:
        raise invalid_argument("Version id cannot be the empty string", "versionId", "")
    if not _ID.fullmatch(text):
        raise invalid_argument("Invalid version id specified", "versionId", text)
    return text


def find_readable(index: apsw.Connection, bucket: Bucket, key: str, version: str | None) -> ObjectRecord:
    """The version asked for (None: what the key shows now). Raises `NoSuchKey`, `NoSuchVersion`, `MethodNotAllowed` for a marker."""
    if version is None:
        record = find_object(index, bucket, key)
        if record is None:
            marker = latest_marker(index, bucket, key) if bucket.versioning else None
            raise MarkerFault(no_such_key(key), marker) if marker else no_such_key(key)
        return record
    record = find_version(index, bucket, key, version)
    if record is None:
        raise no_such_version(key, version)
    if record.is_marker:
        message = "The specified method is not allowed against this resource."
        raise MarkerFault(Fault("MethodNotAllowed", message, Method="GET", ResourceType="DeleteMarker"), record)
    return record


def of_call(call: Call, index: apsw.Connection) -> ObjectRecord:
    """The version that the call asks for. Raises what `find_readable` raises, `NoSuchBucket` and `AccessDenied`."""
    version = asked_version(call.query.get("versionId"))
    return find_told(call, index, call.own_bucket(index), call.key, version)


def find_told(call: Call, index: apsw.Connection, bucket: Bucket, key: str, version: str | None) -> ObjectRecord:
    """`find_readable`; that there is no such object is told only to those who may list the bucket. Raises `AccessDenied` to others."""
    try:
        return find_readable(index, bucket, key, version)
    except Fault:
        if call.caller.account != bucket.account and not call.may(index, bucket, Wish("s3:ListBucket")):
            raise access_denied() from None
        raise


def version_headers(bucket: Bucket, version: str | None) -> dict[str, str]:
    """The header that names a version; none in a bucket that never kept versions."""
    return {VERSION_ID: shown(version)} if bucket.versioning and version is not None else {}


def shown(version: str) -> str:
    """A version id as clients see it."""
    return version or NULL


def no_such_version(key: str, version: str) -> Fault:
    """S3's 404 for a version."""
    return Fault("NoSuchVersion", "The specified version does not exist.", Key=key, VersionId=shown(version))
