"""Secrets Manager: secrets with versions and stages, sealed in the store, and a window to bring a deleted one back."""

from __future__ import annotations

from batchyard.services import Handler, later

OPERATIONS: dict[str, Handler]
NOT_YET: dict[str, str]
__getattr__ = later(__name__)
