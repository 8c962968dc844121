"""CloudWatch Logs for what clients of AWS Batch call: groups, streams, events, retention and tags."""

from __future__ import annotations

from batchyard.services import Handler
from batchyard.services.logs import events, groups, streams, tags
from batchyard.services.logs.names import off_loop
from batchyard.services.logs.not_yet import NOT_YET

OPERATIONS: dict[str, Handler] = {
    "CreateLogGroup": off_loop(groups.create_log_group),
    "CreateLogStream": off_loop(streams.create_log_stream),
    "DeleteLogGroup": off_loop(groups.delete_log_group),
    "DeleteLogStream": off_loop(streams.delete_log_stream),
    "DeleteRetentionPolicy": off_loop(groups.delete_retention_policy),
    "DescribeLogGroups": off_loop(groups.describe_log_groups),
    "DescribeLogStreams": off_loop(streams.describe_log_streams),
    "FilterLogEvents": off_loop(events.filter_log_events),
    "GetLogEvents": off_loop(events.get_log_events),
    "ListTagsForResource": off_loop(tags.list_tags_for_resource),
    "ListTagsLogGroup": off_loop(tags.list_tags_log_group),
    "PutLogEvents": off_loop(events.put_log_events),
    "PutLogGroupDeletionProtection": off_loop(groups.put_log_group_deletion_protection),
    "PutRetentionPolicy": off_loop(groups.put_retention_policy),
    "TagLogGroup": off_loop(tags.tag_log_group),
    "TagResource": off_loop(tags.tag_resource),
    "UntagLogGroup": off_loop(tags.untag_log_group),
    "UntagResource": off_loop(tags.untag_resource),
}

__all__ = ["NOT_YET", "OPERATIONS"]
