"""Log groups: making, listing and deleting them, and how long their events are kept."""

from __future__ import annotations

from dataclasses import replace

from batchyard.model.fault import Fault
from batchyard.model.tags import LOG_GROUP, check_own_tags
from batchyard.services import Caller, Params
from batchyard.services.logs.names import group_arn, identified, namespace_of, no_such_group, refusal
from batchyard.services.logs.tokens import seal, unseal
from batchyard.store.logs_book import LogGroup
from batchyard.store.logs_store import LogStore

RETENTION_DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653)
CLASSES = ("STANDARD", "INFREQUENT_ACCESS")


def create_log_group(logs: LogStore, caller: Caller, params: Params) -> Params:
    """API reference, CreateLogGroup."""
    name, log_class = params["logGroupName"], params.get("logGroupClass", "STANDARD")
    if name.lower().startswith("aws/"):
        raise refusal("Log groups starting with AWS/ are reserved for AWS.")
    if params.get("kmsKeyId"):
        raise refusal("kmsKeyId: log groups cannot be encrypted with a KMS key here; leave it out")
    if log_class not in CLASSES:
        raise refusal(f"logGroupClass: {log_class} is not available here; use one of {', '.join(CLASSES)}")
    tags = dict(params.get("tags") or {})
    refuse_reserved_tags(tags)
    protected = bool(params.get("deletionProtectionEnabled", False))
    group = LogGroup(name, logs.now_ms(), log_class=log_class, is_protected=protected, tags=tags)
    if not logs.create_group(namespace_of(caller), group):
        raise Fault("ResourceAlreadyExistsException", "The specified log group already exists")
    return {}


def delete_log_group(logs: LogStore, caller: Caller, params: Params) -> Params:
    """API reference, DeleteLogGroup."""
    namespace, name = namespace_of(caller), params["logGroupName"]
    group = logs.group(namespace, name)
    if group is not None and group.is_protected:
        raise Fault(
            "ValidationException",
            f"The log group {name} is protected from deletion: turn that off with PutLogGroupDeletionProtection first",
        )
    if group is None or not logs.delete_group(namespace, name):
        raise no_such_group()
    return {}


def describe_log_groups(logs: LogStore, caller: Caller, params: Params) -> Params:
    """API reference, DescribeLogGroups: sorted by name, 50 a page. Other accounts are never linked here."""
    prefix, pattern, identifiers = params.get("logGroupNamePrefix"), params.get("logGroupNamePattern"), params.get("logGroupIdentifiers")
    if prefix and pattern:
        raise refusal("LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.")
    if identifiers and (prefix or pattern or params.get("logGroupClass")):
        raise refusal("logGroupIdentifiers can be combined with no other filter than includeLinkedAccounts.")
    accounts = params.get("accountIdentifiers")
    namespace, log_class = namespace_of(caller), params.get("logGroupClass")
    if params.get("includeLinkedAccounts") and accounts and caller.account not in accounts:
        return {"logGroups": []}
    groups = [group for group in logs.groups(namespace) if group.name.startswith(prefix or "") and (pattern or "") in group.name]
    if log_class:
        groups = [group for group in groups if group.log_class == log_class]
    if identifiers:
        asked_for = {identified(caller, identifier) for identifier in identifiers}
        groups = [group for group in groups if group.name in asked_for]
    purpose = ("DescribeLogGroups", namespace)
    if "nextToken" in params:
        last = unseal(params["nextToken"], str, purpose=purpose)[0]
        groups = [group for group in groups if group.name > last]
    limit = params.get("limit", 50)
    result: Params = {"logGroups": [_brief(caller, group) if pattern else _described(logs, caller, group) for group in groups[:limit]]}
    if len(groups) > limit:
        result["nextToken"] = seal(groups[limit - 1].name, purpose=purpose)
    return result


