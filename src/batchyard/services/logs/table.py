"""What answers each operation of this service: read with the first request for it."""

from __future__ import annotations

from batchyard.services import Handler
from batchyard.services.logs import events, exports, groups, queries, shelved, streams, tags
from batchyard.services.logs.names import off_loop
from batchyard.services.logs.not_yet import NOT_YET

OPERATIONS: dict[str, Handler] = {
    "CancelExportTask": exports.cancel_export_task,
    "CreateExportTask": exports.create_export_task,
    "CreateLogGroup": off_loop(groups.create_log_group),
    "CreateLogStream": off_loop(streams.create_log_stream),
    "DeleteLogGroup": off_loop(groups.delete_log_group),
    "DeleteLogStream": off_loop(streams.delete_log_stream),
    "DeleteQueryDefinition": shelved.delete_query_definition,
    "DeleteResourcePolicy": shelved.delete_resource_policy,
    "DeleteRetentionPolicy": off_loop(groups.delete_retention_policy),
    "DescribeExportTasks": exports.describe_export_tasks,
    "DescribeLogGroups": off_loop(groups.describe_log_groups),
    "DescribeLogStreams": off_loop(streams.describe_log_streams),
    "DescribeQueries": off_loop(queries.describe_queries),
    "DescribeQueryDefinitions": shelved.describe_query_definitions,
    "DescribeResourcePolicies": shelved.describe_resource_policies,
    "FilterLogEvents": off_loop(events.filter_log_events),
    "GetLogEvents": off_loop(events.get_log_events),
    "GetLogGroupFields": off_loop(queries.get_log_group_fields),
    "GetLogRecord": off_loop(queries.get_log_record),
    "GetQueryResults": off_loop(queries.get_query_results),
    "ListLogGroups": off_loop(groups.list_log_groups),
    "ListTagsForResource": off_loop(tags.list_tags_for_resource),
    "ListTagsLogGroup": off_loop(tags.list_tags_log_group),
    "PutLogEvents": off_loop(events.put_log_events),
    "PutLogGroupDeletionProtection": off_loop(groups.put_log_group_deletion_protection),
    "PutQueryDefinition": shelved.put_query_definition,
    "PutResourcePolicy": shelved.put_resource_policy,
    "PutRetentionPolicy": off_loop(groups.put_retention_policy),
    "StartQuery": off_loop(queries.start_query),
    "StopQuery": off_loop(queries.stop_query),
    "TagLogGroup": off_loop(tags.tag_log_group),
    "TagResource": off_loop(tags.tag_resource),
    "TestMetricFilter": off_loop(events.test_metric_filter),
    "UntagLogGroup": off_loop(tags.untag_log_group),
    "UntagResource": off_loop(tags.untag_resource),
}

__all__ = ["NOT_YET", "OPERATIONS"]
