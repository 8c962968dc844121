"""IAM: roles, instance profiles, policies, users with keys that sign, and groups. The same in every region."""

from __future__ import annotations

from batchyard.services import Handler, later

OPERATIONS: dict[str, Handler]
NOT_YET: dict[str, str]
__getattr__ = later(__name__)
