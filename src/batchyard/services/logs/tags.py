"""Tags of log groups, by the group's ARN and by the older operations that take its name."""

from __future__ import annotations

from dataclasses import replace

from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.services.logs.groups import refuse_reserved_tags
from batchyard.services.logs.names import name_in_arn, namespace_of, no_such_group
from batchyard.store.logs_book import LogGroup
from batchyard.store.logs_store import LogStore

TAGS_MAX = 50


def tag_resource(logs: LogStore, caller: Caller, params: Params) -> Params:
    """API reference, TagResource (log groups)."""
    return _tag(logs, caller, name_in_arn(caller, params["resourceArn"]), params["tags"], params["resourceArn"])


def untag_resource(logs: LogStore, caller: Caller, params: Params) -> Params:
    """API reference, UntagResource (log groups)."""
    return _untag(logs, caller, name_in_arn(caller, params["resourceArn"]), params["tagKeys"])


def list_tags_for_resource(logs: LogStore, caller: Caller, params: Params) -> Params:
    """API reference, ListTagsForResource (log groups)."""
    return _tags(logs, caller, name_in_arn(caller, params["resourceArn"]))


def tag_log_group(logs: LogStore, caller: Caller, params: Params) -> Params:
    """API reference, TagLogGroup."""
    return _tag(logs, caller, params["logGroupName"], params["tags"], params["logGroupName"])


def untag_log_group(logs: LogStore, caller: Caller, params: Params) -> Params:
    """API reference, UntagLogGroup."""
    return _untag(logs, caller, params["logGroupName"], params["tags"])


def list_tags_log_group(logs: LogStore, caller: Caller, params: Params) -> Params:
    """API reference, ListTagsLogGroup."""
    return _tags(logs, caller, params["logGroupName"])


def _tag(logs: LogStore, caller: Caller, name: str, added: dict[str, str], resource: str) -> Params:
    refuse_reserved_tags(added)

    def tagged(group: LogGroup) -> LogGroup:
        tags = {**group.tags, **added}
        if len(tags) > TAGS_MAX:
            raise Fault(
                "TooManyTagsException", f"tags: a log group can have at most {TAGS_MAX} tags, not {len(tags)}", resourceName=resource
            )
        return replace(group, tags=tags)

    return _changed(logs.change_group(namespace_of(caller), name, tagged))


def _untag(logs: LogStore, caller: Caller, name: str, keys: list[str]) -> Params:
    def untagged(group: LogGroup) -> LogGroup:
        return replace(group, tags={key: value for key, value in group.tags.items() if key not in keys})

    return _changed(logs.change_group(namespace_of(caller), name, untagged))


def _tags(logs: LogStore, caller: Caller, name: str) -> Params:
    group = logs.group(namespace_of(caller), name)
    if group is None:
        raise no_such_group()
    return {"tags": group.tags}


def _changed(group: LogGroup | None) -> Params:
    if group is None:
        raise no_such_group()
    return {}
