"""The conditions of HTTP on an object: pure, one function for reads and copies, one for writes."""

from __future__ import annotations

from collections.abc import Mapping
from email.utils import parsedate_to_datetime

from batchyard.model.fault import Fault
from batchyard.services.s3.call import no_such_key
from batchyard.services.s3.route import not_implemented
from batchyard.store.objects_records import ObjectRecord

COPY_PREFIX = "x-amz-copy-source-"


def not_modified(record: ObjectRecord, headers: Mapping[str, str]) -> bool:
    """Whether a read is to be answered 304. Raises `PreconditionFailed` (412). Order of precedence: RFC 9110, section 13.2.2."""
    match = headers.get("if-match")
    if match is not None:
        if not _names(match, record.etag):
            raise precondition_failed("If-Match")
    elif _modified_since(record, headers.get("if-unmodified-since", "")) is True:
        raise precondition_failed("If-Unmodified-Since")
    none_match = headers.get("if-none-match")
    if none_match is not None:
        return _names(none_match, record.etag)
    return _modified_since(record, headers.get("if-modified-since", "")) is False


def check_copy_source(record: ObjectRecord, headers: Mapping[str, str]) -> None:
    """Raises `PreconditionFailed` unless the `x-amz-copy-source-if-...` conditions hold for the source."""
    conditions = {name.removeprefix(COPY_PREFIX): value for name, value in headers.items() if name.startswith(f"{COPY_PREFIX}if-")}
    if not_modified(record, conditions):
        name = "if-none-match" if "if-none-match" in conditions else "if-modified-since"
        raise precondition_failed(f"{COPY_PREFIX}{name}")


def check_write(record: ObjectRecord | None, key: str, headers: Mapping[str, str]) -> None:
    """The conditions of a write on what is at the key now: `If-None-Match: *` and `If-Match: ETAG`.

    Raises `PreconditionFailed` (412), and `NoSuchKey` for `If-Match` where there is nothing.
    """
    none_match = headers.get("if-none-match")
    if none_match is not None:
        if none_match.strip() != "*":
            raise not_implemented("If-None-Match other than * with a write")
        if record is not None:
            raise precondition_failed("If-None-Match")
    match = headers.get("if-match")
    if match is not None:
        if record is None:
            raise no_such_key(key)
        if not _names(match, record.etag):
            raise precondition_failed("If-Match")


def check_delete(record: ObjectRecord | None, etag: str | None) -> None:
    """The condition of a delete, `If-Match: ETAG`; an object that is not there satisfies it. Raises `PreconditionFailed`."""
    if etag is not None and record is not None and not _names(etag, record.etag):
        raise precondition_failed("If-Match")


def precondition_failed(condition: str) -> Fault:
    """S3's 412."""
    return Fault("PreconditionFailed", "At least one of the pre-conditions you specified did not hold", Condition=condition)


def _names(condition: str, etag: str) -> bool:
    """Whether a list of ETags (or `*`) names this one; S3 takes them with and without quotes."""
    names = (part.strip().removeprefix("W/").strip('"') for part in condition.split(","))
    return condition.strip() == "*" or etag in names


def _modified_since(record: ObjectRecord, date: str) -> bool | None:
    """Whether the object is newer than `date`, in whole seconds; None for no date or one that cannot be read (HTTP ignores those)."""
    if not date:
        return None
    try:
        then_s = parsedate_to_datetime(date).timestamp()
    except (ValueError, OverflowError):
        return None
    return record.modified_at_ms // 1000 > then_s
