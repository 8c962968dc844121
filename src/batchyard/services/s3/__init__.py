"""S3 on the local disk: the operations that workflow tools and the AWS CLI use, and a clear 501 for all others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from batchyard.services import Caller
from batchyard.services.s3 import buckets, listing, multipart, objects
from batchyard.services.s3.call import Call, access_denied
from batchyard.services.s3.route import match, not_implemented
from batchyard.wire.http import HttpRequest, HttpResponse

Operation = Callable[[Call], Awaitable[HttpResponse]]

OPERATIONS: dict[str, Operation] = {
    "AbortMultipartUpload": multipart.abort_multipart_upload,
    "CompleteMultipartUpload": multipart.complete_multipart_upload,
    "CreateBucket": buckets.create_bucket,
    "CreateMultipartUpload": multipart.create_multipart_upload,
    "DeleteBucket": buckets.delete_bucket,
    "DeleteObject": objects.delete_object,
    "DeleteObjects": objects.delete_objects,
    "GetBucketLocation": buckets.get_bucket_location,
    "GetObject": objects.get_object,
    "HeadBucket": buckets.head_bucket,
    "HeadObject": objects.head_object,
    "ListBuckets": buckets.list_buckets,
    "ListMultipartUploads": multipart.list_multipart_uploads,
    "ListObjectVersions": listing.list_object_versions,
    "ListObjects": listing.list_objects,
    "ListObjectsV2": listing.list_objects_v2,
    "ListParts": multipart.list_parts,
    "PutObject": objects.put_object,
    "UploadPart": multipart.upload_part,
}


async def handle(desk: Any, caller: Caller | None, request: HttpRequest) -> HttpResponse:
    """Answer one S3 request. `caller` is None for an anonymous one, which is refused: nothing is public here.

    Raises a `Fault` with S3's code for everything that S3 refuses, `NotImplemented` (501) for what is not served.
    """
    if caller is None:
        raise access_denied()
    target = match(request)
    operation = OPERATIONS.get(target.operation)
    if operation is None:
        raise not_implemented(target.operation)
    call = Call(desk.objects, caller, request, target.operation, target.bucket, target.key, target.query)
    return await operation(call)
