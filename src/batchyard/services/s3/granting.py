"""GetBucketAcl, PutBucketAcl, GetObjectAcl, PutObjectAcl."""

from __future__ import annotations

from functools import partial

import apsw
import msgspec

from batchyard.model.fault import Fault
from batchyard.services.s3 import acls
from batchyard.services.s3.access import ENFORCED, bucket_grants, check_grants, ownership
from batchyard.services.s3.call import Call
from batchyard.services.s3.versions import of_call, version_headers
from batchyard.store import objects_keys as keys
from batchyard.store import objects_versions as versions
from batchyard.store.objects_records import Bucket
from batchyard.wire.http import HttpResponse


async def get_object_acl(call: Call) -> HttpResponse:
    """GetObjectAcl: the owner's full control, and what else is granted; where ACLs are off, only the former."""

    def question(index: apsw.Connection) -> HttpResponse:
        record = of_call(call, index)
        grants = [] if ownership(index, record.bucket) == ENFORCED else record.traits.grants
        return call.answer(acls.shown(grants, record.bucket.account), version_headers(record.bucket, record.version))

    return await call.look(question)


async def put_object_acl(call: Call) -> HttpResponse:
    """PutObjectAcl: these grants in place of those before. Where ACLs are off, only the owner's own are taken, and change nothing."""
    policy = (await call.document()).get("AccessControlPolicy")

    def change(index: apsw.Connection) -> dict[str, str]:
        record = of_call(call, index)
        grants = _asked(call, record.bucket, policy)
        check_grants(index, record.bucket, grants)
        versions.put_traits(index, record, msgspec.structs.replace(record.traits, grants=grants))
        return version_headers(record.bucket, record.version)

    return HttpResponse(200, await call.change(change))


async def get_bucket_acl(call: Call) -> HttpResponse:
    """GetBucketAcl: as GetObjectAcl."""

    def question(index: apsw.Connection) -> HttpResponse:
        bucket = call.own_bucket(index)
        grants = [] if ownership(index, bucket) == ENFORCED else bucket_grants(index, bucket)
        return call.answer(acls.shown(grants, bucket.account))

    return await call.look(question)


async def put_bucket_acl(call: Call) -> HttpResponse:
    """PutBucketAcl: as PutObjectAcl."""
    policy = (await call.document()).get("AccessControlPolicy")
    await call.change(partial(_put_bucket_acl, call, policy))
    return HttpResponse(200)


def _put_bucket_acl(call: Call, policy: dict[str, object] | None, index: apsw.Connection) -> None:
    bucket = call.own_bucket(index)
    grants = _asked(call, bucket, policy)
    check_grants(index, bucket, grants)
    keys.put_setting(index, bucket.id, "acl", msgspec.json.encode(grants).decode())


def _asked(call: Call, bucket: Bucket, policy: dict[str, object] | None) -> acls.Grants:
    """The grants of the request. Raises `MissingSecurityHeader` when there are none, `UnexpectedContent` for two ways at once."""
    in_headers = acls.grants_in_headers(call.request.headers, bucket.account)
    if policy is not None and in_headers is not None:
        raise Fault("UnexpectedContent", "This request does not support content")
    if policy is not None:
        return acls.grants_in_document(policy, bucket.account)
    if in_headers is None:
        raise Fault("MissingSecurityHeader", "Your request was missing a required header", MissingHeaderName="x-amz-acl")
    return in_headers