def list_log_groups(logs: LogStore, caller: Caller, params: Params) -> Params:
    """API reference, ListLogGroups: names that hold the pattern (`^` in front: that begin with it), a regular expression of letters."""
    for name in ("dataSources", "fieldIndexNames"):
        if params.get(name):
            raise refusal(f"{name}: log groups have none here")
    namespace, pattern, log_class = namespace_of(caller), params.get("logGroupNamePattern", ""), params.get("logGroupClass")
    accounts, tags = params.get("accountIdentifiers"), params.get("logGroupTags") or []
    if params.get("includeLinkedAccounts") and accounts and caller.account not in accounts:
        return {"logGroups": []}
    groups = [group for group in logs.groups(namespace) if _is_like(group.name, pattern) and log_class in (None, group.log_class)]
    for tag in tags:
        values = tag.get("values") or []
        groups = [group for group in groups if tag["key"] in group.tags and (not values or group.tags[tag["key"]] in values)]
    purpose = ("ListLogGroups", namespace)
    if "nextToken" in params:
        last = unseal(params["nextToken"], str, purpose=purpose)[0]
        groups = [group for group in groups if group.name > last]
    limit = params.get("limit", 50)
    result: Params = {
        "logGroups": [
            {"logGroupName": group.name, "logGroupArn": group_arn(caller, group.name), "logGroupClass": group.log_class}
            for group in groups[:limit]
        ]
    }
    if len(groups) > limit:
        result["nextToken"] = seal(groups[limit - 1].name, purpose=purpose)
    return result


def _is_like(name: str, pattern: str) -> bool:
    """Alternatives (`|`) of text, each from the beginning with `^`. (API reference, ListLogGroups)"""
    return any(name.startswith(part[1:]) if part.startswith("^") else part in name for part in pattern.split("|"))


def put_retention_policy(logs: LogStore, caller: Caller, params: Params) -> Params:
    """API reference, PutRetentionPolicy."""
    days = params["retentionInDays"]
    if days not in RETENTION_DAYS:
        raise refusal(f"retentionInDays: {days} is not possible; use one of {', '.join(map(str, RETENTION_DAYS))}")
    return change(logs, caller, params["logGroupName"], retention_days=days)


def delete_retention_policy(logs: LogStore, caller: Caller, params: Params) -> Params:
    """API reference, DeleteRetentionPolicy: events are kept for ever."""
    return change(logs, caller, params["logGroupName"], retention_days=None)


def put_log_group_deletion_protection(logs: LogStore, caller: Caller, params: Params) -> Params:
    """API reference, PutLogGroupDeletionProtection."""
    name = identified(caller, params["logGroupIdentifier"])
    return change(logs, caller, name, is_protected=bool(params["deletionProtectionEnabled"]))


def change(logs: LogStore, caller: Caller, name: str, **changed: object) -> Params:
    """Change some fields of a group; the empty answer."""
    if logs.change_group(namespace_of(caller), name, lambda group: replace(group, **changed)) is None:  # type: ignore[arg-type]
        raise no_such_group()
    return {}


def refuse_reserved_tags(tags: dict[str, str]) -> None:
    """Tags that begin with `aws:` belong to AWS, those that begin with `batchyard:` mean something."""
    try:
        check_own_tags(LOG_GROUP, tags)
    except Fault as fault:
        raise refusal(f"tags: {fault.message}") from None
    for key in tags:
        if key.lower().startswith("aws:"):
            raise refusal(f"tags: '{key}': keys that begin with aws: are reserved")


def _brief(caller: Caller, group: LogGroup) -> Params:
    return {"logGroupName": group.name, "creationTime": group.created_at_ms, "arn": f"{group_arn(caller, group.name)}:*"}


def _described(logs: LogStore, caller: Caller, group: LogGroup) -> Params:
    described = {
        **_brief(caller, group),
        "metricFilterCount": 0,
        "storedBytes": logs.bytes_stored(namespace_of(caller), group.name),
        "logGroupClass": group.log_class,
        "logGroupArn": group_arn(caller, group.name),
        "deletionProtectionEnabled": group.is_protected,
    }
    if group.retention_days is not None:
        described["retentionInDays"] = group.retention_days
    return described
