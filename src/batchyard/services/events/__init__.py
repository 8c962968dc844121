"""EventBridge: rules on the default bus, whose targets are told of events of Batch, of one's own, and when a schedule fires."""

from __future__ import annotations

from batchyard.services import Handler, later

OPERATIONS: dict[str, Handler]
NOT_YET: dict[str, str]
__getattr__ = later(__name__)
