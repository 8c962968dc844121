"""What S3 checks of a lifecycle configuration before it keeps it; `store/objects_lifecycle` carries it out."""

from __future__ import annotations

from typing import Any

from batchyard.model.fault import Fault
from batchyard.services.s3.route import not_implemented
from batchyard.services.s3.traits import STORAGE_CLASSES
from batchyard.store.objects_rules import DAY_MS, date_ms

RULES_LIMIT = 1000
_ACTIONS = (
    "Expiration",
    "Transitions",
    "NoncurrentVersionExpiration",
    "NoncurrentVersionTransitions",
    "AbortIncompleteMultipartUpload",
)


def check_lifecycle(document: dict[str, Any]) -> None:
    """Raises `MalformedXML`, `InvalidArgument` or `InvalidRequest` as S3 does, `NotImplemented` for classes that are not there."""
    rules = document.get("Rules", [])
    if not rules or len(rules) > RULES_LIMIT:
        raise _malformed(f"a configuration has 1 to {RULES_LIMIT} rules")
    ids = [rule["ID"] for rule in rules if rule.get("ID")]
    if len(set(ids)) < len(ids):
        raise Fault("InvalidArgument", "Rule ID must be unique. Found same ID for one or more rules")
    for rule in rules:
        _check_rule(rule)


def _check_rule(rule: dict[str, Any]) -> None:
    if rule.get("Status") not in ("Enabled", "Disabled"):
        raise _malformed("Rule.Status must be Enabled or Disabled")
    if len(rule.get("ID", "")) > 255:
        raise Fault("InvalidArgument", "ID length should not exceed allowed limit of 255")
    if ("Filter" in rule) == ("Prefix" in rule):
        raise _malformed("a rule has a Filter (or, in the older form, a Prefix)")
    if not any(rule.get(name) for name in _ACTIONS):
        raise Fault("InvalidRequest", "At least one action needs to be specified in a rule")
    has_tags = _check_filter(rule.get("Filter", {}))
    expiration = rule.get("Expiration")
    if expiration is not None:
        _check_expiration(expiration, has_tags)
    noncurrent = rule.get("NoncurrentVersionExpiration")
    if noncurrent is not None:
        _check_days(noncurrent.get("NoncurrentDays"), "NoncurrentDays")
        spared = noncurrent.get("NewerNoncurrentVersions", 1)
        if not 1 <= spared <= 100:
            raise Fault("InvalidArgument", "'NewerNoncurrentVersions' must be between 1 and 100")
    abort = rule.get("AbortIncompleteMultipartUpload")
    if abort is not None:
        _check_days(abort.get("DaysAfterInitiation"), "DaysAfterInitiation")
        if has_tags:
            raise Fault("InvalidRequest", "AbortIncompleteMultipartUpload cannot be specified with Tags.")
    for step in rule.get("Transitions", []) + rule.get("NoncurrentVersionTransitions", []):
        _check_transition(step)


def _check_filter(found: dict[str, Any]) -> bool:
    """Whether the filter names tags."""
    if len(found) > 1:
        raise _malformed("a Filter has one of Prefix, Tag, ObjectSizeGreaterThan, ObjectSizeLessThan and And")
    both = found.get("And", found)
    if "And" in found and len(both) + len(both.get("Tags", [])) - ("Tags" in both) < 2:
        raise _malformed("And has two conditions or more")
    larger, smaller = both.get("ObjectSizeGreaterThan"), both.get("ObjectSizeLessThan")
    if larger is not None and smaller is not None and larger >= smaller:
        raise Fault("InvalidRequest", "'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'.")
    return bool(both.get("Tags") or found.get("Tag"))


def _check_expiration(expiration: dict[str, Any], has_tags: bool) -> None:
    named = [name for name in ("Days", "Date", "ExpiredObjectDeleteMarker") if name in expiration]
    if len(named) != 1:
        raise _malformed("Expiration has one of Days, Date and ExpiredObjectDeleteMarker")
    if "Days" in expiration:
        _check_days(expiration["Days"], "Days")
    if "Date" in expiration and (date_ms(expiration["Date"]) or 0) % DAY_MS:
        raise Fault("InvalidArgument", "'Date' must be at midnight GMT")
    if "ExpiredObjectDeleteMarker" in expiration and has_tags:
        raise Fault("InvalidRequest", "ExpiredObjectDeleteMarker cannot be specified with Tags.")


def _check_days(days: int | None, name: str) -> None:
    if days is None:
        raise _malformed(f"{name} is missing")
    if days <= 0:
        raise Fault("InvalidArgument", f"'{name}' for Expiration action must be a positive integer")


def _check_transition(step: dict[str, Any]) -> None:
    """Classes that only are a name here are changed when it is time; the archive classes are not there."""
    name = step.get("StorageClass", "")
    if name in ("GLACIER", "DEEP_ARCHIVE"):
        raise not_implemented(f"a transition to {name}")
    if name not in STORAGE_CLASSES or name in ("STANDARD", "REDUCED_REDUNDANCY"):
        raise _malformed(f"StorageClass {name} is no class to move to")


def _malformed(what: str) -> Fault:
    return Fault("MalformedXML", f"The XML you provided was not well-formed or did not validate against our published schema: {what}")
