"""AWS Lambda for Python functions: kept on the shelf, and run in processes of their own (botocore calls the service "lambda")."""

from __future__ import annotations

from batchyard.services import Handler, later

OPERATIONS: dict[str, Handler]
NOT_YET: dict[str, str]
__getattr__ = later(__name__)
