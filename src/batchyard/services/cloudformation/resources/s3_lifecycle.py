"""LifecycleConfiguration of a bucket, from CloudFormation's older spelling to S3's and back; pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.resources.type import Properties

DEFAULT_SIZE = "TransitionDefaultMinimumObjectSize"
_PLAIN = ("Status", "AbortIncompleteMultipartUpload")
_KNOWN = frozenset(
    (
        *_PLAIN,
        *("Id", "Prefix", "TagFilters", "ObjectSizeGreaterThan", "ObjectSizeLessThan"),
        *("ExpirationDate", "ExpirationInDays", "ExpiredObjectDeleteMarker", "Transition", "Transitions"),
        *("NoncurrentVersionExpiration", "NoncurrentVersionExpirationInDays"),
        *("NoncurrentVersionTransition", "NoncurrentVersionTransitions"),
    )
)
_CLASSES = {"Glacier": "GLACIER"}  # an older spelling, which the schema still has
_USUAL_SIZE = "all_storage_classes_128K"
_MIDNIGHT = "%Y-%m-%dT00:00:00Z"


def to_api(configuration: Properties) -> dict[str, Any]:
    """The parameters of PutBucketLifecycleConfiguration, without the bucket. Raises a Fault for a member that is not known."""
    params: dict[str, Any] = {"LifecycleConfiguration": {"Rules": [_rule(rule) for rule in configuration.get("Rules") or []]}}
    if configuration.get(DEFAULT_SIZE):
        params[DEFAULT_SIZE] = configuration[DEFAULT_SIZE]
    return params


def from_api(answer: dict[str, Any]) -> Properties:
    """What GetBucketLifecycleConfiguration answered, as a template would say it."""
    found: Properties = {"Rules": [_property(rule) for rule in answer.get("Rules", [])]}
    if answer.get(DEFAULT_SIZE):
        found[DEFAULT_SIZE] = answer[DEFAULT_SIZE]
    return found


def _rule(rule: Properties) -> dict[str, Any]:
    for name in rule:
        if name not in _KNOWN:
            raise Fault("ValidationException", f"Encountered unsupported property LifecycleConfiguration.Rules.{name}")
    made: dict[str, Any] = {name: rule[name] for name in _PLAIN if rule.get(name) is not None}
    if rule.get("Id"):
        made["ID"] = rule["Id"]
    made["Filter"] = _filter(rule)
    names = {"ExpirationDate": "Date", "ExpirationInDays": "Days", "ExpiredObjectDeleteMarker": "ExpiredObjectDeleteMarker"}
    expiration = {there: rule[here] for here, there in names.items() if rule.get(here) is not None}
    if expiration:
        made["Expiration"] = expiration
    transitions = [*(rule.get("Transitions") or []), *([rule["Transition"]] if rule.get("Transition") else [])]
    if transitions:
        made["Transitions"] = [_transition(one, {"TransitionDate": "Date", "TransitionInDays": "Days"}) for one in transitions]
    noncurrent = [
        *(rule.get("NoncurrentVersionTransitions") or []),
        *([rule["NoncurrentVersionTransition"]] if rule.get("NoncurrentVersionTransition") else []),
    ]
    if noncurrent:
        made["NoncurrentVersionTransitions"] = [_transition(one, {"TransitionInDays": "NoncurrentDays"}) for one in noncurrent]
    if rule.get("NoncurrentVersionExpiration"):
        made["NoncurrentVersionExpiration"] = dict(rule["NoncurrentVersionExpiration"])
    elif rule.get("NoncurrentVersionExpirationInDays") is not None:
        made["NoncurrentVersionExpiration"] = {"NoncurrentDays": rule["NoncurrentVersionExpirationInDays"]}
    return made


def _filter(rule: Properties) -> dict[str, Any]:
    """One condition by itself, several within And; a rule without any is for all objects."""
    conditions: dict[str, Any] = {}
    if rule.get("Prefix") is not None:
        conditions["Prefix"] = rule["Prefix"]
    for name in ("ObjectSizeGreaterThan", "ObjectSizeLessThan"):
        if rule.get(name) is not None:
            conditions[name] = int(rule[name])  # the schema has them as texts
    tags = [{"Key": tag["Key"], "Value": tag["Value"]} for tag in rule.get("TagFilters") or []]
    if len(conditions) + len(tags) > 1:
        return {"And": {**conditions, **({"Tags": tags} if tags else {})}}
    if tags:
        return {"Tag": tags[0]}
    return conditions or {"Prefix": ""}


def _transition(step: Properties, names: dict[str, str]) -> dict[str, Any]:
    made = {names.get(name, name): value for name, value in step.items() if value is not None}
    made["StorageClass"] = _CLASSES.get(made.get("StorageClass", ""), made.get("StorageClass"))
    return made


def _property(rule: dict[str, Any]) -> Properties:
    found: Properties = {name: rule[name] for name in _PLAIN if name in rule}
    if rule.get("ID"):
        found["Id"] = rule["ID"]
    conditions = rule.get("Filter", {})
    conditions = conditions.get("And", conditions)
    prefix = conditions.get("Prefix", rule.get("Prefix"))
    if prefix:
        found["Prefix"] = prefix
    for name in ("ObjectSizeGreaterThan", "ObjectSizeLessThan"):
        if conditions.get(name) is not None:
            found[name] = str(conditions[name])
    tags = conditions.get("Tags") or ([conditions["Tag"]] if conditions.get("Tag") else [])
    if tags:
        found["TagFilters"] = tags
    expiration = rule.get("Expiration", {})
    names = {"Date": "ExpirationDate", "Days": "ExpirationInDays", "ExpiredObjectDeleteMarker": "ExpiredObjectDeleteMarker"}
    found |= {here: _shown(expiration[there]) for there, here in names.items() if expiration.get(there) is not None}
    for member, days in (("Transitions", "Days"), ("NoncurrentVersionTransitions", "NoncurrentDays")):
        if rule.get(member):
            spelt = {days: "TransitionInDays", "Date": "TransitionDate"}
            found[member] = [{spelt.get(name, name): _shown(value) for name, value in step.items()} for step in rule[member]]
    if rule.get("NoncurrentVersionExpiration"):
        found["NoncurrentVersionExpiration"] = rule["NoncurrentVersionExpiration"]
    return found


def _shown(value: Any) -> Any:
    return value.astimezone(UTC).strftime(_MIDNIGHT) if isinstance(value, datetime) else value


def as_it_was_written(found: Properties, known: Properties) -> Properties:
    """What was found, in the older of two spellings where the template uses that, for drift."""
    if DEFAULT_SIZE not in known and found.get(DEFAULT_SIZE) == _USUAL_SIZE:
        found = {"Rules": found["Rules"]}
    known_rules = known.get("Rules") or []
    rules = found.get("Rules") or []
    if len(known_rules) != len(rules):
        return found
    return {**found, "Rules": [_in_the_spelling_of(rule, written) for rule, written in zip(rules, known_rules, strict=True)]}


def _in_the_spelling_of(rule: Properties, written: Properties) -> Properties:
    result = dict(rule)
    for one, many in (("Transition", "Transitions"), ("NoncurrentVersionTransition", "NoncurrentVersionTransitions")):
        if written.get(one) and not written.get(many) and len(result.get(many) or []) == 1:
            result[one] = result.pop(many)[0]
    if written.get("NoncurrentVersionExpirationInDays") is not None and "NoncurrentVersionExpiration" in result:
        result["NoncurrentVersionExpirationInDays"] = result.pop("NoncurrentVersionExpiration").get("NoncurrentDays")
    if written.get("Prefix") == "" and "Prefix" not in result:
        result["Prefix"] = ""
    if "Id" not in written:
        result.pop("Id", None)  # S3 makes one up
    return result
