"""Which settings a function may have: what of a request is taken, and what is refused by name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from batchyard.model.fault import Fault
from batchyard.services import Caller, Params
from batchyard.services.lambda_functions.names import invalid
from batchyard.services.tag_keys import RESERVED as TAGS_OF_SERVICES
from batchyard.services.tag_keys import is_reserved

ENVIRONMENT_BYTES = 4096
TAGS_MAX = 50
_ROLE = re.compile(r"arn:aws[a-zA-Z-]*:iam::\d{12}:role/[a-zA-Z0-9+=,.@_/-]+")
_PYTHON = re.compile(r"python3\.\d+")
# Set by the service, so that nobody else can (Lambda's list of reserved environment variables).
RESERVED = frozenset(
    (
        "_HANDLER",
        "_X_AMZN_TRACE_ID",
        "AWS_DEFAULT_REGION",
        "AWS_REGION",
        "AWS_EXECUTION_ENV",
        "AWS_LAMBDA_FUNCTION_NAME",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
        "AWS_LAMBDA_FUNCTION_VERSION",
        "AWS_LAMBDA_INITIALIZATION_TYPE",
        "AWS_LAMBDA_LOG_GROUP_NAME",
        "AWS_LAMBDA_LOG_STREAM_NAME",
        "AWS_ACCESS_KEY",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_LAMBDA_RUNTIME_API",
        "LAMBDA_TASK_ROOT",
        "LAMBDA_RUNTIME_DIR",
    )
)
DEFAULTS: dict[str, Any] = {"Timeout": 3, "MemorySize": 128}
# Kept, and with an effect or recorded without one (docs/compatibility.md says which).
_TAKEN = frozenset(
    (
        "Description",
        "Environment",
        "EphemeralStorage",
        "Handler",
        "KMSKeyArn",
        "LoggingConfig",
        "MemorySize",
        "Role",
        "Runtime",
        "Timeout",
        "TracingConfig",
        "VpcConfig",
    )
)
_ELSEWHERE = frozenset(("FunctionName", "Code", "Tags", "RevisionId", "Architectures", "PackageType", "Publish", "SnapStart"))
_REFUSED = {
    "Layers": "there are no layers: put the libraries into the function's code",
    "DeadLetterConfig": "there are no dead-letter queues",
    "FileSystemConfigs": "there are no file systems for functions",
    "ImageConfig": "functions run from zip archives, not from images",
    "CodeSigningConfigArn": "there is no code signing",
    "PublishTo": "there are no versions",
}


def settings_of(params: Params, before: dict[str, Any] | None = None) -> dict[str, Any]:
    """The settings after a request, over those from `before`. InvalidParameterValueException for what cannot be done."""
    for member, value in params.items():
        if member not in _TAKEN and member not in _ELSEWHERE and value not in (None, [], {}, ""):
            raise invalid(f"{member}: {_REFUSED.get(member, 'not available in this version of Batchyard')}; leave it out.")
    _require_zip(params)
    settings = {**(before or DEFAULTS), **{member: params[member] for member in _TAKEN if params.get(member) is not None}}
    for member in ("Runtime", "Handler"):
        if not settings.get(member):
            raise invalid(
                f"Runtime and Handler are mandatory parameters for functions created with deployment packages: {member} is missing."
            )
    _check_runtime(settings["Runtime"])
    if not _ROLE.fullmatch(settings["Role"]):
        raise Fault(
            "ValidationException",
            f"1 validation error detected: Value '{settings['Role']}' at 'role' failed to satisfy constraint: Member must satisfy regular "
            "expression pattern: arn:(aws[a-zA-Z-]*)?:iam::\\d{12}:role/?[a-zA-Z_0-9+=,.@\\-_/]+",
        )
    _check_numbers(settings)
    _check_environment(settings.get("Environment", {}).get("Variables", {}))
    _check_logging(settings.get("LoggingConfig", {}))
    return settings


def _require_zip(params: Params) -> None:
    if params.get("PackageType", "Zip") != "Zip" or params.get("Code", {}).get("ImageUri"):
        raise invalid("PackageType: functions run from zip archives here, not from images; use Zip.")
    if params.get("Publish"):
        raise invalid("Publish: versions of functions are not available in this version of Batchyard; leave it out.")
    if params.get("SnapStart", {}).get("ApplyOn", "None") != "None":
        raise invalid("SnapStart: there are no snapshots of functions; leave it out.")


def _check_runtime(runtime: str) -> None:
    if not _PYTHON.fullmatch(runtime):
        raise invalid(
            f"The runtime parameter of {runtime} is not supported for creating or updating functions: in this version of Batchyard they "
            "run with its own Python. Use python3.12 or another python3 runtime."
        )


def _check_numbers(settings: dict[str, Any]) -> None:
    size = settings.get("EphemeralStorage", {}).get("Size", 512)
    for member, value, least, most in (
        ("timeout", settings["Timeout"], 1, 900),
        ("memorySize", settings["MemorySize"], 128, 10_240),
        ("ephemeralStorage.size", size, 512, 10_240),
    ):
        if not least <= value <= most:
            side = f"less than or equal to {most}" if value > most else f"greater than or equal to {least}"
            raise Fault(
                "ValidationException",
                f"1 validation error detected: Value '{value}' at '{member}' failed to satisfy constraint: Member must have value {side}",
            )


def _check_environment(variables: dict[str, str]) -> None:
    reserved = sorted(RESERVED & variables.keys())
    if reserved:
        raise invalid(
            "Lambda was unable to configure your environment variables because the environment variables you have provided contains "
            f"reserved keys that are currently not supported for modification. Reserved keys used in this request: {', '.join(reserved)}"
        )
    size = len(json.dumps(variables, separators=(",", ":"), ensure_ascii=False).encode())
    if size > ENVIRONMENT_BYTES:
        raise invalid(
            "Lambda was unable to configure your environment variables because the environment variables you have provided exceeded the "
            "4KB limit."
        )
    for name, value in variables.items():
        if "\0" in value or not re.fullmatch(r"[a-zA-Z][a-zA-Z0-9_]+", name):
            raise invalid(f"Environment: {name!r} cannot be a variable: names begin with a letter and have at least two characters.")


def _check_logging(logging: dict[str, Any]) -> None:
    if logging.get("LogFormat", "Text") != "Text" or logging.get("ApplicationLogLevel") or logging.get("SystemLogLevel"):
        raise invalid("LoggingConfig: only LogFormat Text is available in this version of Batchyard.")


def check_tags(caller: Caller, tags: dict[str, str], before: Mapping[str, str] | None = None) -> dict[str, str]:
    """Tags over those from `before`, if a function may have them."""
    refuse_reserved_tags(caller, tags)
    tags = {**(before or {}), **tags}
    if sum(not key.startswith(TAGS_OF_SERVICES) for key in tags) > TAGS_MAX:
        raise invalid(f"Tags: a function can have at most {TAGS_MAX} tags, not {len(tags)}.")
    return tags


def refuse_reserved_tags(caller: Caller, keys: Iterable[str]) -> None:
    """Refuse keys of tags that are not the caller's to give or to take away."""
    for key in keys:
        if is_reserved(caller, key):
            raise invalid(f"Tag keys that begin with aws: are reserved: {key}")
