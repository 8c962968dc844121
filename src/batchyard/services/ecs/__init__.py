"""ECS as far as clients of AWS Batch look behind it: clusters, container instances and tasks. Reads only."""

from __future__ import annotations

from batchyard.services import Handler, later

OPERATIONS: dict[str, Handler]
NOT_YET: dict[str, str]
__getattr__ = later(__name__)
