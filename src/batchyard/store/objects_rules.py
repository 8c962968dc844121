"""Lifecycle rules of a bucket as the chore carries them out: which objects a rule is about, and when it is their time; pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .objects_records import ObjectRecord

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class Rule:
    """One enabled rule. What it does not do is None (or 0, False); `at_ms` is a date, `days` count from an object's own date.

    `transitions`: (days or None, date or None, storage class), of noncurrent versions (days, newer ones to spare, storage class).
    """

    prefix: str = ""
    tags: tuple[tuple[str, str], ...] = ()
    larger_than: int | None = None
    smaller_than: int | None = None
    days: int | None = None
    at_ms: int | None = None
    removes_lone_markers: bool = False
    noncurrent_days: int | None = None
    newer_noncurrent: int = 0
    abort_days: int | None = None
    transitions: tuple[tuple[int | None, int | None, str], ...] = ()
    noncurrent_transitions: tuple[tuple[int, int, str], ...] = ()

    def is_about(self, record: ObjectRecord) -> bool:
        """Whether the filter names the object."""
        return (
            record.key.startswith(self.prefix)
            and all(record.traits.tags.get(name) == value for name, value in self.tags)
            and (self.larger_than is None or record.size > self.larger_than)
            and (self.smaller_than is None or record.size < self.smaller_than)
        )

    def expires(self, record: ObjectRecord, now_ms: int) -> bool:
        """Whether the latest version has had its time."""
        return is_due(self.days, self.at_ms, record.modified_at_ms, now_ms)

    def expires_noncurrent(self, record: ObjectRecord, newer: int, now_ms: int) -> bool:
        """Whether an old version, which `newer` other old ones follow, has had its time."""
        return (
            self.noncurrent_days is not None
            and newer >= self.newer_noncurrent
            and due_ms(record.superseded_at_ms, self.noncurrent_days) <= now_ms
        )

    def storage_class(self, record: ObjectRecord, now_ms: int) -> str:
        """The class that the latest version should have by now, "" for the one that it has."""
        due = [(due_ms(record.modified_at_ms, days) if days is not None else at_ms or 0, name) for days, at_ms, name in self.transitions]
        return max(((at, name) for at, name in due if at <= now_ms), default=(0, ""))[1]

    def noncurrent_storage_class(self, record: ObjectRecord, newer: int, now_ms: int) -> str:
        """The class that an old version should have by now, "" for the one that it has."""
        due = [(due_ms(record.superseded_at_ms, days), name) for days, spared, name in self.noncurrent_transitions if newer >= spared]
        return max(((at, name) for at, name in due if at <= now_ms), default=(0, ""))[1]


def due_ms(since_ms: int, days: int) -> int:
    """When so many days are over: at the midnight (UTC) that follows them, as S3 rounds."""
    return -(-(since_ms + days * DAY_MS) // DAY_MS) * DAY_MS


def is_due(days: int | None, at_ms: int | None, since_ms: int, now_ms: int) -> bool:
    """Whether days that count from `since_ms`, or a date, have come."""
    if days is not None:
        return due_ms(since_ms, days) <= now_ms
    return at_ms is not None and at_ms <= now_ms


def rules_of(document: dict[str, Any]) -> list[Rule]:
    """The enabled rules of a lifecycle configuration in AWS's spelling, as it is stored."""
    return [_rule(rule) for rule in document.get("Rules", []) if rule.get("Status") == "Enabled"]


def _rule(rule: dict[str, Any]) -> Rule:
    found = rule.get("Filter", {})
    both = found.get("And", found)
    tags = both.get("Tags", []) + ([found["Tag"]] if "Tag" in found else [])
    expiration, noncurrent = rule.get("Expiration", {}), rule.get("NoncurrentVersionExpiration", {})
    return Rule(
        prefix=both.get("Prefix", rule.get("Prefix", "")),
        tags=tuple((tag["Key"], tag["Value"]) for tag in tags),
        larger_than=both.get("ObjectSizeGreaterThan"),
        smaller_than=both.get("ObjectSizeLessThan"),
        days=expiration.get("Days"),
        at_ms=date_ms(expiration.get("Date")),
        removes_lone_markers=bool(expiration.get("ExpiredObjectDeleteMarker") or "Days" in expiration),
        noncurrent_days=noncurrent.get("NoncurrentDays"),
        newer_noncurrent=noncurrent.get("NewerNoncurrentVersions", 0),
        abort_days=rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation"),
        transitions=tuple((step.get("Days"), date_ms(step.get("Date")), step["StorageClass"]) for step in rule.get("Transitions", [])),
        noncurrent_transitions=tuple(
            (step.get("NoncurrentDays", 0), step.get("NewerNoncurrentVersions", 0), step["StorageClass"])
            for step in rule.get("NoncurrentVersionTransitions", [])
        ),
    )


def date_ms(date: float | str | None) -> int | None:
    """A Date of a rule: seconds since 1970, or text."""
    if date is None:
        return None
    if isinstance(date, str):
        return int(datetime.fromisoformat(date).timestamp() * 1000)
    return int(date * 1000)
