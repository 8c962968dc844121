"""CloudWatch Logs for what clients of AWS Batch call: groups, streams, events, retention, tags, queries and exports."""

from __future__ import annotations

from batchyard.services import Handler, later

OPERATIONS: dict[str, Handler]
NOT_YET: dict[str, str]
__getattr__ = later(__name__)
