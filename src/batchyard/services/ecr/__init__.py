"""Amazon ECR as far as templates need it: repositories with their policies and tags, as records without a registry."""

from __future__ import annotations

from batchyard.services import Handler, later

OPERATIONS: dict[str, Handler]
NOT_YET: dict[str, str]
__getattr__ = later(__name__)
