"""The operations of CloudWatch Logs that are not served, and why."""

from __future__ import annotations

_ANOMALIES = "anomaly detection is not available"
_BEARER = "log groups take events by signed requests only"
_DELIVERY = "there are no vended logs to deliver"
_IMPORT = "importing from CloudTrail Lake is not available"
_INSIGHTS = "of CloudWatch Logs Insights, queries and saved queries are there: no indexes, lookup tables or schedules"
_INTEGRATIONS = "integrations with OpenSearch are not available"
_KMS = "log groups cannot be encrypted with a KMS key"
_LIVE_TAIL = "live tail (an event stream on a host name of its own) is not available: follow with FilterLogEvents (aws logs tail --follow)"
_MASKING = "data protection policies are not available: nothing is masked"
_METRICS = "there are no metrics to filter into"
_POLICIES = "policies for all log groups of an account are not available"
_S3_TABLES = "S3 tables are not available"
_SUBSCRIPTIONS = "subscriptions are not available: follow with FilterLogEvents"
_SYSLOG = "syslog is not taken in"
_TIERS = "there is one storage tier"
_TRANSFORMERS = "events are kept as they came: transformers are not available"

NOT_YET: dict[str, str] = {
    "AssociateKmsKey": _KMS,
    "AssociateSourceToS3TableIntegration": _S3_TABLES,
    "CancelImportTask": _IMPORT,
    "CreateDelivery": _DELIVERY,
    "CreateImportTask": _IMPORT,
    "CreateLogAnomalyDetector": _ANOMALIES,
    "CreateLookupTable": _INSIGHTS,
    "CreateScheduledQuery": _INSIGHTS,
    "DeleteAccountPolicy": _POLICIES,
    "DeleteDataProtectionPolicy": _MASKING,
    "DeleteDelivery": _DELIVERY,
    "DeleteDeliveryDestination": _DELIVERY,
    "DeleteDeliveryDestinationPolicy": _DELIVERY,
    "DeleteDeliverySource": _DELIVERY,
    "DeleteDestination": _SUBSCRIPTIONS,
    "DeleteIndexPolicy": _INSIGHTS,
    "DeleteIntegration": _INTEGRATIONS,
    "DeleteLogAnomalyDetector": _ANOMALIES,
    "DeleteLookupTable": _INSIGHTS,
    "DeleteMetricFilter": _METRICS,
    "DeleteScheduledQuery": _INSIGHTS,
    "DeleteSubscriptionFilter": _SUBSCRIPTIONS,
    "DeleteSyslogConfiguration": _SYSLOG,
    "DeleteTransformer": _TRANSFORMERS,
    "DescribeAccountPolicies": _POLICIES,
    "DescribeConfigurationTemplates": _DELIVERY,
    "DescribeDeliveries": _DELIVERY,
    "DescribeDeliveryDestinations": _DELIVERY,
    "DescribeDeliverySources": _DELIVERY,
    "DescribeDestinations": _SUBSCRIPTIONS,
    "DescribeFieldIndexes": _INSIGHTS,
    "DescribeImportTaskBatches": _IMPORT,
    "DescribeImportTasks": _IMPORT,
    "DescribeIndexPolicies": _INSIGHTS,
    "DescribeLookupTables": _INSIGHTS,
    "DescribeMetricFilters": _METRICS,
    "DescribeSubscriptionFilters": _SUBSCRIPTIONS,
    "DisassociateKmsKey": _KMS,
    "DisassociateSourceFromS3TableIntegration": _S3_TABLES,
    "GetDataProtectionPolicy": _MASKING,
    "GetDelivery": _DELIVERY,
    "GetDeliveryDestination": _DELIVERY,
    "GetDeliveryDestinationPolicy": _DELIVERY,
    "GetDeliverySource": _DELIVERY,
    "GetIntegration": _INTEGRATIONS,
    "GetLogAnomalyDetector": _ANOMALIES,
    "GetLogFields": _INSIGHTS,
    "GetLogObject": _INSIGHTS,
    "GetLookupTable": _INSIGHTS,
    "GetScheduledQuery": _INSIGHTS,
    "GetScheduledQueryHistory": _INSIGHTS,
    "GetStorageTierPolicy": _TIERS,
    "GetTransformer": _TRANSFORMERS,
    "ListAggregateLogGroupSummaries": _INSIGHTS,
    "ListAnomalies": _ANOMALIES,
    "ListIntegrations": _INTEGRATIONS,
    "ListLogAnomalyDetectors": _ANOMALIES,
    "ListLogGroupsForQuery": _INSIGHTS,
    "ListScheduledQueries": _INSIGHTS,
    "ListSourcesForS3TableIntegration": _S3_TABLES,
    "ListSyslogConfigurations": _SYSLOG,
    "PutAccountPolicy": _POLICIES,
    "PutBearerTokenAuthentication": _BEARER,
    "PutDataProtectionPolicy": _MASKING,
    "PutDeliveryDestination": _DELIVERY,
    "PutDeliveryDestinationPolicy": _DELIVERY,
    "PutDeliverySource": _DELIVERY,
    "PutDestination": _SUBSCRIPTIONS,
    "PutDestinationPolicy": _SUBSCRIPTIONS,
    "PutIndexPolicy": _INSIGHTS,
    "PutIntegration": _INTEGRATIONS,
    "PutMetricFilter": _METRICS,
    "PutStorageTierPolicy": _TIERS,
    "PutSubscriptionFilter": _SUBSCRIPTIONS,
    "PutSyslogConfiguration": _SYSLOG,
    "PutTransformer": _TRANSFORMERS,
    "StartLiveTail": _LIVE_TAIL,
    "TestTransformer": _TRANSFORMERS,
    "UpdateAnomaly": _ANOMALIES,
    "UpdateDeliveryConfiguration": _DELIVERY,
    "UpdateLogAnomalyDetector": _ANOMALIES,
    "UpdateLookupTable": _INSIGHTS,
    "UpdateScheduledQuery": _INSIGHTS,
}
