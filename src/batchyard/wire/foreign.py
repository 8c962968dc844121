"""Refuses services that are not served in a language that their clients understand."""

from __future__ import annotations

import msgspec

from batchyard.model.fault import Fault
from batchyard.wire import shapes
from batchyard.wire.errors import STATUS, XML_DECLARATION
from batchyard.wire.http import HttpRequest, HttpResponse
from batchyard.wire.xmltree import escape

# Services whose models may be opened because a request names them: never a name that a stranger makes up.
SPOKEN = frozenset(
    ("batch", "ec2", "logs", "sts", "s3", "iam", "cloudformation", "ecs", "events", "ssm", "secretsmanager", "lambda", "ecr")
)


def refusal(service: str, request: HttpRequest, fault: Fault, request_id: str) -> HttpResponse:
    """The response that tells of `fault` on behalf of `service`, or of no service at all when it is unknown."""
    if service in SPOKEN:
        return shapes.load(service).encode_fault(fault, request_id)
    headers = {"x-amzn-requestid": request_id}
    status = STATUS.get(fault.code, 400)
    if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        # ec2, and whatever else sends forms: both of the places where XML clients look for the error
        error = f"<Error><Code>{escape(fault.code)}</Code><Message>{escape(fault.message)}</Message></Error>"
        body = f"{XML_DECLARATION}<Response><Errors>{error}</Errors><RequestID>{request_id}</RequestID></Response>"
        return HttpResponse(status, headers | {"content-type": "text/xml"}, body.encode())
    headers |= {"content-type": "application/json", "x-amzn-errortype": fault.code}
    return HttpResponse(status, headers, msgspec.json.encode({"__type": fault.code, "message": fault.message}))
