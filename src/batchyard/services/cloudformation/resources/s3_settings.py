"""What a template may set on a bucket, as a table: which operation sets it, which takes it away, and which shows it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from batchyard.model.fault import Fault
from batchyard.services.cloudformation.resources import s3_lifecycle
from batchyard.services.cloudformation.resources.spelling import sent
from batchyard.services.cloudformation.resources.type import Hands, Properties

Spell = Callable[[str, Any], dict[str, Any]]  # (bucket, property) -> parameters besides the bucket
Show = Callable[[dict[str, Any]], Any]  # answer -> property, None when there is nothing
ALL_BLOCKED = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)


@dataclass(frozen=True, slots=True)
class Setting:
    """One property of a bucket."""

    property: str
    put: str
    get: str
    spell: Spell
    show: Show
    remove: str = ""  # the operation that takes it away; where there is none, `without` is set in its place
    without: Any = None
    absent: frozenset[str] = frozenset()  # codes that say that there is none


def _owners(_: str, value: Properties) -> dict[str, Any]:
    return sent("s3", "PutBucketOwnershipControls", {"OwnershipControls": value})


def _blocked(_: str, value: Properties) -> dict[str, Any]:
    whole = {name: bool(value.get(name, False)) for name in ALL_BLOCKED}
    return {"PublicAccessBlockConfiguration": {**sent("s3", "PutPublicAccessBlock", value, "PublicAccessBlockConfiguration"), **whole}}


def _encryption(_: str, value: Properties) -> dict[str, Any]:
    rules = []
    for rule in value.get("ServerSideEncryptionConfiguration") or []:
        other = {name: inner for name, inner in rule.items() if name != "ServerSideEncryptionByDefault"}
        if rule.get("ServerSideEncryptionByDefault"):
            other["ApplyServerSideEncryptionByDefault"] = rule["ServerSideEncryptionByDefault"]
        rules.append(other)
    return sent("s3", "PutBucketEncryption", {"ServerSideEncryptionConfiguration": {"Rules": rules}})


def _encryption_shown(answer: dict[str, Any]) -> Properties:
    shown = []
    for rule in answer["ServerSideEncryptionConfiguration"]["Rules"]:
        other = {name: inner for name, inner in rule.items() if name != "ApplyServerSideEncryptionByDefault"}
        if rule.get("ApplyServerSideEncryptionByDefault"):
            other["ServerSideEncryptionByDefault"] = rule["ApplyServerSideEncryptionByDefault"]
        shown.append(other)
    return {"ServerSideEncryptionConfiguration": shown}


def _logging(bucket: str, value: Properties) -> dict[str, Any]:
    known = {"DestinationBucketName", "LogFilePrefix", "TargetObjectKeyFormat"}
    for name in value:
        if name not in known:
            raise Fault("ValidationException", f"Encountered unsupported property LoggingConfiguration.{name}")
    enabled = {"TargetBucket": value.get("DestinationBucketName") or bucket, "TargetPrefix": value.get("LogFilePrefix") or ""}
    if value.get("TargetObjectKeyFormat"):
        enabled["TargetObjectKeyFormat"] = value["TargetObjectKeyFormat"]
    return {"BucketLoggingStatus": {"LoggingEnabled": enabled}}


def _logging_shown(answer: dict[str, Any]) -> Properties | None:
    enabled = answer.get("LoggingEnabled")
    if not enabled:
        return None
    names = {"TargetBucket": "DestinationBucketName", "TargetPrefix": "LogFilePrefix", "TargetObjectKeyFormat": "TargetObjectKeyFormat"}
    return {here: enabled[there] for there, here in names.items() if enabled.get(there)}


def _versioning(_: str, value: Properties) -> dict[str, Any]:
    return sent("s3", "PutBucketVersioning", {"VersioningConfiguration": value})


# In the order in which they are set: who owns objects and who is kept out, before what anybody is granted.
SETTINGS = (
    Setting(
        "OwnershipControls",
        "PutBucketOwnershipControls",
        "GetBucketOwnershipControls",
        _owners,
        lambda answer: answer.get("OwnershipControls"),
        without={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]},
        absent=frozenset(("OwnershipControlsNotFoundError",)),
    ),
    Setting(
        "PublicAccessBlockConfiguration",
        "PutPublicAccessBlock",
        "GetPublicAccessBlock",
        _blocked,
        lambda answer: answer.get("PublicAccessBlockConfiguration"),
        without=ALL_BLOCKED,
        absent=frozenset(("NoSuchPublicAccessBlockConfiguration",)),
    ),
    Setting(
        "BucketEncryption",
        "PutBucketEncryption",
        "GetBucketEncryption",
        _encryption,
        _encryption_shown,
        remove="DeleteBucketEncryption",
        absent=frozenset(("ServerSideEncryptionConfigurationNotFoundError",)),
    ),
    Setting(
        "VersioningConfiguration",
        "PutBucketVersioning",
        "GetBucketVersioning",
        _versioning,
        lambda answer: {"Status": answer["Status"]} if answer.get("Status") else None,
        without={"Status": "Suspended"},
    ),
    Setting(
        "LifecycleConfiguration",
        "PutBucketLifecycleConfiguration",
        "GetBucketLifecycleConfiguration",
        lambda _, value: s3_lifecycle.to_api(value),
        s3_lifecycle.from_api,
        remove="DeleteBucketLifecycle",
        absent=frozenset(("NoSuchLifecycleConfiguration",)),
    ),
    Setting(
        "LoggingConfiguration",
        "PutBucketLogging",
        "GetBucketLogging",
        _logging,
        _logging_shown,
    ),
)

# What S3 here does not serve, by the property that asks for it; the reasons are S3's own (services/s3/operations.py).
REFUSED = {
    "AbacStatus": "access by tags is not decided here",
    "AccelerateConfiguration": "there is no transfer acceleration",
    "AnalyticsConfigurations": "storage analytics are not done",
    "BucketNamePrefix": "there is no namespace of buckets for an account: give BucketName",
    "BucketNamespace": "there is no namespace of buckets for an account",
    "CorsConfiguration": "answers carry no CORS headers",
    "IntelligentTieringConfigurations": "storage analytics are not done",
    "InventoryConfigurations": "storage analytics are not done",
    "MetadataConfiguration": "S3 Metadata tables are not kept",
    "MetadataTableConfiguration": "S3 Metadata tables are not kept",
    "MetricsConfigurations": "storage analytics are not done",
    "NotificationConfiguration": "events of objects are not sent",
    "ObjectLockConfiguration": "objects cannot be locked",
    "ObjectLockEnabled": "objects cannot be locked",
    "ReplicationConfiguration": "nothing is replicated",
    "WebsiteConfiguration": "buckets are not served as web sites",
}


async def put(hands: Hands, bucket: str, setting: Setting, value: Any) -> None:
    """Set a property; a refusal names it."""
    params = setting.spell(bucket, value)
    try:
        await hands.call("s3", setting.put, {"Bucket": bucket, **params})
    except Fault as fault:
        raise Fault(fault.code, f"{setting.property}: {fault.message}", **fault.fields) from fault


async def take_away(hands: Hands, bucket: str, setting: Setting) -> None:
    """Make a property be as if the template had never said anything of it."""
    if setting.remove:
        await hands.call("s3", setting.remove, {"Bucket": bucket})
    elif setting.property == "LoggingConfiguration":
        await hands.call("s3", setting.put, {"Bucket": bucket, "BucketLoggingStatus": {}})
    else:
        await put(hands, bucket, setting, setting.without)


async def look(hands: Hands, bucket: str, setting: Setting) -> Any:
    """A property as it is now; None when it is not set. Raises NoSuchBucket."""
    try:
        return setting.show(await hands.call("s3", setting.get, {"Bucket": bucket}))
    except Fault as fault:
        if fault.code in setting.absent:
            return None
        raise


def harmless(properties: Mapping[str, Any]) -> Properties:
    """The properties without those that are not served but ask for nothing."""
    asks_nothing = {
        "AccelerateConfiguration": {"AccelerationStatus": "Suspended"},
        "BucketNamespace": "global",
        "NotificationConfiguration": {"EventBridgeConfiguration": {"EventBridgeEnabled": False}},
        "AbacStatus": "Disabled",
    }
    return {name: value for name, value in properties.items() if name not in asks_nothing or value != asks_nothing[name]}
