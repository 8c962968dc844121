"""What CloudFormation adds to the code of inline functions: a custom resource tells by it how its request ended."""

from __future__ import annotations

import json
import urllib.request
from typing import Any

SUCCESS = "SUCCESS"
FAILED = "FAILED"
_PATIENCE_S = 30


def send(
    event: dict[str, Any],
    context: Any,
    responseStatus: str,
    responseData: dict[str, Any] | None = None,
    physicalResourceId: str | None = None,
    noEcho: bool = False,
    reason: str | None = None,
) -> None:
    """PUT the outcome to the request's ResponseURL. Raises `OSError` when it cannot be delivered."""
    answer = {
        "Status": responseStatus,
        "Reason": reason or f"See the details in CloudWatch Log Stream: {context.log_stream_name}",
        "PhysicalResourceId": physicalResourceId or context.log_stream_name,
        "StackId": event["StackId"],
        "RequestId": event["RequestId"],
        "LogicalResourceId": event["LogicalResourceId"],
        "NoEcho": noEcho,
        "Data": responseData or {},
    }
    body = json.dumps(answer).encode()
    # A presigned URL signs the content type that is sent: none.
    request = urllib.request.Request(event["ResponseURL"], body, {"content-type": "", "content-length": str(len(body))}, method="PUT")
    with urllib.request.urlopen(request, timeout=_PATIENCE_S) as response:
        print(f"Status code: {response.status}")  # noqa: T201 - into the function's log
