"""S3 on the local disk: the operations that workflow tools and the AWS CLI use, and a clear 501 for all others.

What is recorded without the effect that it has on AWS stands in `settings.RECORDED_ONLY`, what is refused in `operations.NOT_YET`.
Who may do what is decided in `access`.
"""

from __future__ import annotations

from typing import Any

from batchyard.services import Caller
from batchyard.services.s3.access_logs import AccessLogs, carry_out_lifecycles
from batchyard.services.s3.actions import ANONYMOUS
from batchyard.services.s3.call import Call, access_denied
from batchyard.services.s3.operations import NOT_YET, OPERATIONS
from batchyard.services.s3.route import match
from batchyard.services.s3.settings import RECORDED_ONLY
from batchyard.services.s3.versions import MarkerFault
from batchyard.wire import shapes
from batchyard.wire.http import HttpRequest, HttpResponse

__all__ = ["NOT_YET", "OPERATIONS", "RECORDED_ONLY", "AccessLogs", "carry_out_lifecycles", "handle"]


async def handle(desk: Any, caller: Caller, request: HttpRequest) -> HttpResponse:
    """Answer one S3 request from `desk.objects`. The account of an anonymous caller is "".

    Raises a `Fault` with S3's code for everything that S3 refuses, `NotImplemented` (501) for what is not served.
    """
    target = match(request)
    if request.notes is not None:
        request.notes.operation, request.notes.bucket, request.notes.key = target.operation, target.bucket, target.key
    if not caller.account and target.operation not in ANONYMOUS:
        raise access_denied()
    call = Call(desk.objects, caller, request, target.operation, target.bucket, target.key, target.query)
    try:
        return await OPERATIONS[target.operation](call)
    except MarkerFault as fault:
        fault.fields.setdefault("Resource", request.raw_path)
        response = shapes.load("s3").encode_fault(fault, caller.request_id)
        response.headers |= fault.headers
        return response
