"""AWS KMS: symmetric keys that really seal and open, with aliases, policies and a time before they are deleted."""

from __future__ import annotations

from batchyard.services import Handler, later

OPERATIONS: dict[str, Handler]
NOT_YET: dict[str, str]
__getattr__ = later(__name__)
