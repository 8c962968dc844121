"""Systems Manager's Parameter Store: parameters with versions, labels and tags, SecureStrings sealed, and AWS's public image ids."""

from __future__ import annotations

from batchyard.services import Handler, later

OPERATIONS: dict[str, Handler]
NOT_YET: dict[str, str]
__getattr__ = later(__name__)
