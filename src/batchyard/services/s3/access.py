"""Who may do what with a bucket and its objects: the account's owner everything that the policy does not deny, all others nothing
that no policy and no access control list allows.

Requests to this machine by itself count as sent over a secure transport: nobody can listen on loopback, and a policy that denies
plain HTTP shall not lock the owner out of a server that speaks nothing else there. (docs/decisions, "Who may read a bucket")
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import apsw
import msgspec

from batchyard.model.fault import Fault
from batchyard.services import Caller
from batchyard.services.s3 import acls
from batchyard.services.s3.actions import BUCKET_GRANTS, NEVER_LOCKED, OBJECT_GRANTS
from batchyard.services.s3.policies import Asked, Policy, compile_policy
from batchyard.store import objects_keys as keys
from batchyard.store.objects_records import Bucket, ObjectRecord
from batchyard.store.objects_versions import find_object, find_version
from batchyard.wire.http import HttpRequest

ENFORCED = "BucketOwnerEnforced"


@dataclass(frozen=True, slots=True)
class Wish:
    """What is to be allowed: an action on a bucket, and on an object of it where `key` is not empty. `version` is None for what
    the key shows now."""

    action: str
    key: str = ""
    version: str | None = None

    def resource(self, bucket: Bucket) -> str:
        """Its ARN."""
        return f"arn:aws:s3:::{bucket.name}" + (f"/{self.key}" if self.key else "")


def is_allowed(
    index: apsw.Connection,
    bucket: Bucket,
    caller: Caller,
    values: Callable[[], Mapping[str, str]],
    wish: Wish,
    by_acl: list[bool] | None = None,
) -> bool:
    """Whether the caller may. `values` gives those of the request for the conditions of policies. `by_acl` gets an entry when nothing
    but an access control list allows it."""
    is_owner = caller.account == bucket.account
    if is_owner and wish.action in NEVER_LOCKED and caller.arn.endswith(":root"):
        return True
    text = keys.setting(index, bucket.id, "policy")
    if is_owner and not text:
        return True
    policy = _compiled(text, bucket.name, is_owner) if text else Policy(())
    said = policy.decide(Asked(caller.account, caller.arn, wish.action, wish.resource(bucket), values()))
    if said is False:
        return False
    if is_owner:
        return True
    block = public_access_block(index, bucket)
    if policy.is_public and block.get("RestrictPublicBuckets"):
        return False
    if said is True:
        return True
    is_granted = _is_granted(index, bucket, caller.account, wish, bool(block.get("IgnorePublicAcls")))
    if is_granted and by_acl is not None:
        by_acl.append(True)
    return is_granted


def request_values(request: HttpRequest, query: Mapping[str, str], caller: Caller) -> dict[str, str]:
    """The condition keys that a request has, in lower case."""
    headers = request.headers
    values = {
        "aws:sourceip": request.remote,
        "aws:securetransport": str(_is_loopback(request.remote)).lower(),
        "aws:useragent": headers.get("user-agent"),
        "aws:referer": headers.get("referer"),
        "aws:principalaccount": caller.account or None,
        "aws:principalarn": caller.arn or None,
        "s3:prefix": query.get("prefix"),
        "s3:delimiter": query.get("delimiter"),
        "s3:max-keys": query.get("max-keys"),
        "s3:versionid": query.get("versionId"),
        "s3:x-amz-acl": headers.get("x-amz-acl"),
        "s3:x-amz-server-side-encryption": headers.get("x-amz-server-side-encryption"),
        "s3:x-amz-storage-class": headers.get("x-amz-storage-class"),
    }
    return {name: value for name, value in values.items() if value is not None}


def public_access_block(index: apsw.Connection, bucket: Bucket) -> dict[str, bool]:
    """The four flags of the bucket; none when they were deleted."""
    text = keys.setting(index, bucket.id, "publicAccessBlock")
    return msgspec.json.decode(text, type=dict[str, bool]) if text else {}


def ownership(index: apsw.Connection, bucket: Bucket) -> str:
    """The object ownership of the bucket; without the setting, ACLs count."""
    text = keys.setting(index, bucket.id, "ownershipControls")
    rules: list[dict[str, str]] = msgspec.json.decode(text).get("Rules", []) if text else []
    return rules[0].get("ObjectOwnership", "") if rules else "ObjectWriter"


def check_grants(index: apsw.Connection, bucket: Bucket, grants: acls.Grants | None) -> None:
    """Whether these grants may be set in the bucket. Raises `AccessControlListNotSupported`, or `AccessDenied` for public ones that
    are blocked."""
    if not grants:
        return
    if ownership(index, bucket) == ENFORCED:
        raise acls.acl_not_supported()
    if acls.is_public(grants) and public_access_block(index, bucket).get("BlockPublicAcls"):
        raise Fault("AccessDenied", "Access Denied: public access control lists are blocked by the bucket's public access block")


def bucket_grants(index: apsw.Connection, bucket: Bucket) -> acls.Grants:
    """The bucket's own access control list."""
    text = keys.setting(index, bucket.id, "acl")
    return msgspec.json.decode(text, type=acls.Grants) if text else []


def _compiled(text: str, bucket: str, is_owner: bool) -> Policy:
    """The policy. One that cannot be decided (recorded by a version that did not) allows nobody, and denies the owner nothing."""
    try:
        return compile_policy(text, bucket)
    except Fault:
        if is_owner:
            return Policy(())
        raise Fault("AccessDenied", "Access Denied: the bucket's policy holds elements that are not decided here") from None


def _is_granted(index: apsw.Connection, bucket: Bucket, account: str, wish: Wish, ignores_public: bool) -> bool:
    """Whether an access control list grants it. What is not there may be asked for by those who may list the bucket: it is no secret."""
    if ownership(index, bucket) == ENFORCED:
        return False
    permission = OBJECT_GRANTS.get(wish.action)
    if permission is not None:
        record = _record(index, bucket, wish)
        if record is not None:
            return acls.permits(record.traits.grants, account, permission, ignores_public)
        permission = "READ"
    else:
        permission = BUCKET_GRANTS.get(wish.action)
    return permission is not None and acls.permits(bucket_grants(index, bucket), account, permission, ignores_public)


def _record(index: apsw.Connection, bucket: Bucket, wish: Wish) -> ObjectRecord | None:
    if wish.version is None:
        return find_object(index, bucket, wish.key)
    return find_version(index, bucket, wish.key, wish.version)


def _is_loopback(remote: str) -> bool:
    """A connection without an address is one from within the process."""
    try:
        return ipaddress.ip_address(remote or "::1").is_loopback
    except ValueError:
        return False
