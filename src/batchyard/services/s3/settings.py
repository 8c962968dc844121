"""What is set on a bucket: documents that are checked, kept and given back.

Some of them would have an effect on AWS that they do not have here. `RECORDED_ONLY` names these, for the documentation; what
cannot honestly be recorded (a setting whose effect a user would rely on, such as a web site) is refused with 501.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import apsw
import msgspec

from batchyard.model.fault import Fault
from batchyard.services.s3 import acls
from batchyard.services.s3.access import ENFORCED, bucket_grants, check_grants, public_access_block
from batchyard.services.s3.buckets import acl_with_ownership
from batchyard.services.s3.call import Call
from batchyard.services.s3.encryption import check_encryption
from batchyard.services.s3.lifecycle import check_lifecycle
from batchyard.services.s3.owners import canonical_id
from batchyard.services.s3.policies import compile_policy
from batchyard.services.s3.route import not_implemented
from batchyard.services.s3.traits import checked_tags
from batchyard.store import objects_keys as keys
from batchyard.store.objects_records import Bucket
from batchyard.wire.http import HttpResponse

TAGS_PER_BUCKET = 50
OWNERSHIPS = (ENFORCED, "BucketOwnerPreferred", "ObjectWriter")

# setting -> what it does on AWS and not here
RECORDED_ONLY: dict[str, str] = {
    "bucket encryption": "new objects say in their headers that they have it; they lie on the disk as they came: encrypt the disk.",
    "object encryption (AES256, aws:kms)": "the headers are kept and given back; the bytes are not encrypted, and no key is asked for.",
    "lifecycle transitions": "the object says that it is of that class; all objects lie on the same disk.",
    "ownership controls": "they say whether ACLs count; the owner of the bucket owns all objects in it, whoever wrote them.",
    "bucket tags": "they are kept and given back, and charge nothing to anyone.",
    "storage class": "all objects lie on the same disk.",
}


@dataclass(frozen=True, slots=True)
class Setting:
    """One recorded setting: the member of the request that holds it, and the fault when there is none."""

    kind: str
    member: str
    missing_code: str
    missing_message: str


SETTINGS = {
    setting.kind: setting
    for setting in (
        Setting("tagging", "Tagging", "NoSuchTagSet", "The TagSet does not exist"),
        Setting(
            "encryption",
            "ServerSideEncryptionConfiguration",
            "ServerSideEncryptionConfigurationNotFoundError",
            "The server side encryption configuration was not found",
        ),
        Setting(
            "publicAccessBlock",
            "PublicAccessBlockConfiguration",
            "NoSuchPublicAccessBlockConfiguration",
            "The public access block configuration was not found",
        ),
        Setting(
            "lifecycle",
            "LifecycleConfiguration",
            "NoSuchLifecycleConfiguration",
            "The lifecycle configuration does not exist",
        ),
        Setting("policy", "Policy", "NoSuchBucketPolicy", "The bucket policy does not exist"),
        Setting(
            "ownershipControls",
            "OwnershipControls",
            "OwnershipControlsNotFoundError",
            "The bucket ownership controls were not found",
        ),
    )
}

# settings that nobody can make here: reading them says truthfully that there is none
_NEVER_SET = {
    "GetBucketCors": ("NoSuchCORSConfiguration", "The CORS configuration does not exist"),
    "GetBucketWebsite": ("NoSuchWebsiteConfiguration", "The specified bucket does not have a website configuration"),
    "GetBucketReplication": (
        "ReplicationConfigurationNotFoundError",
        "The replication configuration was not found",
    ),
    "GetObjectLockConfiguration": (
        "ObjectLockConfigurationNotFoundError",
        "Object Lock configuration does not exist for this bucket",
    ),
}
_TRANSITION = "x-amz-transition-default-minimum-object-size"
_PLAIN: dict[str, dict[str, Any]] = {
    "GetBucketNotificationConfiguration": {},
    "GetBucketAccelerateConfiguration": {},
    "GetBucketRequestPayment": {"Payer": "BucketOwner"},
}


async def put_setting(call: Call) -> HttpResponse:
    """Record a setting, once what S3 checks of it is checked."""
    setting = _setting_of(call)
    document = (await call.document()).get(setting.member)
    if document is None:
        raise Fault("MissingRequestBodyError", "Request Body is empty")
    _check(call, setting.kind, document)
    headers = _transition_header(call, setting.kind, document)
    text = document if isinstance(document, str) else msgspec.json.encode(document).decode()

    def change(index: apsw.Connection) -> None:
        bucket = call.own_bucket(index)
        _check_access(index, bucket, setting.kind, document)
        keys.put_setting(index, bucket.id, setting.kind, text)

    await call.change(change)
    return HttpResponse(204 if setting.kind in ("policy", "tagging") else 200, headers)


async def get_setting(call: Call) -> HttpResponse:
    """The recorded setting, or the fault that says that there is none."""
    setting = _setting_of(call)
    bucket = await call.look(call.own_bucket)
    text = await call.look(lambda index: keys.setting(index, bucket.id, setting.kind))
    if text is None:
        raise Fault(setting.missing_code, setting.missing_message, BucketName=call.bucket)
    if setting.kind == "policy":
        return HttpResponse(200, {"content-type": "application/json"}, text.encode())
    document = msgspec.json.decode(text)
    wrapped = setting.kind not in ("tagging", "lifecycle")  # those two are not a payload in the model but the answer itself
    headers = {_TRANSITION: document.pop(_TRANSITION)} if _TRANSITION in document else {}
    return call.answer({setting.member: document} if wrapped else document, headers)


async def delete_setting(call: Call) -> HttpResponse:
    """Forget a setting; also when there is none."""
    setting = _setting_of(call)
    await call.change(lambda index: keys.remove_setting(index, call.own_bucket(index).id, setting.kind))
    return HttpResponse(204)


async def get_never_set(call: Call) -> HttpResponse:
    """A setting that cannot be made here: it is not there."""
    await call.look(call.own_bucket)
    code, message = _NEVER_SET[call.operation]
    raise Fault(code, message, BucketName=call.bucket)


async def delete_never_set(call: Call) -> HttpResponse:
    """Removing what cannot be there."""
    await call.look(call.own_bucket)
    return HttpResponse(204)


async def get_plain(call: Call) -> HttpResponse:
    """A setting that is always at its default."""
    await call.look(call.own_bucket)
    return call.answer(_PLAIN[call.operation])


async def get_bucket_policy_status(call: Call) -> HttpResponse:
    """GetBucketPolicyStatus: whether the policy allows anybody something."""
    setting = SETTINGS["policy"]

    def question(index: apsw.Connection) -> str | None:
        return keys.setting(index, call.own_bucket(index).id, setting.kind)

    text = await call.look(question)
    if text is None:
        raise Fault(setting.missing_code, setting.missing_message, BucketName=call.bucket)
    return call.answer({"PolicyStatus": {"IsPublic": compile_policy(text, call.bucket).is_public}})


async def put_bucket_versioning(call: Call) -> HttpResponse:
    """PutBucketVersioning: from now on old versions are kept, or no more are made."""
    configuration = (await call.document()).get("VersioningConfiguration", {})
    status = configuration.get("Status")
    if status not in ("Enabled", "Suspended"):
        raise Fault("IllegalVersioningConfigurationException", "The Versioning element must be specified: Status Enabled or Suspended")
    if configuration.get("MFADelete", "Disabled") != "Disabled" or call.header("x-amz-mfa"):
        raise not_implemented("MFADelete (there are no MFA devices)")
    await call.change(lambda index: keys.put_versioning(index, call.own_bucket(index).id, status))
    return HttpResponse(200)


async def get_bucket_versioning(call: Call) -> HttpResponse:
    """GetBucketVersioning: nothing in a bucket that never kept versions."""
    bucket = await call.look(call.own_bucket)
    return call.answer({"Status": bucket.versioning} if bucket.versioning else {})


async def put_bucket_logging(call: Call) -> HttpResponse:
    """PutBucketLogging: where access logs go, or nowhere."""
    wanted = (await call.document()).get("BucketLoggingStatus", {}).get("LoggingEnabled")

    def change(index: apsw.Connection) -> None:
        bucket = call.own_bucket(index)
        if not wanted:
            keys.remove_setting(index, bucket.id, "logging")
            return
        target = keys.find_bucket(index, wanted["TargetBucket"])
        if target is None or target.account != bucket.account:
            raise Fault(
                "InvalidTargetBucketForLogging", "The target bucket for logging does not exist", TargetBucket=wanted["TargetBucket"]
            )
        if target.region != bucket.region:
            message = "Cross S3 location logging not allowed."
            raise Fault("CrossLocationLoggingProhibited", message, TargetBucket=target.name)
        grants = _log_grants(wanted, bucket.account)
        check_grants(index, target, grants)
        keys.put_setting(index, bucket.id, "logging", msgspec.json.encode(wanted | ({"grants": grants} if grants else {})).decode())

    await call.change(change)
    await call.work(call.store.logging_changed)
    return HttpResponse(200)


def _log_grants(wanted: dict[str, Any], owner: str) -> acls.Grants:
    """What log objects grant to others. Raises `MalformedXML` for two ways to name them."""
    if len(wanted.get("TargetObjectKeyFormat", {})) > 1:
        raise Fault("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
    owned = {"Owner": {"ID": canonical_id(owner)}, "Grants": wanted.get("TargetGrants", [])}
    return acls.grants_in_document(owned, owner)


async def get_bucket_logging(call: Call) -> HttpResponse:
    """GetBucketLogging: empty where logging is off."""

    def question(index: apsw.Connection) -> str | None:
        return keys.setting(index, call.own_bucket(index).id, "logging")

    text = await call.look(question)
    if not text:
        return call.answer({})
    kept = msgspec.json.decode(text)
    kept.pop("grants", None)
    return call.answer({"LoggingEnabled": kept})


async def put_off(call: Call) -> HttpResponse:
    """PutBucketNotificationConfiguration: switching off is done, switching on refused."""
    document = await call.document()
    if any(document.values()):
        raise not_implemented(f"{call.operation} with a destination")
    await call.look(call.own_bucket)
    return HttpResponse(200)


def _setting_of(call: Call) -> Setting:
    return next(setting for kind, setting in SETTINGS.items() if kind in call.query)


def _transition_header(call: Call, kind: str, document: Any) -> dict[str, str]:
    """The one part of a lifecycle configuration that travels in a header: kept with the document, given back with it."""
    if kind != "lifecycle":
        return {}
    document[_TRANSITION] = call.header(_TRANSITION) or "all_storage_classes_128K"
    return {_TRANSITION: document[_TRANSITION]}


def _check(call: Call, kind: str, document: Any) -> None:
    """What S3 checks of a document beyond its schema."""
    if kind == "tagging":
        checked_tags([(tag["Key"], tag["Value"]) for tag in document.get("TagSet", [])], TAGS_PER_BUCKET)
    elif kind == "policy":
        compile_policy(document, call.bucket)
    elif kind == "encryption":
        check_encryption(document)
    elif kind == "lifecycle":
        check_lifecycle(document)


def _check_access(index: apsw.Connection, bucket: Bucket, kind: str, document: Any) -> None:
    """What S3 checks of a document that changes who may use the bucket."""
    if kind == "policy" and public_access_block(index, bucket).get("BlockPublicPolicy") and compile_policy(document, bucket.name).is_public:
        raise Fault("AccessDenied", "Access Denied: public policies are blocked by the bucket's public access block")
    if kind == "ownershipControls":
        rules = document.get("Rules", [])
        if len(rules) != 1 or rules[0].get("ObjectOwnership") not in OWNERSHIPS:
            raise Fault("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
        if rules[0]["ObjectOwnership"] == ENFORCED and bucket_grants(index, bucket):
            raise acl_with_ownership()
