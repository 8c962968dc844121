"""S3 on the local disk: the operations that workflow tools and the AWS CLI use, and a clear 501 for all others.

Recorded, without the effect that it has on AWS (`RECORDED_ONLY` says of each what that means):

    bucket      encryption, lifecycle, policy, public access block, ownership controls, tags
    object      server-side encryption AES256, storage class

Refused rather than recorded: logging, notifications, CORS, web site, replication, object lock, KMS, ACLs.
"""

from __future__ import annotations

from typing import Any

from batchyard.services import Caller
from batchyard.services.s3.call import Call, access_denied
from batchyard.services.s3.operations import NOT_YET, OPERATIONS
from batchyard.services.s3.route import match
from batchyard.services.s3.settings import RECORDED_ONLY
from batchyard.services.s3.versions import MarkerFault
from batchyard.wire import shapes
from batchyard.wire.http import HttpRequest, HttpResponse

__all__ = ["NOT_YET", "OPERATIONS", "RECORDED_ONLY", "handle"]


async def handle(desk: Any, caller: Caller | None, request: HttpRequest) -> HttpResponse:
    """Answer one S3 request from `desk.objects`. `caller` is None for an anonymous one, which is refused: nothing is public here.

    Raises a `Fault` with S3's code for everything that S3 refuses, `NotImplemented` (501) for what is not served.
    """
    if caller is None:
        raise access_denied()
    target = match(request)
    call = Call(desk.objects, caller, request, target.operation, target.bucket, target.key, target.query)
    try:
        return await OPERATIONS[target.operation](call)
    except MarkerFault as fault:
        fault.fields.setdefault("Resource", request.raw_path)
        response = shapes.load("s3").encode_fault(fault, caller.request_id)
        response.headers |= fault.headers
        return response
