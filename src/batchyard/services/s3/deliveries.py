"""Objects that a service of ours puts into a bucket by itself, such as logs: only where the bucket lets that service, as on AWS.

A service is let in by the bucket's policy (`"Principal": {"Service": ...}`, mostly with the keys `aws:SourceAccount` and
`aws:SourceArn`), S3's log delivery also by a grant of WRITE to its group. (S3 User Guide, "Enabling Amazon S3 server access logging";
CloudWatch Logs User Guide, "Exporting log data to Amazon S3")
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import apsw

from batchyard.model.fault import Fault
from batchyard.services.s3 import acls
from batchyard.services.s3.access import ENFORCED, bucket_grants, ownership
from batchyard.services.s3.call import access_denied
from batchyard.services.s3.encryption import with_default
from batchyard.services.s3.policies import SERVICE, Asked, compile_policy
from batchyard.store import objects_keys as keys
from batchyard.store.objects import ObjectStore
from batchyard.store.objects_records import Bucket, Piece, Traits
from batchyard.store.objects_versions import find_object, put_object

ACCESS_LOGS = "logging.s3.amazonaws.com"
OWNER_CONTROLS = "bucket-owner-full-control"


@dataclass(frozen=True, slots=True)
class Sender:
    """The service that puts, for the resource `source_arn` of `account`. `acl` is the canned list that it asks for, "" for none."""

    service: str
    account: str
    source_arn: str
    acl: str = ""

    @property
    def values(self) -> Mapping[str, str]:
        """The condition keys of its requests."""
        values = {
            "aws:sourceaccount": self.account,
            "aws:sourcearn": self.source_arn,
            "aws:securetransport": "true",
            "aws:principalisawsservice": "true",
            "aws:principalservicename": self.service,
        }
        return values | ({"s3:x-amz-acl": self.acl} if self.acl else {})


def put_for(store: ObjectStore, sender: Sender, bucket: str, key: str, content: Iterable[bytes], traits: Traits) -> None:
    """Put an object for a service, some bytes after others; durable when it returns. The very same object again is no change.

    Raises `NoSuchBucket`, `AccessDenied` for a bucket of another account or one that does not let the service, and what the disk
    raises. Blocks: not for the event loop.
    """
    store.ask(lambda index: _check(index, sender, bucket, key))
    writer = store.new_body()
    try:
        for chunk in content:
            writer.write(chunk)
        written = writer.finish()
    except BaseException:
        writer.abandon()
        raise

    def change(index: apsw.Connection) -> bool:
        found = _check(index, sender, bucket, key)
        there = find_object(index, found, key)
        if there is not None and (there.etag, there.size) == (written.md5, written.size):
            return False
        now_ms = store.now_ms()
        piece = Piece(1, written.body, written.size, written.md5, now_ms, {})
        put_object(index, store.next_manifest(), found, key, written.md5, with_default(index, found, traits), [piece], now_ms)
        return True

    try:
        if not store.change(change).result():
            writer.abandon()
    except (Fault, apsw.FullError):  # it is tried again, with a body of its own
        writer.abandon()
        raise


class LogDeliveries:
    """What CloudWatch Logs does with buckets, for a log group of (account, region). Blocks: not for the event loop."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store

    def may(self, namespace: tuple[str, str], group: str, bucket: str, action: str, key: str = "") -> bool:
        """Whether the bucket is there and lets the service do that."""
        try:
            self._store.ask(lambda index: _check(index, _logs(namespace, group), bucket, key, action))
        except Fault:
            return False
        return True

    def put(self, namespace: tuple[str, str], group: str, bucket: str, key: str, content: Iterable[bytes], content_type: str) -> None:
        """`put_for` the service."""
        traits = Traits(headers={"content-type": content_type})
        put_for(self._store, _logs(namespace, group), bucket, key, content, traits)


def _logs(namespace: tuple[str, str], group: str) -> Sender:
    account, region = namespace
    return Sender(f"logs.{region}.amazonaws.com", account, f"arn:aws:logs:{region}:{account}:log-group:{group}:*", OWNER_CONTROLS)


def _check(index: apsw.Connection, sender: Sender, name: str, key: str, action: str = "s3:PutObject") -> Bucket:
    bucket = keys.find_bucket(index, name)
    if bucket is None:
        raise Fault("NoSuchBucket", "The specified bucket does not exist", BucketName=name)
    if bucket.account != sender.account or not _lets(index, bucket, sender, key, action):
        raise access_denied()
    return bucket


def _lets(index: apsw.Connection, bucket: Bucket, sender: Sender, key: str, action: str) -> bool:
    text, said = keys.setting(index, bucket.id, "policy"), None
    if text:
        try:
            policy = compile_policy(text, bucket.name)
        except Fault:  # recorded by a version that did not decide policies
            return False
        resource = f"arn:aws:s3:::{bucket.name}" + (f"/{key}" if key else "")
        said = policy.decide(Asked(SERVICE, sender.service, action, resource, sender.values))
    if said is not None:
        return said
    if sender.service != ACCESS_LOGS or ownership(index, bucket) == ENFORCED:
        return False
    return any(grantee == acls.LOG_DELIVERY and granted in ("WRITE", "FULL_CONTROL") for grantee, granted in bucket_grants(index, bucket))
